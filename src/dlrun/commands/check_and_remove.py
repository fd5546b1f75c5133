"""`dlrun runs check`, `dlrun runs rm`: report damaged files of runs, and remove runs."""

import sys
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from dlrun import run_context
from dlrun.commands import options as opt
from dlrun.commands.opened_runs import describe_damage, open_runs, scan_runs_or_fail, show_results
from dlrun.config.yaml_loader import Values
from dlrun.errors import ConfigError, DlrunError, as_known_error
from dlrun.experiments.saved_run import OTHER_VERSION, Run, scan_folder
from dlrun.experiments.saved_run_checks import CopyOrder, find_copies
from dlrun.run_folder.find import find_run, repair_latest_link
from dlrun.run_folder.folder import remove_run
from dlrun.run_tables import Column
from dlrun.system.console import Screen, format_size, format_text_table, pluralize

CHECKED = (
    Column("run"),
    Column("experiment"),
    Column("state"),
    Column("files", is_number=True),
    Column("result"),
)
Removable = StrEnum("Removable", "waiting finished failed interrupted killed damaged")
REMOVABLE = f"Only runs in this state: {', '.join(Removable)}."
ENDED = {"finished", "failed", "interrupted", "killed"}


def check(runs: opt.RunsOrAll = None, json: opt.Json = False, runs_dir: opt.RunsDir = None) -> int:
    """Read runs back and say which are undamaged: records, checkpoints, weights, tables, figures.

    Exits with 1 if a file is damaged, or a run is a copy of another one, or of another version.

    Examples:
    dlrun runs check
    dlrun runs check imdb-dense/latest --json
    """
    screen = Screen(shows_results=not json)
    rows = list[Values]()
    opened = open_runs(runs, run_context.resolve_runs_dir(runs_dir))
    copies = find_copies(CopyOrder.of_run(run) for _, run in opened)
    for name, run in opened:
        problems = describe_damage(run)
        result = "copy" if run.folder in copies else "whole"
        if problems:
            result = run.state if run.is_other_version else "damaged"
        row: Values = {
            "run": name,
            "folder": str(run.folder),
            "experiment": run.record.experiment if run.is_readable else None,
            "state": run.state,
            "files": len(run.record.files),
            "result": result,
            "problems": [*problems, *filter(None, [copies.get(run.folder)])],
        }
        rows.append(row)
    if json:
        screen.print_json(rows)
    show_results(CHECKED, rows, [row["problems"] for row in rows], screen)
    counts = Counter(row["result"] for row in rows)
    text = f"{pluralize(len(rows), 'run')}, {counts['damaged']} damaged"
    text += f", {len(copies)} copied" if copies else ""
    others = counts[OTHER_VERSION]
    text += f", {others} of another version" if others else ""
    screen.note(text)
    return 1 if counts["damaged"] or copies or others else 0


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
    folder = run_context.resolve_runs_dir(runs_dir)
    if bool(runs) == (experiment is not None or bool(status)):
        hint = "dlrun runs rm RUN ..., or dlrun runs rm --status failed"
        problem = "name the runs to remove, or give options that select them, not both"
        raise ConfigError(problem, hint)
    if runs:
        chosen = _named_runs(runs, folder)
    else:
        states = status or ENDED
        chosen = [run for run in scan_runs_or_fail(folder, experiment) if run.state in states]
    sizes = [sum(run.sizes.values()) for run in chosen]
    rows = [
        [format_size(size), run.state, "/".join(run.folder.parts[-2:])]
        for run, size in zip(chosen, sizes, strict=True)
    ]
    screen.print_lines(format_text_table(rows, left=(1, 2), gap=1))
    screen.note(f"{pluralize(len(chosen), 'run')}: {format_size(sum(sizes))}")
    if not chosen or not (yes or _confirm(screen)):
        return 0
    return _remove(chosen, screen)


def _named_runs(names: Sequence[str], runs_dir: Path) -> list[Run]:
    """Return runs by their names; raise DlrunError for one that is running or cannot be read."""
    folders = dict.fromkeys(find_run(name, runs_dir) for name in names)
    named = [scan_folder(folder) for folder in folders]
    for run in named:
        if run.is_damaged:
            hint = "`dlrun runs rm --status damaged` removes damaged runs"
            raise DlrunError(f"{run.folder}: damaged, so it is kept: {run.problem}", hint)
        if run.is_other_version:
            hint = "use that version, or remove the folder by yourself"
            raise DlrunError(f"{run.folder}: kept: {run.problem}", hint)
        if run.state == "running":
            raise DlrunError(f"{run.folder}: running, so it is kept", "wait for its end, or end it")
    return named


def _remove(chosen: Sequence[Run], screen: Screen) -> int:
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
