"""`dlrun runs compare`: what differs between runs, and their metrics and curves side by side."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from dlrun.commands.list_runs import EMPTY
from dlrun.config.yaml_loader import flatten
from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments.run import Run
from dlrun.reports.charts import metric_names
from dlrun.run_folder.find import run_suffix
from dlrun.run_folder.metrics import (
    ACCURACY,
    direction,
    format_interval,
    format_metric,
    is_plottable,
    published_metrics,
)
from dlrun.system.console import Screen, format_size, format_table, printable
from dlrun.system.files import check_output_path, write_atomically

MAX_CELL = 20  # columns; a longer value has a line of its own
BEST = "*"

SPLIT_SEED = "data.split_seed"

Rows = list[tuple[str, list[str]]]  # a key, and a cell for each run


def compare(
    runs: Sequence[str],
    *,
    out: Path | None = None,
    force: bool = False,
    runs_dir: Path | None = None,
) -> None:
    """Show what differs between runs, and their metrics side by side; draw their curves into `out`.

    Raises ConfigError if a run is missing or named twice, or if `out` is invalid; DlrunError if a
    run cannot be read, or if none has a curve.
    """
    screen = Screen()
    _check(runs, out, force=force)
    opened = [Run.open(name, runs_dir) for name in runs]
    heads = _headings(opened)
    rows = _differing([_description(run) for run in opened])
    for what, values in {"config": _config, "versions": _versions}.items():
        found = _differing([values(run) for run in opened])
        if not found:
            screen.note(f"{what}: the same")
        rows += found
    same_data = len({run.record.data for run in opened}) == 1
    if not same_data:
        screen.note("not on the same data: no metric is marked as the best")
        data_keys = {key for key, _ in rows if key.startswith("data.")} - {SPLIT_SEED}
        if SPLIT_SEED in _config(opened[0]) and not data_keys:
            screen.note(f"with one {SPLIT_SEED}, runs with several seeds have the same data")
    _show(rows + _metrics(opened, mark_best=same_data), heads, screen)
    if out is not None:
        write_atomically(out, _draw(opened, heads, screen))
        screen.show(Text(f"curves {out}"))


def _check(runs: Sequence[str], out: Path | None, *, force: bool) -> None:
    if len(runs) < 2:
        raise ConfigError("a run is compared with another", "name two runs, or more")
    if out is None:
        return
    if out.suffix.lower() != ".png":
        raise ConfigError(f"--out {out}: not a PNG file's name", f"--out {out.with_suffix('.png')}")
    check_output_path("--out", out, force=force)


def _headings(runs: Sequence[Run]) -> list[str]:
    """Return the runs' suffixes, or their whole names if two suffixes are equal."""
    folders = [run.folder for run in runs]
    for folder in folders:
        if folders.count(folder) > 1:
            raise ConfigError(f"{folder}: named {folders.count(folder)} times", "name another run")
    suffixes = [run_suffix(folder) for folder in folders]
    names = suffixes if len(set(suffixes)) == len(runs) else [run.name for run in runs]
    return [printable(name) for name in names]


def _description(run: Run) -> dict[str, Any]:
    return {"experiment": run.record.experiment, "state": run.state, "data": run.record.data}


def _config(run: Run) -> dict[str, Any]:
    values = flatten(run.effective_config())
    return {key: value for key, value in values.items() if not key.startswith("reference.")}


def run_causes(run: Run) -> dict[str, dict[str, Any]]:
    """Return what a run's numbers may depend on, by kind; None for what it did not write down."""
    environment, record = run.environment, run.record
    more = environment.model_extra or {}
    return {
        "code": {
            "dlrun": environment.dlrun,
            "digest": environment.code,
            "git commit": more.get("git_commit"),
        },
        "packages": {"python": more.get("python"), **environment.packages},
        "machine": {
            "system": more.get("platform"),
            "processor": more.get("processor"),
            "cores": environment.threads,
            "threads": record.threads,
            "accelerator": record.accelerator.used if record.accelerator else None,
        },
        "data": {"origin": record.data, "digest": record.data_digest},
    }


def _versions(run: Run) -> dict[str, Any]:
    causes = run_causes(run)
    machine = {f"machine: {name}": value for name, value in causes["machine"].items()}
    return {**causes["code"], **causes["packages"], **machine}


def _differing(values: Sequence[dict[str, Any]]) -> Rows:
    """Return the keys whose values are not the same in all runs."""
    keys = dict.fromkeys(key for one in values for key in one)
    rows = [(key, [_cell(one[key]) if key in one else EMPTY for one in values]) for key in keys]
    return [(key, row) for key, row in rows if len(set(row)) > 1]


def _cell(value: object) -> str:
    """Return a value to its last digit, so that two different ones look different."""
    return printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _metrics(runs: Sequence[Run], *, mark_best: bool) -> Rows:
    """Return the metrics, with the best of each marked, and seconds and sizes."""
    rows: Rows = []
    metrics = [run.newest_metrics for run in runs]
    for name in dict.fromkeys(name for one in metrics for name in one):
        values = [one.get(name) for one in metrics]
        cells = [format_metric(value) or EMPTY for value in values]
        if mark_best:
            best = _best(name, values)
            cells = [cell + (BEST if n in best else " ") for n, cell in enumerate(cells)]
        rows.append((name, cells))
        if name == ACCURACY:
            ends = [run.record.interval for run in runs]
            intervals = [format_interval(one) if one else EMPTY for one in ends]
            books = [published_metrics(run.record).get("book", {}).get(name) for run in runs]
            rows.append(("95 % interval", intervals))
            rows.append(("book", [format_metric(book) or EMPTY for book in books]))
    totals = [run.record.seconds.get("total") for run in runs]
    rows.append(("seconds", [EMPTY if one is None else f"{one:.1f}" for one in totals]))
    rows.append(("size", [format_size(sum(run.sizes.values())) for run in runs]))
    return rows


def _best(metric: str, values: Sequence[float | None]) -> set[int]:
    """Return the places of the best values; none if all are equal or no direction is known."""
    known = {n: direction(metric) * one for n, one in enumerate(values) if one is not None}
    if direction(metric) == 0 or len(set(known.values())) < 2:
        return set()
    return {n for n, value in known.items() if value == max(known.values())}


def _show(rows: Rows, heads: Sequence[str], screen: Screen) -> None:
    """Print as many columns side by side as fit, then the long values, a line for each run."""
    short = [(key, row) for key, row in rows if max(map(cell_len, row)) <= MAX_CELL]
    keys = max(cell_len(key) for key, _ in short)
    width = 2 + max(cell_len(cell) for row in [heads, *(row for _, row in short)] for cell in row)
    columns = max(1, (screen.out.width - keys) // width)
    for first in range(0, len(heads), columns):
        block = [(key, row[first : first + columns]) for key, row in [("run", heads), *short]]
        table = [[key, *row] for key, row in block if any(one.strip() != EMPTY for one in row)]
        for line in format_table(table):
            screen.show(Text(line))
    for key, row in rows:
        if max(map(cell_len, row)) > MAX_CELL:
            screen.show(Text(printable(key)))
            for line in format_table(
                [["  " + head, *cell] for head, *cell in zip(heads, row, strict=True)], left=(0, 1)
            ):
                screen.show(Text(line))


def _draw(runs: Sequence[Run], heads: Sequence[str], screen: Screen) -> bytes:
    """Return the runs' curves as a PNG; a run without curves is left out with a note."""
    from dlrun.plots import curves, style  # slow: matplotlib

    tables = {}
    for run, head in zip(runs, heads, strict=True):
        try:
            table = run.table
        except DlrunError as error:
            screen.note(f"no curve: {error.message}")
            continue
        if metric_names(table) and all(table.values()):
            tables[f"{run.record.experiment} {head}"] = _without_huge_values(table)
        else:
            screen.note(f"no curve: {run.folder} has no metric for each step")
    if not tables:
        raise DlrunError("none of these runs has a curve", "leave out --out")
    panels = [(next(iter(one)), name) for one in tables.values() for name in metric_names(one)]
    return style.to_png(curves.compared_curves(tables, list(dict.fromkeys(panels))))


def _without_huge_values(table: dict[str, list[float]]) -> dict[str, list[float]]:
    """Replace values that no axis can hold, as a diverged run has them, by NaN."""
    return {
        name: [value if is_plottable(value) else math.nan for value in values]
        for name, values in table.items()
    }
