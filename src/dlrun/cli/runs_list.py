"""`dlrun runs list`: list runs, filtered and sorted by their config values and metrics."""

import contextlib
import operator
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from dlrun.cli import options as opt
from dlrun.cli.opened_runs import EMPTY, notes_or_warning, scan_runs_or_fail
from dlrun.config import yaml_loader
from dlrun.errors import ConfigError, did_you_mean
from dlrun.experiments.saved_runs import changed_settings
from dlrun.metrics import (
    TESTED,
    Directions,
    Metric,
    agreed_directions,
    describe_metric,
    format_metric,
)
from dlrun.runs.damage_and_copies import CopyOrder, find_copies
from dlrun.runs.find import run_name_without_time
from dlrun.runs.notes import check_tag
from dlrun.runs.options import resolve_runs_dir
from dlrun.runs.run import DAMAGED, OTHER_VERSION, Run, ScannedRun, UnreadableRun
from dlrun.runs.tables import (
    RUN_COLUMNS,
    Column,
    run_row,
    table_csv,
    table_lines,
    unreadable_run_row,
)
from dlrun.system.console import Screen, cut, pluralize


class State(StrEnum):
    """Lists the states of runs, as `Run.state` and `UnreadableRun.state` return them."""

    waiting = "waiting"
    running = "running"
    finished = "finished"
    failed = "failed"
    interrupted = "interrupted"
    killed = "killed"
    damaged = DAMAGED
    other_version = OTHER_VERSION


STATE_HELP = f"Only runs in this state: {', '.join(State)}."
WHERE_HELP = "Only runs with KEY = != < <= > or >= a value of config, record or metrics.NAME."
TAG_HELP = "Only runs with this tag; repeatable, all must match."
SORT_HELP = "Best metric, largest number or A first."
SHOWN = ("name", "experiment", "state", "value", "book", "seconds", "tags", "differs", "note")
COLUMNS = {column.name: column for column in RUN_COLUMNS}
LONGEST_NAME = 20  # characters of a run's name on a terminal
# Signs of two characters come first: the first that matches is taken.
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "!=": operator.ne, "<=": operator.le, ">=": operator.ge, "==": operator.eq,
    "=": operator.eq, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
CONDITION = re.compile(rf"\s*([\w.-]+?)\s*({'|'.join(OPERATORS)})\s*(.*\S)\s*", re.DOTALL)

Row = dict[str, Any]  # RUN_COLUMNS, metrics, directions; values of config and record by dotted key


def list_runs(
    experiment: opt.ExperimentWithRuns = None,
    status: Annotated[list[State] | None, opt.option(STATE_HELP, "STATE")] = None,
    where: Annotated[list[str] | None, opt.option(WHERE_HELP, "COND")] = None,
    tag: Annotated[list[str] | None, opt.option(TAG_HELP, "TAG")] = None,
    sort: Annotated[str | None, opt.option(SORT_HELP, "KEY")] = None,
    limit: Annotated[int | None, opt.option("The first N.", "N", min=0)] = None,
    json: opt.Json = False,
    csv: Annotated[bool, opt.flag("Print a CSV table.", "--csv")] = False,
    runs_dir: opt.RunsDir = None,
) -> None:
    """List runs, newest first: state, test metric, the book's, seconds, changed values.

    Examples:
    dlrun runs list imdb-dense --sort metrics.test_accuracy --limit 5
    dlrun runs list --where 'optimizer.lr>0.001' --status finished
    dlrun runs list --tag best --csv > runs.csv
    """
    screen = Screen()
    folder = resolve_runs_dir(runs_dir)
    for name in tag or ():
        check_tag(name)
    texts = [*(where or ()), *(f"tag={name}" for name in tag or ())]
    conditions = [_Condition(text) for text in texts]
    named_keys = {sort or "", *(condition.key for condition in conditions)} - {""}
    reads_config = json or not named_keys <= {*COLUMNS, "metrics"}
    runs = scan_runs_or_fail(folder, experiment)
    states = status or [*State]
    rows, expected_runs = _matching_rows(
        runs, states, conditions, named_keys, screen, reads_config=reads_config
    )
    if sort:
        rows = _sort_runs(rows, sort, screen)
    rows = rows[:limit]
    if json:
        keys = [*COLUMNS, "metrics", "config"]
        screen.print_json([{key: row.get(key) for key in keys} for row in rows])
    elif csv:
        keys = list(COLUMNS) + ([sort] if sort and sort not in COLUMNS else [])
        screen.print_raw(table_csv(keys, rows).decode().replace("\r\n", "\n"))
    else:
        _print_table(rows, sort or "", screen)
    if len(rows) < expected_runs:
        screen.note(f"{len(rows)} of {pluralize(expected_runs, 'run')}")


def _matching_rows(
    runs: Iterable[ScannedRun],
    states: Collection[str],
    conditions: Sequence["_Condition"],
    named_keys: Collection[str],
    screen: Screen,
    *,
    reads_config: bool,
) -> tuple[list[Row], int]:
    """Find the rows of runs in some states that meet all conditions, and count all runs.

    Only matching rows stay in memory: there may be 10,000 runs. Raises ConfigError if no run has
    one of the named keys.
    """
    rows = list[Row]()
    known_keys = set[str]()
    copy_orders = list[CopyOrder]()
    expected_runs = 0
    for run in runs:
        expected_runs += 1
        if isinstance(run, UnreadableRun):
            row = _row_of_unreadable(run)
        else:
            row = _searchable_row(run, screen, reads_config=reads_config)
            copy_orders.append(CopyOrder.of_run(run))
        known_keys |= row.keys()
        # All are evaluated: an invalid comparison is an error even if another one is not met.
        outcomes = [condition.meets(row) for condition in conditions]
        if all(outcomes) and row["state"] in states:
            rows.append(row)
    _check_keys(named_keys, known_keys)
    copies = find_copies(copy_orders)
    for row in rows:
        copy = copies.get(Path(row["folder"]))
        row["is_copy"] = copy is not None
        row["problem"] = copy or row["problem"]
    return rows, expected_runs


def _check_keys(named: Collection[str], known: Collection[str]) -> None:
    """Raise ConfigError if no run has a key that the user has named; it is probably mistyped."""
    for key in sorted({*named} - {*known}):
        ending_so = sorted(name for name in known if name.endswith(f".{key}"))
        suggestion = f"; did you mean {ending_so[0]!r}?" if ending_so else did_you_mean(key, known)
        hint = "keys are those of `dlrun runs list --json`, of the configs and of results.json"
        raise ConfigError(f"no run has a key {key!r}{suggestion}", hint)


def _searchable_row(run: Run, screen: Screen, *, reads_config: bool) -> Row:
    """Return the values of a run; `reads_config`: also of its config and record, more slowly."""
    record = run.record
    row: Row = {}
    notes = notes_or_warning(run, screen)
    differs: Row = {}
    with contextlib.suppress(ConfigError):  # the experiment is not installed
        differs = changed_settings(run)
    if reads_config:
        row = yaml_loader.flatten_keys(record.model_dump(exclude={"config"})) | run.settings
    return row | {
        **run_row(run, notes, differs),
        "config": run.settings if reads_config else {},
        "metrics": record.metrics,
        "directions": record.directions,
    }


def _row_of_unreadable(run: UnreadableRun) -> Row:
    """Return the values of a run without a record: it has no config and no metric."""
    return {**unreadable_run_row(run), "config": {}, "metrics": {}, "directions": {}}


class _Condition:
    """Tests whether runs meet a condition such as `KEY>VALUE`; raises ConfigError if invalid."""

    def __init__(self, text: str) -> None:
        parts = CONDITION.fullmatch(text)
        if not parts:
            problem = f"--where {text!r}: expected a key, one of = != < <= > >=, a value"
            hint = "as in --where 'optimizer.lr>0.001', in quotes for the shell"
            raise ConfigError(problem, hint)
        self.text = text
        key, self.sign, self.value_text = parts.groups()
        self.key = "tags" if key == "tag" else key
        self.value: Any = self.value_text
        with contextlib.suppress(ConfigError):  # a value that is not YAML is a text
            self.value = yaml_loader.parse_set_override(f"value={self.value}").values["value"]
        if self.key == "tags" and self.sign not in ("=", "==", "!="):
            raise ConfigError(f"--where {text!r}: a run has a tag or not", "use = or !=")

    def meets(self, row: Row) -> bool:
        """A run that lacks the key does not meet the condition.

        Raises ConfigError if the two values cannot be ordered, such as a number and a text.
        """
        run_value: Any = row.get(self.key)
        if self.key == "tags":
            return (self.value_text in run_value) == (self.sign != "!=")
        # It is a text as typed if the run holds that text: the name 123 needs no quotes.
        wanted = run_value if run_value == self.value_text else self.value
        try:
            comparable = [*run_value] if isinstance(run_value, tuple) else run_value
            return self.key in row and OPERATORS[self.sign](comparable, wanted)
        except TypeError:
            if run_value is None:
                return False
            values = f"{run_value!r} in a run, which cannot be compared with {wanted!r}"
            hint = "compare numbers with numbers (without a unit), texts with texts"
            raise ConfigError(f"--where {self.text!r}: {self.key} is {values}", hint) from None


def _sort_runs(rows: list[Row], sort_key: str, screen: Screen) -> list[Row]:
    """Sort runs by a key: numbers from the largest, then texts from A to Z.

    The best value of a metric comes first. A metric whose direction is not known ranks no runs,
    which a warning says. Runs without a value come after the others, and copies of runs last.
    """
    # A metric has one direction, also if older runs do not declare it.
    directions = agreed_directions(row["directions"] for row in rows)
    is_metric = sort_key == "value" or sort_key.startswith("metrics.")
    if is_metric:
        ranked = [row for row in rows if row.get(sort_key) is not None]
        metrics = {_metric_of_row(row, sort_key, directions) for row in ranked}
        if unknown := sorted(metric.not_ranked for metric in metrics if not metric.sign):
            screen.warn(unknown[0])
            return sorted(rows, key=lambda row: row["is_copy"])

    # The order: rows with numbers, rows with texts, rows without a value; last all copies.
    def rank(row: Row) -> tuple[bool, bool, bool, float, str]:
        value = row.get(sort_key)
        if isinstance(value, int | float):
            sign = _metric_of_row(row, sort_key, directions).sign if is_metric else 1
            return row["is_copy"], False, False, -sign * value, ""
        return row["is_copy"], value is None, True, 0, str(value)

    return sorted(rows, key=rank)


def _metric_of_row(row: Row, sort_key: str, directions: Directions) -> Metric:
    """The key `value` stands for the run's test metric."""
    name = row["metric"] if sort_key == "value" else sort_key.removeprefix("metrics.")
    return describe_metric(str(name), directions)


def _print_table(rows: Sequence[Row], sort_key: str, screen: Screen) -> None:
    """Print a table of runs."""
    on_terminal = screen.out.is_terminal
    metrics = {row["metric"] for row in rows} - {None}
    common_metric = metrics.pop().removeprefix(TESTED) if len(metrics) == 1 else None
    shown = [_displayed_row(row, common_metric, on_terminal=on_terminal) for row in rows]
    columns = _columns_to_show(rows, sort_key, common_metric)
    screen.print_lines(table_lines(columns, shown, screen, empty=EMPTY))


def _displayed_row(row: Row, common_metric: str | None, *, on_terminal: bool) -> Row:
    """If the runs have several metrics, each value stands behind the name of its metric."""
    value = row["value"]
    if value is not None:
        name_of_metric = "" if common_metric else f"{row['metric'].removeprefix(TESTED)}="
        value = f"{name_of_metric}{format_metric(value)}"
    name = row["name"]
    if on_terminal:  # without its time, a name finds the run too
        parent, slash, own_name = name.rpartition("/")
        name = cut(f"{parent}{slash}{run_name_without_time(Path(own_name))}", LONGEST_NAME)
    return row | {"name": name, "value": value, "differs": row["problem"] or row["differs"]}


def _columns_to_show(rows: Sequence[Row], sort_key: str, common_metric: str | None) -> list[Column]:
    """Leave out the columns that have nothing to say.

    Tags and notes have columns if a run has any; the experiment has one if there are several. The
    key that sorts has one too, unless the metric column shows it.
    """
    unused = [name for name in ("tags", "note") if not any(row[name] for row in rows)]
    if len({row["experiment"] for row in rows}) == 1:
        unused.append("experiment")
    columns = COLUMNS | {"value": replace(COLUMNS["value"], title=common_metric or "metric")}
    names = [name for name in SHOWN if name not in unused]
    value_column_shows_key = all(
        f"metrics.{row['metric']}" == sort_key for row in rows if row.get(sort_key) is not None
    )
    if sort_key and sort_key not in names and not value_column_shows_key:
        names.insert(names.index("value"), sort_key)
        is_metric = sort_key.startswith("metrics.")
        columns.setdefault(sort_key, Column.number(sort_key) if is_metric else Column(sort_key))
    return [columns[name] for name in names]
