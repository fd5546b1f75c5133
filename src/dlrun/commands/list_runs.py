"""`dlrun runs list`: list runs, filtered and sorted by their config values and metrics."""

import contextlib
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

from rich.text import Text

from dlrun import run_context
from dlrun.commands import options as opt
from dlrun.commands.show import notes_or_warning, shorten_note
from dlrun.config import yaml_loader
from dlrun.errors import ConfigError, did_you_mean
from dlrun.experiments import registry
from dlrun.experiments.saved_run import Run, RunIdentity, find_copies, scan_runs
from dlrun.metrics import TESTED, describe_metric
from dlrun.run_folder import recorded_metrics
from dlrun.run_folder.find import refuse_sweep, start_time_from_folder_name
from dlrun.run_folder.folder import LATEST, to_csv
from dlrun.run_folder.record import RunNotes, check_tag
from dlrun.run_folder.recorded_metrics import format_metric
from dlrun.system.console import Screen, cut, format_text_table, pluralize, printable, shorten_paths

State = StrEnum("State", "waiting running finished failed interrupted killed damaged")
STATES = f"Only runs in this state: {', '.join(State)}."
WHERE = "Only runs with KEY = != < <= > or >= a value of config, record or metrics.NAME."
TAG = "Only runs with this tag; repeatable, all must match."
SORT = "Best metric, largest number or A first; -KEY: reversed."
COLUMNS = ("name", "experiment", "state", "value", "book", "seconds", "tags", "differs", "note")
NUMBERS = ("value", "book", "seconds")  # columns that are aligned to the right
LONG = 40  # characters to which a terminal cuts a cell
WHOLE = ("name", "folder")  # ... but for these columns
ABOUT = (
    "name", "experiment", "state", "metric", "value", "interval", "book", "seconds",
    "tags", "differs", "note", "began", "folder", "problem",
)  # fmt: skip
EMPTY = "-"  # a cell is never empty, because programs split a line into words
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "!=": operator.ne, "<=": operator.le, ">=": operator.ge, "==": operator.eq,
    "=": operator.eq, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
CONDITION = re.compile(rf"\s*([\w.-]+?)\s*({'|'.join(OPERATORS)})\s*(.*\S)\s*", re.DOTALL)

Row = dict[str, Any]  # values of a run: ABOUT and metrics, then config and record by dotted keys


def list_runs(
    experiment: opt.ExperimentWithRuns = None,
    status: Annotated[list[State] | None, opt.option(STATES, "STATE")] = None,
    where: Annotated[list[str] | None, opt.option(WHERE, "COND")] = None,
    tag: Annotated[list[str] | None, opt.option(TAG, "TAG")] = None,
    sort: Annotated[str | None, opt.option(SORT, "KEY")] = None,
    limit: Annotated[int | None, opt.option("The first N.", "N", min=0)] = None,
    columns: Annotated[str | None, opt.option("Only these columns.", "KEY,KEY")] = None,
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
    screen, folder = Screen(), run_context.resolve_runs_dir(runs_dir)
    if json and csv:
        raise ConfigError("--json and --csv: only one of them", "choose one")
    for name in tag or ():
        check_tag(name)
    conditions = [_Condition(text) for text in (*(where or ()), *(f"tag={t}" for t in tag or ()))]
    keys = [key.strip() for key in columns.split(",")] if columns else []
    order = (sort or "").removeprefix("-")
    named = {*keys, order, *(condition.key for condition in conditions)} - {""}
    whole = json or not named <= {*ABOUT, "metrics"}
    rows, known, identities = list[Row](), set[str](), list[RunIdentity]()
    for run in scan_or_fail(folder, experiment):  # one in memory at a time
        row = _row(run, screen, whole=whole)
        identities.append(run.identity)
        known |= row.keys()
        is_met = [condition.meets(row) for condition in conditions]
        if (not status or row["state"] in status) and all(is_met):
            rows.append(row)
    for key in named - known:  # it is probably mistyped
        close = [name for name in sorted(known) if name.endswith(f".{key}")]
        hint = f"; did you mean {close[0]!r}?" if close else did_you_mean(key, known)
        source = "keys are those of `dlrun runs list --json`, of the configs and of results.json"
        raise ConfigError(f"no run has a key {key!r}{hint}", source)
    copies = find_copies(identities)
    for row in rows:
        row["problem"] = copies.get(Path(row["folder"]), row["problem"])
    if sort:
        rows = sorted(_sort(rows, sort), key=lambda row: Path(row["folder"]) in copies)
    rows = rows[:limit]
    if json:
        keys = keys or [*ABOUT, "metrics", "config"]
        screen.print_json([{key: row.get(key) for key in keys} for row in rows])
    elif csv:
        keys = keys or [*dict.fromkeys([*ABOUT, *filter(None, [order])])]
        cells = [
            [
                yaml_loader.format_setting(cell) if isinstance(cell, dict | list) else cell
                for cell in map(row.get, keys)
            ]
            for row in rows
        ]
        screen.write(to_csv([keys, *cells]).decode().replace("\r\n", "\n"))
    else:
        _show(rows, keys or _columns(rows, order), screen)
    if len(rows) < len(identities):
        screen.note(f"{len(rows)} of {pluralize(len(identities), 'run')}")


def scan_or_fail(runs_dir: Path, experiment: str | None) -> Iterator[Run]:
    """Return the runs of all experiments, or of one; raise ConfigError if there are none."""
    runs = scan_runs(runs_dir, experiment)
    if first := next(runs, None):
        return chain([first], runs)
    if experiment is None:
        raise ConfigError(f"{runs_dir}: no runs here", "name a folder of runs by --runs-dir")
    if experiment != LATEST:
        refuse_sweep(experiment, runs_dir)
    known = registry.experiment_names()
    meant = "" if experiment in known else did_you_mean(experiment, known)
    raise ConfigError(f"{runs_dir / experiment}: no runs here{meant}", "`dlrun runs list` has all")


def _row(run: Run, screen: Screen, *, whole: bool) -> Row:
    """Return the values of a run; `whole`: with those of its config and record, which take time."""
    record = run.record
    metric = recorded_metrics.main_metric(record)
    book = recorded_metrics.published_metrics(record).get("book", {})
    row: Row = {"config": {}}
    differs: Row = {}
    began, notes = record.started, RunNotes()
    if not run.is_damaged:
        notes = notes_or_warning(run, screen)
        if whole:
            recorded = yaml_loader.flatten_keys(record.model_dump(exclude={"config"}))
            row = recorded | run.settings | {"config": run.settings}
        with contextlib.suppress(ConfigError):  # the experiment is not installed
            differs = run.changed_settings()
    elif named := start_time_from_folder_name(run.folder):
        began = named.isoformat()
    return row | {
        "name": run.name,
        "experiment": record.experiment,
        "state": run.state,
        "metric": metric,
        "value": record.metrics[metric] if metric else None,
        "interval": record.interval,
        "book": book.get(metric) if metric else None,
        "seconds": record.seconds.get("total"),
        "tags": notes.tags,
        "differs": differs,
        "note": notes.note or None,
        "began": began,
        "folder": str(run.folder),
        "problem": run.problem,
        "metrics": record.metrics,
        "directions": record.directions,
    }


class _Condition:
    """Tests a condition such as `KEY>VALUE`; raises ConfigError if the condition is invalid."""

    def __init__(self, text: str) -> None:
        parts = CONDITION.fullmatch(text)
        if not parts:
            problem = f"--where {text!r}: expected a key, one of = != < <= > >=, a value"
            hint = "as in --where 'optimizer.lr>0.001', in quotes for the shell"
            raise ConfigError(problem, hint)
        self.text = text
        key, self.sign, self.limit_text = parts.groups()
        self.key = "tags" if key == "tag" else key
        self.limit: Any = self.limit_text
        with contextlib.suppress(ConfigError):  # a value that is not YAML is a text
            self.limit = yaml_loader.parse_set_override(f"value={self.limit}").values["value"]
        if self.key == "tags" and self.sign not in ("=", "==", "!="):
            raise ConfigError(f"--where {text!r}: a run has a tag or not", "use = or !=")

    def meets(self, row: Row) -> bool:
        """Return whether a run meets the condition; one without the key does not.

        Raises ConfigError if the two values cannot be ordered, such as a number and a text.
        """
        value: Any = row.get(self.key)
        if self.key == "tags":
            return (self.limit_text in value) == (self.sign != "!=")
        # A text such as the name 123 needs no quotes.
        limit = value if value == self.limit_text else self.limit
        try:
            comparable = [*value] if isinstance(value, tuple) else value
            return self.key in row and OPERATORS[self.sign](comparable, limit)
        except TypeError:
            if value is None:
                return False
            problem = f"{self.key} is {value!r} in a run, which cannot be compared with {limit!r}"
            hint = (
                "compare numbers with numbers (without a unit), texts with texts, lists with lists"
            )
            raise ConfigError(f"--where {self.text!r}: {problem}", hint) from None


def _sort(rows: Sequence[Row], key: str) -> list[Row]:
    """Sort runs by a key: numbers from the largest, then texts from A to Z; reversed for `-KEY`.

    A metric of which less is better begins with the smallest. Runs without a value come last.
    """
    name = key.removeprefix("-")
    # A metric has one direction, also if older runs do not declare it.
    directions = {metric: better for row in rows for metric, better in row["directions"].items()}

    def rank(row: Row) -> tuple[bool, float, str]:
        value = row[name]
        if not isinstance(value, int | float):
            return (True, 0, str(value))
        metric = row["metric"] if name == "value" else name.partition("metrics.")[2]
        sign = describe_metric(metric, directions).sign or 1
        return (False, -sign * value, "")

    with_value = [row for row in rows if row.get(name) is not None]
    without_value = [row for row in rows if row.get(name) is None]
    return sorted(with_value, key=rank, reverse=key.startswith("-")) + without_value


def _columns(rows: Sequence[Row], key: str) -> list[str]:
    """Return the columns of the table, with the key by which the runs are sorted, if any.

    Tags and notes have columns if a run has any; the experiment has one if there are several.
    """
    unused = [name for name in ("tags", "note") if not any(row[name] for row in rows)]
    if len({row["experiment"] for row in rows}) == 1:
        unused.append("experiment")
    columns = [name for name in COLUMNS if name not in unused]
    is_value = all(f"metrics.{row['metric']}" == key for row in rows if row.get(key) is not None)
    if key and key not in columns and not is_value:
        columns.insert(columns.index("value"), key)
    return columns


def _show(rows: Sequence[Row], keys: Sequence[str], screen: Screen) -> None:
    """Print a table of runs; a terminal gets lines that fit its width, and no empty columns."""
    metrics = {row["metric"] for row in rows} - {None}
    metric = metrics.pop() if len(metrics) == 1 else None
    heads = {"value": (metric or "metric").removeprefix(TESTED), "seconds": "sec"}
    on_terminal = screen.out.is_terminal
    columns = {}
    for key in keys:
        cells = [_format_cell(row, key, name_metric=metric is None) for row in rows]
        if not on_terminal:
            columns[key] = cells
        elif {*cells} != {EMPTY}:
            columns[key] = cells if key in WHOLE else [cut(cell, LONG) for cell in cells]
    table = [[heads.get(key, key) for key in columns], *zip(*columns.values(), strict=True)]
    texts = [key not in NUMBERS and "metrics." not in key for key in columns]
    left = {place for place, is_text in enumerate(texts) if is_text}
    lines = format_text_table(table, left=left, gap=1)
    if on_terminal:
        for place, line in enumerate(lines):
            text = Text(line)
            text.truncate(screen.out.width, overflow="ellipsis")
            lines[place] = text.plain
    screen.rows(lines)


def _format_cell(row: Row, key: str, *, name_metric: bool) -> str:
    """Return the text of one cell of the table; `name_metric` adds the name of the metric."""
    value = row.get(key)
    match key:
        case "differs":
            text = row["problem"] or yaml_loader.format_settings_briefly(value or {})
        case "tags":
            text = ",".join(value or ())
        case "note":
            text = shorten_note(value or "")
        case "seconds" if value is not None:
            text = f"{value:.1f}" if value < 1000 else f"{value:.0f}"
        case "value" if name_metric and row["metric"] is not None:
            text = f"{row['metric'].removeprefix(TESTED)}={format_metric(value)}"
        case "folder":
            text = shorten_paths(str(value))
        case _ if value is None or key in NUMBERS or key.startswith("metrics."):
            text = format_metric(value)
        case _:
            text = yaml_loader.format_setting(value)
    return printable(text) or EMPTY
