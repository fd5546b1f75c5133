"""`dlrun runs rm`: remove the folders of runs, after listing them and asking."""

import shlex
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from dlrun.cli import options as opt
from dlrun.cli.opened_runs import scan_runs_or_fail
from dlrun.errors import ConfigError, DlrunError, as_known_error
from dlrun.runs.find import find_run, repair_latest_link
from dlrun.runs.folder import file_sizes, remove_run
from dlrun.runs.options import resolve_runs_dir
from dlrun.runs.run import DAMAGED, OTHER_VERSION, ScannedRun, UnreadableRun, scan_folder
from dlrun.system.console import Screen
from dlrun.system.text import format_size, format_text_table, pluralize

Removable = StrEnum("Removable", "waiting finished failed interrupted killed damaged")
REMOVABLE = f"Only runs in this state: {', '.join(Removable)}."
ENDED = {"finished", "failed", "interrupted", "killed"}


def remove(
    runs: Annotated[list[str] | None, opt.argument(opt.RUN_HELP, "RUN")] = None,
    experiment: Annotated[str | None, opt.option("Only its runs.", "NAME")] = None,
    status: Annotated[list[Removable] | None, opt.option(REMOVABLE, "STATE")] = None,
    yes: Annotated[bool, opt.flag("Do not ask.", "--yes", "-y")] = False,
    runs_dir: opt.RunsDir = None,
) -> int:
    """Remove the named runs, or those that match all options, after listing them and asking.

    A running run is never removed, nor one of another version of dlrun, a damaged one only by
    --status damaged.

    Examples:
    dlrun runs rm ff75 imdb-lasso/latest
    dlrun runs rm --experiment imdb-lasso --status failed
    """
    screen = Screen()
    folder = resolve_runs_dir(runs_dir)
    if bool(runs) == (experiment is not None or bool(status)):
        hint = "dlrun runs rm RUN ..., or dlrun runs rm --status failed"
        problem = "name the runs to remove, or give options that select them, not both"
        raise ConfigError(problem, hint)
    if runs:
        chosen = _named_runs(runs, folder)
    else:
        states = status or ENDED
        chosen = [run for run in scan_runs_or_fail(folder, experiment) if run.state in states]
    sizes = [sum(file_sizes(run.folder).values()) for run in chosen]
    rows = [
        [format_size(size), run.state, "/".join(run.folder.parts[-2:])]
        for run, size in zip(chosen, sizes, strict=True)
    ]
    screen.print_lines(format_text_table(rows, left=(1, 2), gap=1))
    screen.note(f"{pluralize(len(chosen), 'run')}: {format_size(sum(sizes))}")
    if not chosen or not (yes or _confirm(screen)):
        return 0
    return _remove(chosen, screen)


def _named_runs(names: Sequence[str], runs_dir: Path) -> list[ScannedRun]:
    """Find runs by their names. Raises DlrunError for a run that is running or cannot be read."""
    folders = dict.fromkeys(find_run(name, runs_dir) for name in names)
    named = [scan_folder(folder) for folder in folders]
    for run in named:
        if isinstance(run, UnreadableRun) and run.state == DAMAGED:
            words = ["dlrun", "runs", "rm", "--status", "damaged"]
            remove = shlex.join([*words, "--runs-dir", str(run.folder.parents[1])])
            hint = f"`{remove}` removes damaged runs"
            raise DlrunError(f"{run.folder}: damaged, so it is kept: {run.problem}", hint)
        if isinstance(run, UnreadableRun) and run.state == OTHER_VERSION:
            hint = "use that version, or remove the folder by yourself"
            raise DlrunError(f"{run.folder}: kept: {run.problem}", hint)
        if run.state == "running":
            raise DlrunError(f"{run.folder}: running, so it is kept", "wait for its end, or end it")
    return named


def _remove(chosen: Sequence[ScannedRun], screen: Screen) -> int:
    """Remove runs, unless they have changed since they were chosen; return the exit code."""
    exit_code = 0
    try:
        for run in chosen:
            try:
                if scan_folder(run.folder).state != run.state:  # it was resumed meanwhile
                    raise DlrunError(f"{run.folder}: changed meanwhile, so it was not removed")
                remove_run(run.folder)
            except (DlrunError, OSError) as error:
                exit_code = 1
                shown = as_known_error(error)
                assert shown is not None  # no bug
                screen.fail(shown.message, shown.hint)
    finally:  # also after Ctrl-C
        for parent in {run.folder.parent for run in chosen}:
            repair_latest_link(parent.parent, parent.name)
    return exit_code


def _confirm(screen: Screen) -> bool:
    """Ask whether to remove the runs; raise ConfigError if nobody answers."""
    screen.err.print("remove them? [y/N] ", end="", markup=False)
    answer = sys.stdin.readline() if sys.stdin else ""
    if not answer:
        screen.err.print()
        raise ConfigError("nobody answers", "--yes removes without asking")
    if answer.strip().lower() in ("y", "yes"):
        return True
    screen.note("nothing was removed")
    return False
