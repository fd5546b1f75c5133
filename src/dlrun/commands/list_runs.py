"""All runs at a glance: a line for each, whatever became of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from dlrun import run_context
from dlrun.commands.run_filter import Keyed, check_keys, check_states, condition, in_order
from dlrun.errors import ConfigError, did_you_mean
from dlrun.experiments import registry
from dlrun.run_folder.folder import to_csv, to_json
from dlrun.runs.console_summary import format_metric
from dlrun.runs.key_metric import ACCURACY, TESTED
from dlrun.runs.run_info import scan_runs
from dlrun.system.console import Screen, pluralize, printable

COLUMNS = ("name", "experiment", "state", "value", "book", "seconds", "size", "differs")
LEFT = {"name", "experiment", "state", "differs", "problem", "folder", "began", "metric"}
NOTHING = "-"  # a cell is never empty: programs count words
LONGEST = 24  # of a value in `differs`


@dataclass(frozen=True)
class ListRequest:
    """Which runs are listed, and how.

    where: conditions, all of which hold. sort: a key, see in_order. columns: keys, by commas.
    """

    experiment: str | None = None
    states: Sequence[str] = ()
    where: Sequence[str] = ()
    sort: str | None = None
    limit: int | None = None
    columns: str | None = None
    json: bool = False
    csv: bool = False


def list_runs(wanted: ListRequest, runs_dir: Path | None) -> None:
    """Show the runs. Raises ConfigError where there are none, or no such keys."""
    screen = Screen()
    if wanted.json and wanted.csv:
        raise ConfigError("--json and --csv: only one of them", "choose one")
    check_states(wanted.states)
    folder = run_context.runs_dir(runs_dir)
    there = [Keyed(seen) for seen in scan_runs(folder, wanted.experiment)]
    if not there:
        raise none_there(folder, wanted.experiment)
    conditions = [condition(text) for text in wanted.where]
    columns = [key.strip() for key in wanted.columns.split(",")] if wanted.columns else []
    sort = [wanted.sort.removeprefix("-")] if wanted.sort else []
    check_keys([*(one.key for one in conditions), *sort, *columns], there)
    for one in conditions:
        one.check(there)
    found = [
        run
        for run in there
        if (not wanted.states or run.about["state"] in wanted.states)
        and all(one.met_by(run) for one in conditions)
    ]
    if wanted.sort:
        found = in_order(found, wanted.sort)
    found = found[: wanted.limit]
    if wanted.json:
        objects = [
            {key: run.get(key) for key in columns} if columns else _object(run) for run in found
        ]
        screen.out.file.write(
            "[\n" + ",\n".join(to_json(one).rstrip() for one in objects) + "\n]\n"
        )
    elif wanted.csv:
        keys = columns or [key for key in there[0].about if key != "interval"]
        rows = [[_plain(run.get(key)) for key in keys] for run in found]
        screen.out.file.write(to_csv([keys, *rows]).decode().replace("\r\n", "\n"))
    else:
        _show(found, columns or list(COLUMNS), screen)
    if len(found) < len(there):
        screen.note(f"{len(found)} of {pluralize(len(there), 'run')}")


def none_there(runs_dir: Path, experiment: str | None) -> ConfigError:
    """There are no runs, or none of an experiment."""
    if experiment is None:
        return ConfigError(f"{runs_dir}: no runs here", "name a folder of runs by --runs-dir")
    known = {path.name for path in runs_dir.glob("*") if path.is_dir()} | {*registry.names()}
    meant = "" if experiment in known else did_you_mean(experiment, known)
    return ConfigError(f"{runs_dir / experiment}: no runs here{meant}", "`dlrun runs list` has all")


def bytes_in_words(size: int) -> str:
    """A size in 5 characters at most: `0.6M`, `13M`, `1.2G`."""
    if size < 1000:
        return f"{size}B"
    value = float(size)
    for unit in "KMGTP":
        value /= 1000
        if value < 9.95:
            return f"{value:.1f}{unit}"
        if value < 999.5:
            return f"{value:.0f}{unit}"
    return f"{value:.0f}P"


def format_differences(values: dict[str, Any]) -> str:
    """`lr=0.01 seed=3`: the keys' last words, the values cut; data and paths last, for they say
    least."""
    ordered = sorted(values, key=lambda key: (key.startswith("data."), "/" in str(values[key])))
    leaves = [key.rpartition(".")[2] for key in ordered]
    return " ".join(
        f"{leaf if leaves.count(leaf) == 1 else key}={_short(values[key])}"
        for key, leaf in zip(ordered, leaves, strict=True)
    )


def _short(value: Any) -> str:
    if isinstance(value, str) and "/" in value:
        value = "…/" + value.rstrip("/").rpartition("/")[2]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = "_".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _object(run: Keyed) -> dict[str, Any]:
    record = run.seen.run.record if run.seen.run else None
    return run.about | {"metrics": record.metrics if record else {}, "config": run.seen.config}


def _plain(value: Any) -> Any:
    """A cell of a CSV table."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _show(runs: Sequence[Keyed], columns: list[str], screen: Screen) -> None:
    """Lines of words, cut to a terminal's width; into a file or a pipe whole."""
    metrics = {run.about["metric"] for run in runs} - {None}
    one = metrics.pop() if len(metrics) == 1 else None
    shorter = {"value": (one or "metric").removeprefix(TESTED), "seconds": "sec"}
    heads = [shorter.get(key, key) for key in columns]
    rows = [[_cell(run, key, alone=one is not None) for key in columns] for run in runs]
    if screen.out.is_terminal:  # columns that say nothing leave room for those that do
        told = [
            place for place, cells in enumerate(zip(*rows, strict=True)) if {*cells} != {NOTHING}
        ]
        columns, heads = [columns[place] for place in told], [heads[place] for place in told]
        rows = [[row[place] for place in told] for row in rows]
    widths = [max(map(cell_len, cells)) for cells in zip(heads, *rows, strict=True)]
    lines = []
    for row in [heads, *rows]:
        cells = []
        for place, (cell, width) in enumerate(zip(row, widths, strict=True)):
            blanks = " " * (width - cell_len(cell))
            last = place == len(row) - 1
            left = cell if last else cell + blanks
            cells.append(left if columns[place] in LEFT else blanks + cell)
        line = Text(" ".join(cells))
        if screen.out.is_terminal:
            line.truncate(screen.out.width, overflow="ellipsis")
        lines.append(line)
    screen.show(Text("\n").join(lines))


def _cell(run: Keyed, key: str, *, alone: bool) -> str:
    """A value as a word; of several metrics each has its name with it."""
    value = run.get(key)
    match key:
        case "differs":
            text = printable(run.about["problem"] or format_differences(value))
        case "size":
            text = bytes_in_words(value)
        case "seconds":
            text = "" if value is None else f"{value:.1f}" if value < 1000 else f"{value:.0f}"
        case "value" if not alone and run.about["metric"] not in (None, ACCURACY):
            text = f"{run.about['metric'].removeprefix(TESTED)}={word(value)}"
        case _:
            text = word(value)
    return printable(text) or NOTHING


def word(value: Any) -> str:
    """A value as it is shown: texts as they are, metrics rounded."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | dict | list | tuple):
        return json.dumps(value, ensure_ascii=False)
    return format_metric(value)
