"""`dlrun runs list`: list runs, filtered and sorted by their config values and metrics."""

import contextlib
import operator
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Self

from dlrun.cli import options as opt
from dlrun.cli.opened_runs import EMPTY, notes_or_warning, scan_runs_or_fail
from dlrun.config import yaml_loader
from dlrun.errors import ConfigError
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
from dlrun.runs.run import Run, ScannedRun, UnreadableRun
from dlrun.runs.run_tables import (
    RUN_COLUMNS,
    Column,
    run_row,
    table_csv,
    table_lines,
    unreadable_run_row,
)
from dlrun.runs.states import RunState
from dlrun.system.console import Screen
from dlrun.system.spelling import did_you_mean
from dlrun.system.text import cut, pluralize

STATE_HELP = f"Only runs in this state: {', '.join(RunState)}."
WHERE_HELP = "Only runs with KEY = != < <= > or >= a value of config, record or metrics.NAME."
TAG_HELP = "Only runs with this tag; repeatable, all must match."
SORT_HELP = "Best metric, largest number or A first."
SHOWN = ("name", "experiment", "state", "value", "book", "seconds", "tags", "differs", "note")
COLUMNS = {column.name: column for column in RUN_COLUMNS}
LONGEST_NAME = 20  # a terminal shows so many characters of a run's name
# Signs of two characters come first: the first that matches is taken.
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "!=": operator.ne, "<=": operator.le, ">=": operator.ge, "==": operator.eq,
    "=": operator.eq, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
CONDITION = re.compile(rf"\s*([\w.-]+?)\s*({'|'.join(OPERATORS)})\s*(.*\S)\s*", re.DOTALL)


@dataclass(frozen=True)
class _ListedRun:
    """Holds what the list knows of a run.

    cells: those of RUN_COLUMNS, by name. settings: of the config, by dotted keys. record: the other
    fields of the record, by dotted keys. Both are empty unless they are asked for.
    """

    cells: Mapping[str, Any]
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    directions: Directions = field(default_factory=dict)
    settings: Mapping[str, object] = field(default_factory=dict)
    record: Mapping[str, object] = field(default_factory=dict)
    is_copy: bool = False

    @classmethod
    def of_run(cls, run: Run, screen: Screen, *, reads_config: bool) -> Self:
        """reads_config: whether to read the config and the whole record too, which is slow."""
        differs: dict[str, object] = {}
        with contextlib.suppress(ConfigError):  # the experiment is not installed
            differs = changed_settings(run)
        cells = run_row(run, notes_or_warning(run, screen), differs)
        listed = cls(cells, run.record.metrics, run.record.directions)
        if not reads_config:
            return listed
        record = yaml_loader.flatten_keys(run.record.model_dump(exclude={"config"}))
        return replace(listed, settings=run.settings, record=record)

    @cached_property
    def values(self) -> dict[str, object]:
        """Each value that a user can ask for has its key."""
        own = {"config": self.settings, "metrics": self.metrics, "directions": self.directions}
        return {**self.record, **self.settings, **self.cells, **own}

    def with_copy(self, copy: str | None) -> Self:
        """copy: of which run it is a copy, in words."""
        if copy is None:
            return self
        return replace(self, cells={**self.cells, "problem": copy}, is_copy=True)


def list_runs(
    experiment: opt.ExperimentWithRuns = None,
    status: Annotated[list[RunState] | None, opt.option(STATE_HELP, "STATE")] = None,
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
    states = status or [*RunState]
    rows, run_count = _matching_rows(
        runs, states, conditions, named_keys, screen, reads_config=reads_config
    )
    if sort:
        rows = _sort_runs(rows, sort, screen)
    rows = rows[:limit]
    if json:
        keys = [*COLUMNS, "metrics", "config"]
        screen.print_json([{key: row.values.get(key) for key in keys} for row in rows])
    elif csv:
        keys = list(COLUMNS) + ([sort] if sort and sort not in COLUMNS else [])
        table = table_csv(keys, [row.values for row in rows])
        screen.print_raw(table.decode().replace("\r\n", "\n"))
    else:
        _print_table(rows, sort or "", screen)
    if len(rows) < run_count:
        screen.note(f"{len(rows)} of {pluralize(run_count, 'run')}")


def _matching_rows(
    runs: Iterable[ScannedRun],
    states: Collection[str],
    conditions: Sequence["_Condition"],
    named_keys: Collection[str],
    screen: Screen,
    *,
    reads_config: bool,
) -> tuple[list[_ListedRun], int]:
    """Find the rows of runs in some states that meet all conditions, and count all runs.

    Only matching rows stay in memory: there may be 10,000 runs. Raises ConfigError if no run has
    one of the named keys.
    """
    rows = list[_ListedRun]()
    known_keys = set[str]()
    copy_orders = list[CopyOrder]()
    run_count = 0
    for run in runs:
        run_count += 1
        if isinstance(run, UnreadableRun):
            row = _ListedRun(unreadable_run_row(run))
        else:
            row = _ListedRun.of_run(run, screen, reads_config=reads_config)
            copy_orders.append(CopyOrder.of_run(run))
        known_keys |= row.values.keys()
        # All are evaluated: an invalid comparison is an error even if another one is not met.
        outcomes = [condition.meets(row.values) for condition in conditions]
        if all(outcomes) and run.state in states:
            rows.append(row)
    _check_keys(named_keys, known_keys)
    copies = find_copies(copy_orders)
    return [row.with_copy(copies.get(Path(row.cells["folder"]))) for row in rows], run_count


def _check_keys(named: Collection[str], known: Collection[str]) -> None:
    """Raise ConfigError if no run has a key that the user has named; it is probably mistyped."""
    for key in sorted(set(named) - set(known)):
        ending_so = sorted(name for name in known if name.endswith(f".{key}"))
        suggestion = f"; did you mean {ending_so[0]!r}?" if ending_so else did_you_mean(key, known)
        hint = "keys are those of `dlrun runs list --json`, of the configs and of results.json"
        raise ConfigError(f"no run has a key {key!r}{suggestion}", hint)


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

    def meets(self, values: Mapping[str, object]) -> bool:
        """A run that lacks the key does not meet the condition.

        Raises ConfigError if the two values cannot be ordered, such as a number and a text.
        """
        run_value: Any = values.get(self.key)
        if self.key == "tags":
            return (self.value_text in run_value) == (self.sign != "!=")
        # It is a text as typed if the run holds that text: the name 123 needs no quotes.
        wanted = run_value if run_value == self.value_text else self.value
        try:
            comparable = list(run_value) if isinstance(run_value, tuple) else run_value
            return self.key in values and OPERATORS[self.sign](comparable, wanted)
        except TypeError:
            if run_value is None:
                return False
            problem = f"{run_value!r} in a run, which cannot be compared with {wanted!r}"
            hint = "compare numbers with numbers (without a unit), texts with texts"
            raise ConfigError(f"--where {self.text!r}: {self.key} is {problem}", hint) from None


def _sort_runs(rows: list[_ListedRun], sort_key: str, screen: Screen) -> list[_ListedRun]:
    """Sort runs by a key: numbers from the largest, then texts from A to Z.

    The best value of a metric comes first. A metric whose direction is not known ranks no runs,
    which a warning says. Runs without a value come after the others, and copies of runs last.
    """
    # A metric has one direction, also if older runs do not declare it.
    directions = agreed_directions(row.directions for row in rows)
    is_metric = sort_key == "value" or sort_key.startswith("metrics.")
    if is_metric:
        ranked = [row for row in rows if row.values.get(sort_key) is not None]
        metrics = {_metric_of_row(row, sort_key, directions) for row in ranked}
        if unknown := sorted(metric.not_ranked for metric in metrics if not metric.sign):
            screen.warn(unknown[0])
            return sorted(rows, key=lambda row: row.is_copy)

    # Rows with numbers come first, then those with texts, then those without a value, then copies.
    def rank(row: _ListedRun) -> tuple[bool, bool, bool, float, str]:
        value = row.values.get(sort_key)
        if isinstance(value, int | float):
            sign = _metric_of_row(row, sort_key, directions).sign if is_metric else 1
            return row.is_copy, False, False, -sign * value, ""
        return row.is_copy, value is None, True, 0, str(value)

    return sorted(rows, key=rank)


def _metric_of_row(row: _ListedRun, sort_key: str, directions: Directions) -> Metric:
    """The key `value` stands for the run's test metric."""
    name = sort_key.removeprefix("metrics.")
    if sort_key == "value":
        name = row.cells["metric"]
    return describe_metric(name, directions)


def _print_table(rows: Sequence[_ListedRun], sort_key: str, screen: Screen) -> None:
    metrics = {row.cells["metric"] for row in rows} - {None}
    common_metric = metrics.pop().removeprefix(TESTED) if len(metrics) == 1 else None
    is_cut = screen.out.is_terminal
    shown = [_displayed_values(row, common_metric, cuts_name=is_cut) for row in rows]
    columns = _columns_to_show(rows, sort_key, common_metric)
    screen.print_lines(table_lines(columns, shown, screen, empty=EMPTY))


def _displayed_values(
    row: _ListedRun, common_metric: str | None, *, cuts_name: bool
) -> dict[str, object]:
    """If the runs have several metrics, each value stands behind the name of its metric."""
    cells = row.cells
    value = cells["value"]
    if value is not None:
        name_of_metric = "" if common_metric else f"{cells['metric'].removeprefix(TESTED)}="
        value = f"{name_of_metric}{format_metric(value)}"
    name = cells["name"]
    if cuts_name:  # without its time, a name finds the run too
        parent, slash, own_name = name.rpartition("/")
        name = cut(f"{parent}{slash}{run_name_without_time(Path(own_name))}", LONGEST_NAME)
    differs = cells["problem"] or cells["differs"]
    return {**row.values, "name": name, "value": value, "differs": differs}


def _columns_to_show(
    rows: Sequence[_ListedRun], sort_key: str, common_metric: str | None
) -> list[Column]:
    """Leave out the columns that have nothing to say.

    Tags and notes have columns if a run has any; the experiment has one if there are several. The
    key that sorts has one too, unless the metric column shows it.
    """
    unused = [name for name in ("tags", "note") if not any(row.cells[name] for row in rows)]
    if len({row.cells["experiment"] for row in rows}) == 1:
        unused.append("experiment")
    columns = COLUMNS | {"value": replace(COLUMNS["value"], title=common_metric or "metric")}
    names = [name for name in SHOWN if name not in unused]
    value_column_shows_key = all(
        f"metrics.{row.cells['metric']}" == sort_key
        for row in rows
        if row.values.get(sort_key) is not None
    )
    if sort_key and sort_key not in names and not value_column_shows_key:
        names.insert(names.index("value"), sort_key)
        is_metric = sort_key.startswith("metrics.")
        columns.setdefault(sort_key, Column.number(sort_key) if is_metric else Column(sort_key))
    return [columns[name] for name in names]
