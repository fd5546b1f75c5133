"""`dlrun runs check`: report damaged files of runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from dlrun import run_context
from dlrun.commands import options as opt
from dlrun.commands.list_runs import scan_or_fail
from dlrun.commands.tab_completion import complete_runs
from dlrun.config.yaml_loader import read_yaml_file
from dlrun.errors import DlrunError
from dlrun.experiments.saved_run import Run, scan_folder
from dlrun.run_folder.checkpoint import find_damaged_checkpoints
from dlrun.run_folder.find import find_run
from dlrun.run_folder.folder import CONFIG, RESULTS
from dlrun.system.console import Screen, pluralize
from dlrun.system.files import file_digest


def check(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN", help=f"{opt.RUN} Default: all.", autocompletion=complete_runs
        ),
    ] = None,
    runs_dir: opt.RunsDir = None,
) -> int:
    """Read runs back and say which are undamaged: records, checkpoints, weights, tables, figures.

    Exits with 1 if a file is damaged.

    Example: dlrun runs check latest

    Raises ConfigError if there are no runs.
    """
    screen, folder = Screen(), run_context.resolve_runs_dir(runs_dir)
    if run is None:
        runs = sorted(scan_or_fail(folder, None), key=lambda run: run.folder)
    else:
        named = Path(run).expanduser()
        runs = [scan_folder(named.resolve() if named.is_dir() else find_run(run, folder))]
    runs = [run for run in runs if run.state != "foreign"]
    damaged = 0
    for checked in runs:
        problems = list(_find_damage(checked))
        damaged += bool(problems)
        for problem in problems:
            screen.fail(problem)
        if not problems:
            files = len(checked.record.digests)
            screen.show(Text(f"{checked.folder}: whole ({checked.state}, {files} checked files)"))
    screen.note(f"{pluralize(len(runs), 'run')}, {damaged} damaged")
    return 1 if damaged else 0


def _find_damage(run: Run) -> Iterator[str]:
    """Yield a sentence for each damaged file in a run's folder."""
    record, folder = run.record, run.folder
    if run.problem:
        yield f"{folder}: {run.problem}"
    if run.unreadable:
        return
    try:
        if edited := run.edited_keys(read_yaml_file(folder / CONFIG).values):
            yield f"{folder / CONFIG}: edited since the run: {', '.join(sorted(edited))}"
    except DlrunError as error:
        yield error.message
    for name, expected in record.digests.items():
        try:
            if file_digest(folder / name) != expected:
                yield f"{folder / name}: damaged or edited: its SHA-256 is not the one in {RESULTS}"
        except OSError as error:
            yield f"{folder / name}: {error.strerror}"
    yield from find_damaged_checkpoints(folder, record.id)
