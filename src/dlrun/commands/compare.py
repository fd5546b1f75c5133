"""`dlrun runs compare`: show how runs differ in config, code and data, with their metrics."""

import math
from collections.abc import Sequence
from typing import Annotated

from rich.table import Table
from rich.text import Text

from dlrun import stats
from dlrun.commands import options as opt
from dlrun.commands.list_runs import EMPTY
from dlrun.commands.show import notes_or_warning, shorten_note
from dlrun.config.yaml_loader import Values, format_setting
from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments.saved_run import Run
from dlrun.reports.evaluation import compare_test_rows
from dlrun.run_folder import recorded_metrics as metrics
from dlrun.run_folder.find import run_name_without_time
from dlrun.run_folder.record import ACCURACY, RunNotes
from dlrun.system.console import Screen, pluralize, shorten_paths

MAX_CELL = 20  # columns; a longer value is wrapped

Rows = list[tuple[str, list[str]]]  # a key, and a cell for each run


def compare(
    runs: Annotated[
        list[str], opt.argument("Each by folder, name or suffix, latest.", "RUN", opt.complete_runs)
    ],
    runs_dir: opt.RunsDir = None,
) -> None:
    """Show what differs between runs, and their metrics side by side, the best of each marked *.

    Examples:
    dlrun runs compare imdb-dense/latest imdb-lstm/latest
    dlrun runs compare ab12 ff75
    """
    screen = Screen()
    opened = list({run.folder: run for run in (Run.open(name, runs_dir) for name in runs)}.values())
    if len(opened) < max(2, len(runs)):
        raise ConfigError("a comparison needs at least two different runs", "name two or more")
    suffixes = [run_name_without_time(run.folder) for run in opened]
    heads = suffixes if len(set(suffixes)) == len(runs) else [run.name for run in opened]
    described = [_describe(run, notes_or_warning(run, screen)) for run in opened]
    rows = []
    for group in ("run", "config", "versions"):
        differing = _differing([one[group] for one in described])
        if group == "config" and len({run.record.experiment for run in opened}) > 1:
            screen.note("config: keys that not all of these experiments have are left out")
            differing = [(key, cells) for key, cells in differing if EMPTY not in cells]
        elif not differing and group != "run":
            screen.note(f"{group}: no difference")
        rows += differing
    same_data = len({run.record.data for run in opened}) == 1
    if not same_data:
        screen.note("not on the same data: no metric is marked as the best")
    measured = _metrics(opened, mark_best=same_data)
    _show(rows + measured, heads, screen)
    if any(cell.endswith("*") for _, row in measured for cell in row):
        screen.note("*: the best of the runs")
    if len(opened) == 2 and same_data:
        _show_paired_difference(opened, heads, screen)


def _describe(run: Run, notes: RunNotes) -> dict[str, Values]:
    """Return what is compared besides the metrics, in three groups of values by name."""
    record, causes = run.record, run_provenance(run)
    about = {"experiment": record.experiment, "state": run.state, "data": record.data}
    about |= {"tags": ", ".join(notes.tags) or EMPTY, "note": shorten_note(notes.note) or EMPTY}
    machine = {f"machine: {name}": value for name, value in causes["machine"].items()}
    return {
        "run": about,
        "config": run.settings,
        "versions": {**causes["code"], **causes["packages"], **machine},
    }


def run_provenance(run: Run) -> dict[str, Values]:
    """Return the code, packages, machine and data of a run; None for a value it did not record."""
    environment, record = run.environment, run.record
    more = environment.model_extra or {}
    return {
        "code": {
            "dlrun": environment.dlrun,
            "digest": environment.code,
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


def _differing(runs: Sequence[Values]) -> Rows:
    """Return the rows of a table for the keys whose values are not equal in all runs."""
    rows = []
    for key in dict.fromkeys(key for values in runs for key in values):
        cells = [format_setting(values[key]) if key in values else EMPTY for values in runs]
        if len(set(cells)) > 1:
            rows.append((key, cells))
    return rows


def _metrics(runs: Sequence[Run], *, mark_best: bool) -> Rows:
    """Return the rows of a table for the metrics (the best value marked) and the seconds."""
    rows: Rows = []
    newest = [run.newest_metrics for run in runs]
    judged_by = {metrics.main_metric(run.record) for run in runs}
    for name in dict.fromkeys(name for one in newest for name in one):
        values = [one.get(name) for one in newest]
        known = [value for value in values if value is not None]
        direction = runs[0].record.metric(name).sign if mark_best else 0
        best = (max if direction > 0 else min)(known, default=math.nan)
        cells = [metrics.format_metric(value) or EMPTY for value in values]
        behind = [
            None if value is None else stats.without_rounding(value - best, best)
            for value in values
        ]
        has_best = direction and any(behind)
        marks = ["*" if has_best and one == 0 else " " for one in behind]
        rows.append((name, [cell + mark for cell, mark in zip(cells, marks, strict=True)]))
        if name == ACCURACY:
            ends = [run.record.interval for run in runs]
            rows.append(
                ("95 % interval", [metrics.format_interval(one) if one else EMPTY for one in ends])
            )
        if name in judged_by:
            published = [metrics.published_metrics(run.record) for run in runs]
            for edition in metrics.EDITIONS:
                cells = [metrics.format_metric(one.get(edition, {}).get(name)) for one in published]
                if any(cells):
                    rows.append((f"{edition}'s {name}", [cell or EMPTY for cell in cells]))
    totals = [run.record.seconds.get("total") for run in runs]
    rows.append(("seconds", [EMPTY if one is None else f"{one:.1f}" for one in totals]))
    return rows


def _show(rows: Rows, heads: Sequence[str], screen: Screen) -> None:
    """Print a table of runs, or several tables if the runs do not fit side by side."""
    rows = [(key, [*map(shorten_paths, row)]) for key, row in rows]  # before a cell is folded
    longest = max(len(cell) for row in (heads, *(row for _, row in rows)) for cell in row)
    keys = max(len(key) for key, _ in rows)
    width = min(MAX_CELL, longest) + 2
    columns = max(1, (screen.out.width - keys) // width)
    for first in range(0, len(heads), columns):
        table = Table(box=None, pad_edge=False)
        table.add_column("run", no_wrap=True)
        for head in heads[first : first + columns]:
            table.add_column(Text(head), justify="right", max_width=MAX_CELL, overflow="fold")
        for key, row in rows:
            table.add_row(Text(key), *map(Text, row[first : first + columns]))
        screen.show(table)


def _show_paired_difference(runs: Sequence[Run], heads: Sequence[str], screen: Screen) -> None:
    """Print the difference of the second of two runs to the first on their common test rows."""
    try:
        found = compare_test_rows(runs[1], runs[0])
    except DlrunError as error:
        screen.note(f"no difference row by row: {error.message}")
        return
    here, there = heads[1], heads[0]
    around = f" (95 % interval {metrics.format_interval(found.interval)})" if found.interval else ""
    sign = "+" if found.difference > 0 else ""
    rows = pluralize(found.pairs, "common test row")
    screen.show(
        Text(
            f"{here} against {there} on {rows}: {found.metric.name} "
            f"{sign}{metrics.format_metric(found.difference)}{around}, {found.verdict} "
            "(of these two runs: other seeds give other differences)"
        )
    )
