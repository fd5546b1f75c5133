"""Runs side by side: what differs between them, their metrics, their curves over each other."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from dlrun.commands.list_runs import NOTHING, bytes_in_words
from dlrun.config.yaml_loader import flatten
from dlrun.errors import ConfigError, DlrunError
from dlrun.run_folder.find import run_suffix
from dlrun.runs.console_summary import format_interval, format_metric, published_metrics
from dlrun.runs.key_metric import ACCURACY, direction, is_plottable
from dlrun.runs.run import Run
from dlrun.runs.run_config import ran_with
from dlrun.system.console import Screen, printable
from dlrun.system.files import write_atomically
from dlrun.system.output_file import check_output_path

LONGEST = 20  # of a cell; a longer value has a line of its own
BEST = "*"
SPLIT_SEED = "data.split_seed"

Rows = list[tuple[str, list[str]]]  # a key, and a cell for each run


def compare(
    names: Sequence[str], out: Path | None, runs_dir: Path | None, *, force: bool = False
) -> None:
    """Show what differs between runs; `out` gets their curves as a PNG.

    Raises ConfigError for fewer than two runs, one that is not there, or an `out` that is no PNG;
    DlrunError where a run cannot be read, or none has a curve.
    """
    screen = Screen()
    _check(names, out, force=force)
    runs = [Run.open(name, runs_dir) for name in names]
    heads = _heads(runs)
    rows = _differing([_about(run) for run in runs])
    for what, values in {"config": _config, "versions": _versions}.items():
        found = _differing([values(run) for run in runs])
        if not found:
            screen.note(f"{what}: the same")
        rows += found
    if differ := len({run.record.data for run in runs}) > 1:
        why = ""
        if SPLIT_SEED in _config(runs[0]) and not {
            key for key, _ in rows if key.startswith("data.") and key != SPLIT_SEED
        }:
            why = f"; with one {SPLIT_SEED} all seeds have the same data"
        screen.note(f"not on the same data: no metric is marked as the best{why}")
    _show(rows + _measured(runs, marked=not differ), heads, screen)
    if out is not None:
        write_atomically(out, _curves(runs, heads, screen))
        screen.show(Text(f"curves {out}"))


def _check(names: Sequence[str], out: Path | None, *, force: bool) -> None:
    if len(names) < 2:
        raise ConfigError("a run is compared with another", "name two runs, or more")
    if out is None:
        return
    if out.suffix.lower() != ".png":
        raise ConfigError(f"--out {out}: not a PNG file's name", f"--out {out.with_suffix('.png')}")
    check_output_path("--out", out, force=force)


def _heads(runs: Sequence[Run]) -> list[str]:
    """The runs' suffixes; where two have the same, their whole names."""
    suffixes = [run_suffix(run.folder) for run in runs]
    names = [run.name for run in runs] if len(set(suffixes)) < len(runs) else suffixes
    for folder, times in Counter(run.folder for run in runs).items():
        if times > 1:
            raise ConfigError(f"{folder}: named {times} times", "compare it with another")
    return [printable(name) for name in names]


def _about(run: Run) -> dict[str, Any]:
    return {"experiment": run.record.experiment, "state": run.state, "data": run.record.data}


def _config(run: Run) -> dict[str, Any]:
    return {k: v for k, v in flatten(ran_with(run)).items() if not k.startswith("reference.")}


def _versions(run: Run) -> dict[str, Any]:
    begun = run.environment
    used = run.record.accelerator.used if run.record.accelerator else None
    return {
        "dlrun": begun.dlrun,
        "code": begun.code,
        "python": (begun.model_extra or {}).get("python"),
        **begun.packages,
        "ran on": used,
        "its threads": run.record.threads,
    }


def _differing(values: Sequence[dict[str, Any]]) -> Rows:
    """The keys of which not all have the same value."""
    keys = dict.fromkeys(key for one in values for key in one)
    cells = {key: [_cell(one[key]) if key in one else NOTHING for one in values] for key in keys}
    return [(key, row) for key, row in cells.items() if len(set(row)) > 1]


def _cell(value: Any) -> str:
    """A value to the last digit, for two that differ must look so."""
    return printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _measured(runs: Sequence[Run], *, marked: bool) -> Rows:
    """The metrics, the best of each marked, and what is beside them."""
    rows: Rows = []
    metrics = [run.newest for run in runs]
    for name in dict.fromkeys(name for one in metrics for name in one):
        values = [one.get(name) for one in metrics]
        best = _best(name, values) if marked else set()
        marks = [BEST if place in best else " " if marked else "" for place in range(len(runs))]
        rows.append((name, [_metric(one) + mark for one, mark in zip(values, marks, strict=True)]))
        if name == ACCURACY:
            ends = [run.record.interval for run in runs]
            rows.append(
                ("95 % interval", [format_interval(one) if one else NOTHING for one in ends])
            )
            books = [published_metrics(run.record).get("book", {}).get(name) for run in runs]
            rows.append(("book", [_metric(book) for book in books]))
    totals = [run.record.seconds.get("total") for run in runs]
    rows.append(("seconds", [NOTHING if one is None else f"{one:.1f}" for one in totals]))
    rows.append(("size", [bytes_in_words(sum(run.sizes.values())) for run in runs]))
    return rows


def _metric(value: float | None) -> str:
    return format_metric(value) or NOTHING


def _best(metric: str, values: Sequence[float | None]) -> set[int]:
    """The places of the best values; none where all are the same, or nobody knows which is."""
    known = {place: direction(metric) * one for place, one in enumerate(values) if one is not None}
    if direction(metric) == 0 or len(set(known.values())) < 2:
        return set()
    return {place for place, value in known.items() if value == max(known.values())}


def _show(rows: Rows, heads: Sequence[str], screen: Screen) -> None:
    """A column for each run, as many side by side as fit; long values below, a line for each."""
    short = [(key, row) for key, row in rows if max(map(cell_len, row)) <= LONGEST]
    keys = max(cell_len(key) for key, _ in short)
    width = 2 + max(cell_len(cell) for row in [heads, *(row for _, row in short)] for cell in row)
    beside = max(1, (screen.out.width - keys) // width)
    for first in range(0, len(heads), beside):
        for key, row in [("run", list(heads)), *short]:
            cells = row[first : first + beside]
            if any(cell.strip() != NOTHING for cell in cells):
                line = key + " " * (keys - cell_len(key)) + "".join(_right(c, width) for c in cells)
                screen.show(Text(line.rstrip()))
    names = max(map(cell_len, heads))
    for key, row in rows:
        if max(map(cell_len, row)) > LONGEST:
            screen.show(Text(printable(key)))
            for head, cell in zip(heads, row, strict=True):
                screen.show(Text(f"  {head}{' ' * (names - cell_len(head))}  {cell}"))


def _right(cell: str, width: int) -> str:
    return " " * (width - cell_len(cell)) + cell


def _curves(runs: Sequence[Run], heads: Sequence[str], screen: Screen) -> bytes:
    """The figure as a PNG; a run without a curve is left out with a note."""
    from dlrun.plots.comparison import Curve, compared_curves  # slow: matplotlib
    from dlrun.plots.style import to_png

    curves = []
    for run, head in zip(runs, heads, strict=True):
        try:
            curve = Curve(f"{run.record.experiment} {head}", _drawable(run.table))
        except DlrunError as error:
            screen.note(f"no curve: {error.message}")
            continue
        if curve.metrics and all(curve.table.values()):
            curves.append(curve)
        else:
            screen.note(f"no curve: {run.folder} has no metric for each step")
    if not curves:
        raise DlrunError("none of these runs has a curve", "leave --out away")
    return to_png(compared_curves(curves))


def _drawable(table: dict[str, list[float]]) -> dict[str, list[float]]:
    """Without the values that no axis can hold, such as those of a run that diverged."""
    return {
        name: [value if is_plottable(value) else math.nan for value in values]
        for name, values in table.items()
    }
