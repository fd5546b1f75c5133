"""`dlrun runs check`, `clean`, `rm`: report damaged files of runs, and remove runs."""

import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

from dlrun import run_context
from dlrun.commands import options as opt
from dlrun.commands.opened_runs import open_runs, problems_of, scan_or_fail, show_results
from dlrun.config.yaml_loader import Values
from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments.saved_run import Run, find_copies, scan_folder
from dlrun.rows import Column
from dlrun.run_folder.find import find_run, repair_latest_link, start_time_from_folder_name
from dlrun.run_folder.folder import PLAN, SWEEPS, remove_run
from dlrun.system.console import Screen, format_size, format_text_table, pluralize
from dlrun.system.files import folder_size

CHECKED = (
    *(Column("run"), Column("experiment"), Column("state")),
    *(Column("files", is_number=True), Column("result")),
)
Removable = StrEnum("Removable", "waiting finished failed interrupted killed damaged")
REMOVABLE = f"Only runs in this state: {', '.join(Removable)}."
ENDED = {"finished", "failed", "interrupted", "killed"}
HOURS = {"h": 1, "d": 24, "w": 7 * 24}


def check(runs: opt.RunsOrAll = None, json: opt.Json = False, runs_dir: opt.RunsDir = None) -> int:
    """Read runs back and say which are undamaged: records, checkpoints, weights, tables, figures.

    Exits with 1 if a file is damaged, or a run is a copy of another one.

    Examples:
    dlrun runs check
    dlrun runs check imdb-dense/latest --json
    """
    screen = Screen(results=not json)
    rows = list[Values]()
    opened = open_runs(runs, run_context.resolve_runs_dir(runs_dir))
    copies = find_copies(run.identity for _, run in opened)
    for name, run in opened:
        problems = problems_of(run)
        result = "damaged" if problems else "copy" if run.folder in copies else "whole"
        row: Values = {
            "run": name,
            "folder": str(run.folder),
            "experiment": None if run.is_damaged else run.record.experiment,
            "state": run.state,
            "files": len(run.record.files),
            "result": result,
            "problems": [*problems, *filter(None, [copies.get(run.folder)])],
        }
        rows.append(row)
    if json:
        screen.print_json(rows)
    show_results(CHECKED, rows, [row["problems"] for row in rows], screen)
    damaged = sum(row["result"] == "damaged" for row in rows)
    copied = f", {len(copies)} copied" if copies else ""
    screen.note(f"{pluralize(len(rows), 'run')}, {damaged} damaged{copied}")
    return 1 if damaged or copies else 0


def clean(
    experiment: opt.ExperimentWithRuns = None,
    older_than: Annotated[str | None, opt.option("Ended 30d, 12h or 2w ago.", "AGE")] = None,
    status: Annotated[list[Removable] | None, opt.option(REMOVABLE, "STATE")] = None,
    dry_run: Annotated[bool, opt.flag("Only list what would go.", "--dry-run")] = False,
    yes: Annotated[bool, opt.flag("Do not ask.", "--yes", "-y")] = False,
    runs_dir: opt.RunsDir = None,
) -> int:
    """Remove the runs that match all options. Lists them, says how much is freed, and asks.

    A running run is never removed, a damaged one only by --status damaged.

    Examples:
    dlrun runs clean --status failed --older-than 30d
    dlrun runs clean imdb-dense --older-than 2w --dry-run
    """
    screen = Screen()
    folder = run_context.resolve_runs_dir(runs_dir)
    if not (older_than or status):
        hint = "--older-than 30d, --status failed; --dry-run only lists"
        raise ConfigError("no option selects runs to remove", hint)
    before = _parse_age(older_than) if older_than else datetime.max.replace(tzinfo=UTC)
    runs = list(scan_or_fail(folder, experiment))
    chosen = [
        (run, folder_size(run.folder))
        for run in runs
        if run.state in (status or ENDED) and _end_time(run) <= before
    ]
    _show_chosen(chosen, screen)
    if running := sum(run.state == "running" for run in runs):
        screen.note(f"left alone: {pluralize(running, 'running run')}")
    if not chosen:
        screen.note(f"nothing to remove in {folder}")
        return 0
    size = format_size(sum(size for _, size in chosen))
    screen.note(f"{pluralize(len(chosen), 'run')}: {size}")
    if dry_run or not (yes or _confirm(screen)):
        return 0
    return _remove(chosen, screen)


def remove(
    runs: Annotated[list[str], opt.argument(opt.RUN, "RUN", opt.complete_runs)],
    yes: Annotated[bool, opt.flag("Do not ask.", "--yes", "-y")] = False,
    runs_dir: opt.RunsDir = None,
) -> int:
    """Remove the named runs with all their files. Lists them, and asks.

    No run is removed if one of them is running or damaged.

    Examples:
    dlrun runs rm ff75 imdb-lasso/latest
    dlrun runs rm latest --yes
    """
    screen = Screen()
    folder = run_context.resolve_runs_dir(runs_dir)
    named = [scan_folder(path) for path in dict.fromkeys(find_run(run, folder) for run in runs)]
    for run in named:
        if run.is_damaged:
            hint = "`dlrun runs clean --status damaged` removes damaged runs"
            raise DlrunError(f"{run.folder}: damaged, so it is kept: {run.problem}", hint)
        if run.state == "running":
            raise DlrunError(f"{run.folder}: running, so it is kept", "wait for its end, or end it")
    chosen = [(run, folder_size(run.folder)) for run in named]
    _show_chosen(chosen, screen)
    for sweep in sorted({run.record.sweep.name for run in named if run.record.sweep}):
        if (folder / SWEEPS / sweep / PLAN).is_file():
            again = f"`dlrun sweep --resume {sweep}` runs them again"
            screen.note(f"the sweep {sweep} loses points; {again}")
    return _remove(chosen, screen) if yes or _confirm(screen) else 0


def _show_chosen(chosen: Sequence[tuple[Run, int]], screen: Screen) -> None:
    rows = [[format_size(size), run.state, "/".join(run.folder.parts[-2:])] for run, size in chosen]
    screen.rows(format_text_table(rows, left=(1, 2), gap=1))


def _remove(chosen: Sequence[tuple[Run, int]], screen: Screen) -> int:
    """Remove runs, unless they have changed since they were chosen; return the exit code."""
    freed = exit_code = 0
    try:
        for run, size in chosen:
            try:
                if scan_folder(run.folder).state != run.state:  # it was resumed meanwhile
                    raise DlrunError(f"{run.folder}: changed meanwhile, so it was not removed")
                remove_run(run.folder)
                freed += size
            except DlrunError as error:
                exit_code = 1
                screen.fail(error.message, error.hint)
            except OSError as error:
                exit_code = 1
                screen.fail(f"{run.folder}: cannot be removed: {error.strerror or error}")
    finally:  # also after Ctrl-C
        screen.note(f"freed {format_size(freed)}")
        for parent in {run.folder.parent for run, _ in chosen}:
            repair_latest_link(parent.parent, parent.name)
    return exit_code


def _parse_age(text: str) -> datetime:
    """Return the time that was an age such as `30d` ago. Raises ConfigError if it is invalid."""
    age = re.fullmatch(r"(\d{1,4})([hdw])", text.strip())
    if not age:
        raise ConfigError(f"--older-than {text!r}: not a time", "30d: days; 12h: hours; 2w: weeks")
    return datetime.now(UTC) - timedelta(hours=int(age[1]) * HOURS[age[2]])


def _end_time(run: Run) -> datetime:
    """Return when a run ended or last began; the latest possible time if that is unknown."""
    if time := run.record.ended or run.record.resumed or run.record.started:
        return datetime.fromisoformat(time)
    return start_time_from_folder_name(run.folder) or datetime.max.replace(tzinfo=UTC)


def _confirm(screen: Screen) -> bool:
    screen.err.print("remove them? [y/N] ", end="", markup=False)
    answer = sys.stdin.readline() if sys.stdin else ""
    if not answer:
        screen.err.print()
        raise ConfigError("nobody answers", "--yes removes without asking")
    if answer.strip().lower() in ("y", "yes"):
        return True
    screen.note("nothing was removed")
    return False
