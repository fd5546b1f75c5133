"""`dlrun runs list`: a line for each run, filtered, sorted, or as JSON or CSV for programs."""

import contextlib
import json as json_module
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from dlrun import run_context
from dlrun.config.yaml_loader import flatten, read_override
from dlrun.errors import ConfigError, did_you_mean
from dlrun.experiments import registry
from dlrun.experiments.run import STATES, Run, scan_runs
from dlrun.run_folder.folder import to_csv, to_json
from dlrun.run_folder.metrics import ACCURACY, TESTED, format_metric, main_metric, published_metrics
from dlrun.system.console import Screen, format_size, format_table, pluralize, printable
from dlrun.system.files import folder_size

COLUMNS = ("name", "experiment", "state", "value", "book", "seconds", "size", "differs")
TEXTS = {"name", "experiment", "state", "differs", "problem", "folder", "began", "metric"}
EMPTY = "-"  # a cell is never empty, because programs split a line into words
MAX_VALUE = 24  # characters of a value in the column `differs`

_CONDITION = re.compile(r"\s*([\w.-]+?)\s*(!=|<=|>=|==|=|<|>)(.*)", re.DOTALL)
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class ListedRun:
    """A run with its values by key: those of the list, its config, its record, `metrics.NAME`."""

    def __init__(self, run: Run) -> None:
        self.run, record, metric = run, run.record, main_metric(run.record)
        self.config = {} if run.unreadable else flatten(run.effective_config())
        self.about: dict[str, Any] = {
            "name": run.name,
            "experiment": record.experiment,
            "state": run.state,
            "metric": metric,
            "value": record.metrics[metric] if metric else None,
            "interval": record.interval,
            "book": published_metrics(record).get("book", {}).get(metric) if metric else None,
            "seconds": record.seconds.get("total"),
            "size": folder_size(run.folder),
            "differs": self._changed_settings(),
            "began": record.started,
            "folder": str(run.folder),
            "problem": run.problem,
        }
        values = {} if run.unreadable else flatten(record.model_dump())
        self.values = values | self.config | self.about

    def _changed_settings(self) -> dict[str, Any]:
        """Return the keys that are not as shipped; empty if the experiment is not installed."""
        with contextlib.suppress(ConfigError):
            return {} if self.run.unreadable else self.run.changed_settings()
        return {}

    def as_object(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return the values of some keys, or everything that the list's JSON holds of a run."""
        if keys:
            return {key: self.values.get(key) for key in keys}
        return self.about | {"metrics": self.run.record.metrics, "config": self.config}


@dataclass(frozen=True)
class Condition:
    """A condition on runs: a key, a comparison operator and a value. `text` is what was typed."""

    text: str
    key: str
    operator: str
    value: object

    def selects(self, run: ListedRun) -> bool:
        """Return whether a run meets the condition; one that lacks the key does not."""
        if self.key not in run.values:
            return False
        found = self.compare(run.values[self.key])
        return self.operator == "!=" if found is None else found

    def compare(self, value: object) -> bool | None:
        """Compare a run's value; None if the two values are of different kinds."""
        value = list(value) if isinstance(value, tuple) else value
        kinds = [
            type(one) if isinstance(one, bool | list) else object for one in (value, self.value)
        ]
        if None not in (value, self.value) and kinds[0] != kinds[1]:
            return None
        try:
            return bool(_OPERATORS[self.operator](value, self.value))
        except TypeError:
            return None


def list_runs(
    experiment: str | None = None,
    *,
    status: Sequence[str] = (),
    where: Sequence[str] = (),
    sort: str | None = None,
    limit: int | None = None,
    columns: str | None = None,
    json: bool = False,
    csv: bool = False,
    runs_dir: Path | None = None,
) -> None:
    """List the runs in the states `status` that meet all conditions `where`, the newest first.

    Raises ConfigError if there are no runs, or if a state, key or condition is invalid.
    """
    screen = Screen()
    if json and csv:
        raise ConfigError("--json and --csv: only one of them", "choose one")
    check_states(status)
    folder = run_context.runs_dir(runs_dir)
    runs = [ListedRun(run) for run in scan_runs(folder, experiment)]
    if not runs:
        raise no_runs(folder, experiment)
    conditions = [parse_condition(text) for text in where]
    keys = [key.strip() for key in columns.split(",")] if columns else []
    sort_keys = [sort.removeprefix("-")] if sort else []
    _check_keys([*(one.key for one in conditions), *sort_keys, *keys], runs)
    _check_kinds(conditions, runs)
    found = [
        run
        for run in runs
        if (not status or run.run.state in status) and all(one.selects(run) for one in conditions)
    ]
    if sort:
        found = sort_runs(found, sort)
    found = found[:limit]
    if json:
        texts = ",\n".join(to_json(run.as_object(keys)).rstrip() for run in found)
        screen.out.file.write(f"[\n{texts}\n]\n")
    elif csv:
        keys = keys or [key for key in runs[0].about if key != "interval"]
        rows = [[_to_cell(run.values.get(key)) for key in keys] for run in found]
        screen.out.file.write(to_csv([keys, *rows]).decode().replace("\r\n", "\n"))
    else:
        _show(found, keys or list(COLUMNS), screen)
    if len(found) < len(runs):
        screen.note(f"{len(found)} of {pluralize(len(runs), 'run')}")


def parse_condition(text: str) -> Condition:
    """Parse a condition such as `KEY>VALUE`. Raises ConfigError."""
    parts = _CONDITION.fullmatch(text)
    if not parts or not parts[3].strip():
        raise ConfigError(
            f"--where {text!r}: expected a key, one of = != < <= > >=, a value",
            "as in --where 'optimizer.lr>0.001', in quotes for the shell",
        )
    value: object = parts[3].strip()
    with contextlib.suppress(ConfigError):  # what is not YAML is a text
        value = read_override(f"value={value}").values["value"]
    return Condition(text, parts[1], parts[2], value)


def check_states(states: Iterable[str]) -> None:
    """Raise ConfigError if a state is unknown."""
    for state in states:
        if state not in STATES:
            raise ConfigError(
                f"--status {state!r}: no such state{did_you_mean(state, STATES)}",
                f"choose from {', '.join(STATES)}",
            )


def _check_keys(keys: Iterable[str], runs: Sequence[ListedRun]) -> None:
    """Raise ConfigError if no run has one of the keys, which is then probably mistyped."""
    known = {key for run in runs for key in run.values}
    for key in keys:
        if known and key not in known:
            close = [one for one in sorted(known) if one.endswith(f".{key}")]
            hint = f"; did you mean {close[0]!r}?" if close else did_you_mean(key, known)
            raise ConfigError(
                f"no run has a key {key!r}{hint}",
                "keys are those of `dlrun runs list --json`, of the configs and of results.json",
            )


def _check_kinds(conditions: Iterable[Condition], runs: Sequence[ListedRun]) -> None:
    """Raise ConfigError if a condition's value compares with no run's value."""
    for one in conditions:
        values = [value for run in runs if (value := run.values.get(one.key)) is not None]
        if values and all(one.compare(value) is None for value in values):
            raise ConfigError(
                f"--where {one.text!r}: {one.key} is {values[0]!r} in a run, "
                f"which cannot be compared with {one.value!r}",
                "compare numbers with numbers (without a unit), texts with texts, lists with "
                "lists, as in 'model.hidden=[16, 16]'",
            )


def sort_runs(runs: Sequence[ListedRun], key: str) -> list[ListedRun]:
    """Sort runs by a key: numbers from the largest, then texts from A to Z; `-KEY` reverses both.

    Runs without a value come last. Runs with equal values keep their order.
    """
    reverse, key = key.startswith("-"), key.removeprefix("-")
    known = [run for run in runs if run.values.get(key) is not None]
    numbers = [run for run in known if isinstance(run.values[key], int | float)]
    texts = [run for run in known if run not in numbers]
    numbers.sort(key=lambda run: run.values[key], reverse=not reverse)
    texts.sort(key=lambda run: str(run.values[key]), reverse=reverse)
    return [*numbers, *texts, *(run for run in runs if run.values.get(key) is None)]


def no_runs(runs_dir: Path, experiment: str | None) -> ConfigError:
    """Return the error that a folder has no runs, or none of an experiment."""
    if experiment is None:
        return ConfigError(f"{runs_dir}: no runs here", "name a folder of runs by --runs-dir")
    known = {path.name for path in runs_dir.glob("*") if path.is_dir()} | {*registry.names()}
    hint = "" if experiment in known else did_you_mean(experiment, known)
    return ConfigError(f"{runs_dir / experiment}: no runs here{hint}", "`dlrun runs list` has all")


def format_differences(values: dict[str, Any]) -> str:
    """Return settings as `lr=0.01 seed=3`, by the last words of their keys, with values cut.

    Data settings and paths come last, because they say least.
    """
    ordered = sorted(values, key=lambda key: (key.startswith("data."), "/" in str(values[key])))
    leaves = [key.rpartition(".")[2] for key in ordered]
    return " ".join(
        f"{leaf if leaves.count(leaf) == 1 else key}={_short(values[key])}"
        for key, leaf in zip(ordered, leaves, strict=True)
    )


def _short(value: object) -> str:
    if isinstance(value, str) and "/" in value:
        value = "…/" + value.rstrip("/").rpartition("/")[2]
    text = "_".join(_to_text(value).split())
    return text if len(text) <= MAX_VALUE else text[: MAX_VALUE - 1] + "…"


def format_value(value: object) -> str:
    """Return a value for the screen: texts unchanged, lists as JSON, metrics rounded."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return format_metric(value) if is_number or value is None else _to_text(value)


def _to_text(value: object) -> str:
    return (
        value
        if isinstance(value, str)
        else json_module.dumps(value, ensure_ascii=False, default=str)
    )


def _to_cell(value: object) -> object:
    return _to_text(value) if isinstance(value, dict | list) else value


def _show(runs: Sequence[ListedRun], columns: Sequence[str], screen: Screen) -> None:
    """Print the table; on a terminal lines are cut to its width, and empty columns left out."""
    metrics = {run.about["metric"] for run in runs} - {None}
    metric = metrics.pop() if len(metrics) == 1 else None
    heads = {"value": (metric or "metric").removeprefix(TESTED), "seconds": "sec"}
    cells = [[_cell(run, key, name_metric=metric is None) for key in columns] for run in runs]
    table = [
        (key, [heads.get(key, key), *(row[n] for row in cells)]) for n, key in enumerate(columns)
    ]
    if screen.out.is_terminal:
        table = [(key, column) for key, column in table if {*column[1:]} != {EMPTY}]
    left = {n for n, (key, _) in enumerate(table) if key in TEXTS}
    rows = list(zip(*(column for _, column in table), strict=True))
    lines = [Text(line) for line in format_table(rows, left=left, gap=1)]
    if screen.out.is_terminal:
        for line in lines:
            line.truncate(screen.out.width, overflow="ellipsis")
    screen.show(Text("\n").join(lines))


def _cell(run: ListedRun, key: str, *, name_metric: bool) -> str:
    """Return a run's value in a column; `name_metric` tells several metrics apart."""
    value: Any = run.values.get(key)
    match key:
        case "differs":
            text = run.run.problem or format_differences(value)
        case "size":
            text = format_size(value)
        case "seconds":
            text = "" if value is None else f"{value:.1f}" if value < 1000 else f"{value:.0f}"
        case "value" if name_metric and run.about["metric"] not in (None, ACCURACY):
            text = f"{run.about['metric'].removeprefix(TESTED)}={format_value(value)}"
        case _:
            text = format_value(value)
    return printable(text) or EMPTY
