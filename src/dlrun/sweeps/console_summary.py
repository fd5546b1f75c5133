"""The end of a sweep: its files, and the last lines on the screen."""

import shlex
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from dlrun.errors import DlrunError, first_line
from dlrun.run_folder.folder import RunFolder, to_csv, to_json
from dlrun.run_folder.stored_run import StoredRun
from dlrun.runs.console_summary import format_interval, format_metric
from dlrun.runs.key_metric import TESTED, VALID, main_metric, selection_metric
from dlrun.runs.run import Run
from dlrun.sweeps.plan import Sweep
from dlrun.sweeps.runner import SweepState
from dlrun.sweeps.search import SEED
from dlrun.sweeps.summary import Group, as_object, best, groups, table
from dlrun.system.console import Screen, pluralize, printable

TABLE, FIGURE, REPORT = "table.csv", "metric.png", "report.html"
WIDTH = 80
CONFIG = "config"  # head of the column that says which
SHORTEST = 12  # columns of a config that are left to it at least


def write(planned: Sweep, done: SweepState, screen: Screen) -> list[str]:
    """Write the table, the figure and the page; the names of those that there are."""
    folder = RunFolder(planned.folder)
    found = groups(planned.plan, done.runs)
    folder.write(TABLE, to_csv(table(planned.plan, found)))
    written = [TABLE]
    if runs := [run for _, run in sorted(done.runs.items())]:
        written += _figure(planned, runs, found, folder, screen)
        written += _report(planned, runs, found, screen)
    return written


def show(
    planned: Sweep, done: SweepState, written: Sequence[str], screen: Screen, *, json: bool
) -> int:
    """Show what came out; the exit code."""
    if json:
        print_json(planned, done, screen, "failed" if done.failed else "finished")
    else:
        _show(planned, done, groups(planned.plan, done.runs), written, screen)
    return 1 if done.failed else 0


def print_json(planned: Sweep, done: SweepState, screen: Screen, status: str) -> None:
    """All of it for programs. Raises OSError where stdout takes it no more."""
    screen.out.file.write(to_json(_as_object(planned, done, status)))
    screen.out.file.flush()


def _figure(
    planned: Sweep,
    runs: Sequence[StoredRun],
    found: Sequence[Group],
    folder: RunFolder,
    screen: Screen,
) -> list[str]:
    """The figure's name; one that fails loses nothing else."""
    try:
        from dlrun.plots.style import to_png  # slow: matplotlib
        from dlrun.plots.sweep import RunPoint, sweep_figure

        metric = _metric(runs)
        keys = planned.plan.keys or [SEED]
        dots = []
        for run in runs:
            settings = dict.fromkeys(keys) | planned.plan.settings(run)
            values = {
                part.rstrip("_"): float(value)
                for part in (VALID, TESTED)
                if (value := run.record.metrics.get(part + metric)) is not None
            }
            if run.record.status == "finished" and values:
                dots.append(RunPoint(settings, values))
        if not dots:
            return []
        chosen, rungs = best(found), planned.plan.rungs
        about = f"{planned.plan.experiment}, sweep {planned.plan.name}, {len(dots)} runs"
        if rungs:
            about += f", trained to {rungs[0].epochs} to {rungs[-1].epochs} epochs"
        picture = sweep_figure(
            dots,
            keys,
            metric,
            chosen=chosen.settings if chosen else {},
            book=chosen.book(TESTED + metric) if chosen else None,
            title=about,
            alike=not rungs,
        )
        folder.write(FIGURE, to_png(picture))
    except Exception as error:  # a font, a backend: no reason to lose the result
        screen.warn(f"the figure could not be drawn: {type(error).__name__}: {first_line(error)}")
        return []
    return [FIGURE]


def _metric(runs: Sequence[StoredRun]) -> str:
    """What the figure is of: `accuracy`."""
    record = next((run.record for run in runs if run.record.status == "finished"), runs[0].record)
    found = main_metric(record) or selection_metric(record.metrics) or ""
    return found.removeprefix(TESTED).removeprefix(VALID)


def _report(
    planned: Sweep, runs: Sequence[StoredRun], found: Sequence[Group], screen: Screen
) -> list[str]:
    """The page's name."""
    from dlrun.reports.page import write_page  # slow: jinja2

    note = f"The sweep {planned.plan.name}: {shlex.join(['dlrun', *planned.plan.command[1:]])}."
    if told := _best_in_words(found):
        note += f" Best: {told}."
    try:
        opened = [Run(run.folder, run.record) for run in runs]
        _, problems = write_page(opened, planned.folder / REPORT, note)
    except DlrunError as error:
        screen.warn(error.message)
        return []
    for problem in problems:
        screen.warn(problem)
    return [REPORT]


def _show(
    planned: Sweep, done: SweepState, found: Sequence[Group], written: Sequence[str], screen: Screen
) -> None:
    """The table, what failed, where the files are, and last the best."""
    for line in lines(found):
        screen.show(Text(line))
    points = {point.number: point for point in planned.plan.points}
    for place, why in sorted(done.failed.items()):
        screen.show(Text(f"failed point {place} ({points[place].label}): {printable(why)}"))
    if done.failed:
        screen.show(Text(f"{'again':<7}", style="bold") + Text(planned.go_on))
    for name in written:
        kind = {TABLE: "table", FIGURE: "figure", REPORT: "report"}[name]
        screen.show(Text(f"{kind:<7}", style="bold") + Text(str(planned.folder / name)))
    chosen = best(found)
    if chosen is None:
        return
    if rungs := planned.plan.rungs:
        last = pluralize(rungs[-1].epochs, "epoch")
        screen.show(Text(f"best of those that were trained to {last}; the others ended before"))
    told = Text(printable(_best_in_words(found)))
    screen.show(Text(f"{'best':<7}", style="bold") + told)
    command = chosen.command(planned.plan.experiment)
    screen.show(Text(f"{'repeat':<7}", style="bold") + Text(command))


def _best_in_words(found: Sequence[Group]) -> str:
    """Which config is best, and its metrics; empty where none was validated."""
    chosen = best(found)
    if chosen is None:
        return ""
    spreads = [one for one in (chosen.chosen_by, chosen.tested) if one]
    told = ", ".join(f"{one.metric} {format_metric(one.mean)}" for one in spreads)
    told += f" ({chosen.missing} seeds)" if chosen.missing else ""
    return f"{chosen.label}: {told}" if chosen.label else told


def lines(found: Sequence[Group]) -> list[str]:
    """The table, the best last, within 80 columns: the least and the most give way to configs."""
    if not found:
        return []
    rows = [_cells(group) for group in found]
    names = [printable(group.label) for group in found]
    columns = [key for key in rows[0] if any(row[key] for row in rows)]
    longest = max(map(cell_len, names))
    longest = max(longest, len(CONFIG)) if longest else 0  # only the seed varies
    for left_out in ((), ("min", "max"), ("min", "max", "95 % interval")):
        shown = [key for key in columns if key not in left_out]
        widths = {key: max(len(key), *(len(row[key]) for row in rows)) for key in shown}
        room = WIDTH - sum(width + 2 for width in widths.values())
        if room >= longest:
            break
    label = min(longest, max(room, SHORTEST))
    head = f"{CONFIG:<{label}}" if label else ""
    made = [head + "".join(f"  {key:>{widths[key]}}" for key in shown)]
    for name, row in zip(names, rows, strict=True):
        text = Text(name)
        text.truncate(label, overflow="ellipsis", pad=True)
        made.append(text.plain + "".join(f"  {row[key]:>{widths[key]}}" for key in shown))
    return made if label else [line[2:] for line in made]


def _cells(group: Group) -> dict[str, str]:
    by, tested = group.chosen_by, group.tested
    ends = tested.interval if tested else None
    return {
        "n": group.missing or str(len(group.runs)),
        "valid": format_metric(by.mean) if by else "",
        "test": format_metric(tested.mean) if tested else "",
        "sd": format_metric(tested.deviation) if tested else "",
        "min": format_metric(min(tested.values)) if tested and len(tested.values) > 1 else "",
        "max": format_metric(max(tested.values)) if tested and len(tested.values) > 1 else "",
        "95 % interval": format_interval(ends) if ends else "",
        "book": format_metric(group.book(tested.metric)) if tested else "",
    }


def _as_object(planned: Sweep, done: SweepState, status: str) -> dict[str, Any]:
    found = groups(planned.plan, done.runs)
    chosen = best(found)
    points = []
    for point in planned.plan.points:
        run = done.runs.get(point.number)
        points.append(
            {
                "point": point.number,
                "settings": point.settings,
                "state": run.state if run else None,
                "run": str(run.folder) if run else None,
                "metrics": run.record.metrics if run else {},
                "error": done.failed.get(point.number),
            }
        )
    return {
        "sweep": planned.plan.name,
        "experiment": planned.plan.experiment,
        "folder": str(planned.folder),
        "status": status,
        "points": points,
        "configs": [as_object(group) for group in found],
        "best": as_object(chosen) | {"command": chosen.command(planned.plan.experiment)}
        if chosen
        else None,
    }
