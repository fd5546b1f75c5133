"""What a sweep leaves: its table, figure and page, the last lines on the screen, its JSON."""

import shlex
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from dlrun.errors import DlrunError, first_line
from dlrun.experiments.run import Run
from dlrun.run_folder.folder import RunFolder, to_csv, to_json
from dlrun.run_folder.metrics import (
    TESTED,
    VALID,
    format_interval,
    format_metric,
    main_metric,
    selection_metric,
)
from dlrun.sweeps.plan import Sweep
from dlrun.sweeps.search import SEED
from dlrun.sweeps.state import SweepState
from dlrun.sweeps.summary import Group, as_object, best, groups, table
from dlrun.system.console import Screen, format_table, pluralize, printable

FILES = {"table": "table.csv", "figure": "metric.png", "report": "report.html"}
WIDTH = 80
SHORTEST = 12  # columns that a config has at least
LESSER = ("min", "max", "95 % interval")  # columns that give way to long configs, in this order


def write(sweep: Sweep, state: SweepState, screen: Screen) -> list[str]:
    """Write the table, the figure and the page; return which there are."""
    folder = RunFolder(sweep.folder)
    found = groups(sweep.plan, state.runs)
    folder.write(FILES["table"], to_csv(table(sweep.plan, found)))
    runs = [run for _, run in sorted(state.runs.items())]
    written = ["table"]
    if runs and _draw(sweep, runs, found, folder, screen):
        written.append("figure")
    if runs and _write_page(sweep, runs, found, screen):
        written.append("report")
    return written


def _draw(
    sweep: Sweep,
    runs: Sequence[Run],
    found: Sequence[Group],
    folder: RunFolder,
    screen: Screen,
) -> bool:
    """Draw the figure, if there is something to draw; one that fails loses nothing else."""
    plan = sweep.plan
    try:
        from dlrun.plots.style import to_png  # slow: matplotlib
        from dlrun.plots.sweep import RunPoint, sweep_figure

        metric = _metric(runs)
        keys = plan.keys or [SEED]
        dots = []
        for run in runs:
            values = {
                part.rstrip("_"): float(value)
                for part in (VALID, TESTED)
                if (value := run.record.metrics.get(part + metric)) is not None
            }
            if run.record.status == "finished" and values:
                dots.append(RunPoint(dict.fromkeys(keys) | plan.settings(run), values))
        if not dots:
            return False
        chosen = best(found)
        title = f"{plan.experiment}, sweep {plan.name}, {len(dots)} runs"
        if plan.rungs:
            title += f", trained to {plan.rungs[0].epochs} to {plan.rungs[-1].epochs} epochs"
        figure = sweep_figure(
            dots,
            keys,
            metric,
            chosen=chosen.settings if chosen else {},
            book=chosen.book(TESTED + metric) if chosen else None,
            title=title,
            alike=not plan.rungs,
        )
        folder.write(FILES["figure"], to_png(figure))
    except Exception as error:  # a font, a backend: no reason to lose the result
        screen.warn(f"the figure could not be drawn: {type(error).__name__}: {first_line(error)}")
        return False
    return True


def _metric(runs: Sequence[Run]) -> str:
    """Return what the figure shows: `accuracy`."""
    record = next((run.record for run in runs if run.record.status == "finished"), runs[0].record)
    found = main_metric(record) or selection_metric(record.metrics) or ""
    return found.removeprefix(TESTED).removeprefix(VALID)


def _write_page(sweep: Sweep, runs: Sequence[Run], found: Sequence[Group], screen: Screen) -> bool:
    from dlrun.reports.page import write_page  # slow: jinja2

    note = f"The sweep {sweep.plan.name}: {shlex.join(['dlrun', *sweep.plan.command[1:]])}."
    if best_in_words := _describe_best(found):
        note += f" Best: {best_in_words}."
    try:
        opened = runs
        _, problems = write_page(opened, sweep.folder / FILES["report"], note)
    except DlrunError as error:
        screen.warn(error.message)
        return False
    for problem in problems:
        screen.warn(problem)
    return True


def show(sweep: Sweep, state: SweepState, written: Sequence[str], screen: Screen) -> None:
    """Show the configs, what failed, where the files are, and last the best config."""

    def labelled(label: str, text: str) -> None:
        screen.show(Text(f"{label:<7}", style="bold") + Text(printable(text)))

    plan, found = sweep.plan, groups(sweep.plan, state.runs)
    for line in config_table(found):
        screen.show(Text(line))
    points = {point.number: point for point in plan.points}
    for number, why in sorted(state.failed.items()):
        screen.show(Text(f"failed point {number} ({points[number].label}): {printable(why)}"))
    if state.failed:
        labelled("again", sweep.resume_command)
    for kind in written:
        labelled(kind, str(sweep.folder / FILES[kind]))
    if (chosen := best(found)) is None:
        return
    if plan.rungs:
        last = pluralize(plan.rungs[-1].epochs, "epoch")
        screen.show(Text(f"best of those that were trained to {last}; the others ended before"))
    labelled("best", _describe_best(found))
    labelled("repeat", chosen.command(plan.experiment))


def _describe_best(found: Sequence[Group]) -> str:
    """Return the best config and its metrics in words; empty if none was validated."""
    if (chosen := best(found)) is None:
        return ""
    spreads = [one for one in (chosen.chosen_by, chosen.tested) if one]
    text = ", ".join(f"{one.metric} {format_metric(one.mean)}" for one in spreads)
    text += f" ({chosen.missing} seeds)" if chosen.missing else ""
    return f"{chosen.label}: {text}" if chosen.label else text


def config_table(found: Sequence[Group]) -> list[str]:
    """Return the table, best config last; drop min, max and interval if it is wider than 80."""
    if not found:
        return []
    rows = [_cells(group) for group in found]
    columns = [key for key in rows[0] if any(row[key] for row in rows)]
    longest = max(cell_len(row["config"]) for row in rows)
    for dropped in (0, 2, 3):
        columns = [key for key in columns if key not in LESSER[:dropped]]
        widths = [max(len(key), *(len(row[key]) for row in rows)) for key in columns[1:]]
        room = WIDTH - sum(width + 2 for width in widths)
        if room >= longest or columns[0] != "config":
            break
    for row in rows:
        if cell_len(row["config"]) > max(room, SHORTEST):
            row["config"] = set_cell_size(row["config"], max(room, SHORTEST) - 1).rstrip() + "…"
    left = (0,) if columns[0] == "config" else ()  # without it only the seed varies
    return format_table([columns, *([row[key] for key in columns] for row in rows)], left=left)


def _cells(group: Group) -> dict[str, str]:
    by, tested = group.chosen_by, group.tested
    interval = tested.interval if tested else None
    several = tested is not None and len(tested.values) > 1
    return {
        "config": printable(group.label),
        "n": group.missing or str(len(group.runs)),
        "valid": format_metric(by.mean) if by else "",
        "test": format_metric(tested.mean) if tested else "",
        "sd": format_metric(tested.deviation) if tested else "",
        "min": format_metric(min(tested.values)) if tested and several else "",
        "max": format_metric(max(tested.values)) if tested and several else "",
        "95 % interval": format_interval(interval) if interval else "",
        "book": format_metric(group.book(tested.metric)) if tested else "",
    }


def print_json(sweep: Sweep, state: SweepState, screen: Screen, status: str) -> None:
    """Print the state and the results as JSON. Raises OSError if stdout was closed."""
    found = groups(sweep.plan, state.runs)
    chosen = best(found)
    points = []
    for point in sweep.plan.points:
        run = state.runs.get(point.number)
        points.append(
            {
                "point": point.number,
                "settings": point.settings,
                "state": run.state if run else None,
                "run": str(run.folder) if run else None,
                "metrics": run.record.metrics if run else {},
                "error": state.failed.get(point.number),
            }
        )
    about: dict[str, Any] = {
        "sweep": sweep.plan.name,
        "experiment": sweep.plan.experiment,
        "folder": str(sweep.folder),
        "status": status,
        "points": points,
        "configs": [as_object(group) for group in found],
        "best": None,
    }
    if chosen is not None:
        about["best"] = as_object(chosen) | {"command": chosen.command(sweep.plan.experiment)}
    screen.out.file.write(to_json(about))
    screen.out.file.flush()
