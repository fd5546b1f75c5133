"""`dlrun runs list`: list runs, filtered and sorted by their config values and metrics."""

import contextlib
import operator
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence, Set
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
from dlrun.experiments.saved_run import Run, scan_runs
from dlrun.run_folder.find import refuse_sweep, start_time_from_folder_name
from dlrun.run_folder.folder import LATEST, SWEEPS, to_csv
from dlrun.run_folder.record import RunNotes, check_tag
from dlrun.run_folder.recorded_metrics import (
    TESTED,
    format_metric,
    main_metric,
    metric_direction,
    published_metrics,
)
from dlrun.system.console import (
    Screen,
    cut,
    format_size,
    format_text_table,
    pluralize,
    printable,
    shorten_paths,
    to_json,
)
from dlrun.system.files import folder_size

State = StrEnum("State", "waiting running finished failed interrupted killed damaged")
STATES = f"Only runs in this state: {', '.join(State)}."
WHERE = "Only runs with KEY = != < <= > or >= a value of config, record or metrics.NAME."
TAG = "Only runs with this tag; repeatable, all must match."
SORT = "Best metric, largest number or A first; -KEY: reversed."
COLUMNS = ("name", "experiment", "state", "value", "book", "seconds", "tags", "differs", "note")
NUMBERS = ("value", "book", "seconds", "size")  # columns that are aligned to the right
TEXTS, LONG = {"tags", "differs", "note"}, 40  # columns that a terminal cuts to so many characters
ABOUT = (
    "name", "experiment", "state", "metric", "value", "interval", "book", "seconds", "size",
    "tags", "differs", "note", "began", "folder", "problem",
)  # fmt: skip
IN_ROW = ("experiment", "problem")  # what a row is made of, besides its columns
LISTED = {*ABOUT, "metrics"}  # what is read of a run if no other key is named
EMPTY = "-"  # a cell is never empty, because programs split a line into words
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
CONDITION = re.compile(rf"\s*([\w.-]+?)\s*({'|'.join(OPERATORS)})\s*(.*\S)\s*", re.DOTALL)

Values = dict[str, Any]  # values of a run: those listed, then its config and record by dotted keys


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
    for one in tag or ():
        check_tag(one)
    conditions = [_Condition(one) for one in (*(where or ()), *(f"tag={one}" for one in tag or ()))]
    keys = [key.strip() for key in columns.split(",")] if columns else []
    order = (sort or "").removeprefix("-")
    named = dict.fromkeys([*keys, *filter(None, [order]), *(one.key for one in conditions)])
    if json:
        keys = keys or [*ABOUT, "metrics", "config"]
    elif csv:
        keys = keys or [key for key in ABOUT if key != "interval"]
        keys += [order] if order and not columns and order not in keys else []
    # Of each run only what is shown is kept, and the metric: there may be ten thousand.
    kept = {*keys, "metric", *filter(None, [order])}
    kept.update(() if json or csv else (*IN_ROW, *(keys or COLUMNS)))
    known, number, listed = set[str](), 0, list[Values]()
    for run in scan_or_fail(folder, experiment):
        values = _values(run, screen, kept | named.keys())
        known |= values.keys()
        number += 1
        met = [one.meets(values) for one in conditions]
        if (not status or values["state"] in status) and all(met):
            listed.append({key: values[key] for key in kept if key in values})
    _check_keys(named, known)
    for condition in conditions:
        condition.check()
    listed = (_sort(listed, sort) if sort else listed)[:limit]
    if json:
        objects = (to_json({key: run.get(key) for key in keys}).rstrip() for run in listed)
        screen.out.file.write("[")
        for place, text in enumerate(objects):
            screen.out.file.write(f"{',' if place else ''}\n{text}")
        screen.out.file.write("\n]\n")
    elif csv:
        rows = [
            [
                yaml_loader.format_setting(cell) if isinstance(cell, dict | list) else cell
                for cell in map(run.get, keys)
            ]
            for run in listed
        ]
        screen.out.file.write(to_csv([keys, *rows]).decode().replace("\r\n", "\n"))
    else:
        _show(listed, keys or _columns(listed, order), screen)
    if len(listed) < number:
        screen.note(f"{len(listed)} of {pluralize(number, 'run')}")


def scan_or_fail(runs_dir: Path, experiment: str | None) -> Iterator[Run]:
    """Return all runs, or those of one experiment, as `scan_runs` does.

    Raises ConfigError if there is no run.
    """
    runs = scan_runs(runs_dir, experiment)
    if first := next(runs, None):
        return chain([first], runs)
    if experiment is None:
        raise ConfigError(f"{runs_dir}: no runs here", "name a folder of runs by --runs-dir")
    if experiment != LATEST:
        refuse_sweep(experiment, runs_dir)
    known = {path.name for path in runs_dir.glob("*") if path.is_dir()} - {SWEEPS}
    known.update(registry.experiment_names())
    if experiment not in known:
        problem = f"no experiment {experiment!r}{did_you_mean(experiment, known)}"
        raise ConfigError(problem, f"known: {', '.join(sorted(known))}")
    raise ConfigError(f"{runs_dir / experiment}: no runs here", "`dlrun runs list` has all")


def _values(run: Run, screen: Screen, wanted: Set[str]) -> Values:
    """Return the values of a run that LISTED names; if others are wanted, all of config and record.

    The size of the folder takes time to compute. It is None unless `wanted` contains "size".
    """
    record, metric = run.record, main_metric(run.record)
    values: Values = {"config": {}}
    differs: Values = {}
    began, notes = record.started, RunNotes()
    if run.is_damaged:
        named = start_time_from_folder_name(run.folder)
        began = named.isoformat() if named else None
    else:
        notes = notes_or_warning(run, screen)
        if not wanted <= LISTED:
            about = yaml_loader.flatten_keys(record.model_dump(exclude={"config"}))
            values = about | run.settings | {"config": run.settings}
        with contextlib.suppress(ConfigError):  # the experiment is not installed
            differs = run.changed_settings()
    return values | {
        "name": run.name,
        "experiment": record.experiment,
        "state": run.state,
        "metric": metric,
        "value": record.metrics[metric] if metric else None,
        "interval": record.interval,
        "book": published_metrics(record).get("book", {}).get(metric) if metric else None,
        "seconds": record.seconds.get("total"),
        "size": folder_size(run.folder) if "size" in wanted else None,
        "tags": notes.tags,
        "differs": differs,
        "note": notes.note or None,
        "began": began,
        "folder": str(run.folder),
        "problem": run.problem,
        "metrics": record.metrics,
    }


def _check_keys(keys: Iterable[str], known: Collection[str]) -> None:
    """Raise ConfigError if a key occurs in no run, because it is probably mistyped."""
    for key in keys:
        if key not in known:
            close = [one for one in sorted(known) if one.endswith(f".{key}")]
            hint = f"; did you mean {close[0]!r}?" if close else did_you_mean(key, known)
            raise ConfigError(
                f"no run has a key {key!r}{hint}",
                "keys are those of `dlrun runs list --json`, of the configs and of results.json",
            )


class _Condition:
    """Tests a condition such as `KEY>VALUE` for the values of one run after the other.

    Raises ConfigError if the condition is invalid.
    """

    def __init__(self, text: str) -> None:
        parts = CONDITION.fullmatch(text)
        if not parts:
            raise ConfigError(
                f"--where {text!r}: expected a key, one of = != < <= > >=, a value",
                "as in --where 'optimizer.lr>0.001', in quotes for the shell",
            )
        self.text = text
        self.key, self.sign, wanted = parts.groups()
        self.wanted: Any = wanted
        self.wanted_text = wanted
        self.compared = False  # whether the value of a run could be compared
        self.incomparable: Any = None  # the first value of another type
        self.tag = wanted if self.key in ("tag", "tags") and wanted[:1] != "[" else None
        if self.tag is not None:
            self.key = "tags"
            if self.sign not in ("=", "==", "!="):
                raise ConfigError(f"--where {text!r}: a run has a tag or not", "use = or !=")
        with contextlib.suppress(ConfigError):  # a value that is not YAML is a text
            self.wanted = yaml_loader.parse_set_override(f"value={wanted}").values["value"]

    def meets(self, run: Values) -> bool:
        """Return whether a run meets the condition; one without the key does not."""
        if self.tag is not None:
            return (self.tag in run["tags"]) == (self.sign != "!=")
        if self.key not in run:
            return False
        value = run[self.key]
        holds = self._compare(value)
        if holds is not None:
            self.compared = self.compared or value is not None
        elif self.incomparable is None:
            self.incomparable = value
        return holds if holds is not None else self.sign == "!="

    def _compare(self, value: Any) -> bool | None:
        """Return whether the comparison holds; None if the types of the two values differ."""
        value = list(value) if isinstance(value, tuple) else value
        # A text such as the name 123 needs no quotes.
        pair = (value, value if value == self.wanted_text else self.wanted)
        kinds = [{kind for kind in (bool, list) if isinstance(x, kind)} for x in pair]
        if kinds[0] != kinds[1] and None not in pair:
            return None
        try:
            return OPERATORS[self.sign](*pair)
        except TypeError:
            return None

    def check(self) -> None:
        """Raise ConfigError if the value could not be compared with that of any run."""
        if self.incomparable is not None and not self.compared:
            raise ConfigError(
                f"--where {self.text!r}: {self.key} is {self.incomparable!r} in a run, "
                f"which cannot be compared with {self.wanted!r}",
                "compare numbers with numbers (without a unit), texts with texts, lists with "
                "lists, as in 'model.hidden=[16, 16]'",
            )


def _sort(runs: Sequence[Values], key: str) -> list[Values]:
    """Sort runs by a key: numbers from the largest, then texts from A to Z; reversed for `-KEY`.

    A metric of which less is better, such as a loss, begins with the smallest. Runs without a value
    come last. Runs with equal values keep their order.
    """
    name = key.removeprefix("-")

    def rank(run: Values) -> tuple[bool, float, str]:
        value = run[name]
        is_text = not isinstance(value, int | float)
        metric = run["metric"] if name == "value" else name.partition("metrics.")[2]
        sign = metric_direction(metric) or 1
        return (True, 0, str(value)) if is_text else (False, -sign * value, "")

    known = [run for run in runs if run.get(name) is not None]
    known.sort(key=rank, reverse=key.startswith("-"))
    return known + [run for run in runs if run.get(name) is None]


def _columns(runs: Sequence[Values], key: str) -> list[str]:
    """Return the columns of the table, with the key by which the runs are sorted, if any.

    Tags and notes have columns if a run has any; the experiment has one if there are several.
    """
    unused = [name for name in ("tags", "note") if not any(run[name] for run in runs)]
    if len({run["experiment"] for run in runs}) == 1:
        unused.append("experiment")
    columns = [name for name in COLUMNS if name not in unused]
    is_value = all(f"metrics.{run['metric']}" == key for run in runs if run.get(key) is not None)
    if key and key not in columns and not is_value:
        columns.insert(columns.index("value"), key)
    return columns


def _show(runs: Sequence[Values], keys: Sequence[str], screen: Screen) -> None:
    """Print a table of runs; a terminal gets lines that fit its width, and no empty columns."""
    metrics = {run["metric"] for run in runs} - {None}
    metric = metrics.pop() if len(metrics) == 1 else None
    heads = {"value": (metric or "metric").removeprefix(TESTED), "seconds": "sec"}
    columns = {
        key: [_format_cell(run, key, name_metric=metric is None) for run in runs] for key in keys
    }
    if screen.out.is_terminal:
        columns = {key: cells for key, cells in columns.items() if {*cells} != {EMPTY}}
        columns |= {key: [cut(cell, LONG) for cell in columns[key]] for key in TEXTS & {*columns}}
    rows = [[heads.get(key, key) for key in columns], *zip(*columns.values(), strict=True)]
    left = {place for place, key in enumerate(columns) if not _is_number(key)}
    lines = format_text_table(rows, left=left, gap=1)
    if screen.out.is_terminal:
        lines = [_truncate(line, screen.out.width) for line in lines]
    screen.rows(lines)


def _truncate(line: str, width: int) -> str:
    text = Text(line)
    text.truncate(width, overflow="ellipsis")
    return text.plain


def _is_number(key: str) -> bool:
    return key in NUMBERS or key.startswith("metrics.")


def _format_cell(run: Values, key: str, *, name_metric: bool) -> str:
    """Return the text of one cell of the table; `name_metric` adds the name of the metric."""
    value = run.get(key)
    match key:
        case "differs":
            text = run["problem"] or yaml_loader.format_settings_briefly(value or {})
        case "tags":
            text = ",".join(value or ())
        case "note":
            text = shorten_note(value or "")
        case "size":
            text = format_size(value or 0).replace(" ", "")
        case "seconds" if value is not None:
            text = f"{value:.1f}" if value < 1000 else f"{value:.0f}"
        case "value" if name_metric and run["metric"] is not None:
            text = f"{run['metric'].removeprefix(TESTED)}={format_metric(value)}"
        case "folder":
            text = shorten_paths(str(value))
        case _ if value is None or _is_number(key):
            text = format_metric(value)
        case _:
            text = yaml_loader.format_setting(value)
    return printable(text) or EMPTY
