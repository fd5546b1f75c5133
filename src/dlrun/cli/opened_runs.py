"""Open the runs that a command names, and show the command's result for each as a table."""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments import registry
from dlrun.runs.damage_and_copies import find_damage
from dlrun.runs.find import (
    find_run,
    find_sweep_or_none,
    raise_if_sweep,
    run_name_without_time,
    runs_below,
)
from dlrun.runs.folder import LATEST
from dlrun.runs.notes import RunNotes
from dlrun.runs.options import resolve_runs_dir
from dlrun.runs.run import Run, ScannedRun, scan_folder, scan_runs
from dlrun.runs.run_tables import Column, Row, table_lines
from dlrun.system.console import Screen
from dlrun.system.spelling import did_you_mean

if TYPE_CHECKING:
    from dlrun.sweeps.results import SweepResults

NO_RUNS = "name a folder of runs by --runs-dir"
EMPTY = "-"  # a cell is never empty, because programs split a line into words


def scan_runs_or_fail(runs_dir: Path, experiment: str | None) -> Iterator[ScannedRun]:
    """Open the runs of one experiment or of all. Raises ConfigError if no run exists."""
    runs = scan_runs(runs_dir, experiment)
    if first := next(runs, None):
        return chain([first], runs)
    if experiment is None:
        raise ConfigError(f"{runs_dir}: no runs here", NO_RUNS)
    if experiment != LATEST:
        raise_if_sweep(experiment, runs_dir)
    known = registry.experiment_names()
    meant = "" if experiment in known else did_you_mean(experiment, known)
    lists = shlex.join(["dlrun", "runs", "list", "--runs-dir", str(runs_dir)])
    raise ConfigError(f"{runs_dir / experiment}: no runs here{meant}", f"`{lists}` has all")


def open_run_or_sweep(name: str, runs_dir: Path | None) -> "Run | SweepResults":
    """Open the run with a name, or else the results of the sweep. Raises DlrunError."""
    try:
        return Run.open(name, runs_dir)
    except ConfigError:
        sweep = find_sweep_or_none(name, resolve_runs_dir(runs_dir))
        if sweep is None:
            raise
    from dlrun.sweeps.results import SweepResults  # slow: the modules that begin runs

    return SweepResults.read(sweep)


def open_runs(names: Sequence[str] | None, runs_dir: Path) -> list[tuple[str, ScannedRun]]:
    """Open runs, also unreadable ones, and return a short name of each with the run.

    names: of runs, and of folders of runs at any depth; without names it is the runs folder. Raises
    ConfigError if there is no run.
    """
    folders = [] if names else runs_below(runs_dir)
    if not (names or folders):
        raise ConfigError(f"{runs_dir}: no runs here", NO_RUNS)
    for name in names or ():
        path = Path(name).expanduser()
        below = runs_below(path.resolve()) if name and path.is_dir() else []
        folders += below or [find_run(name, runs_dir)]
    folders = list(dict.fromkeys(folders))
    short = [f"{folder.parent.name}/{run_name_without_time(folder)}" for folder in folders]
    return [
        (name if short.count(name) == 1 else "/".join(folder.parts[-2:]), scan_folder(folder))
        for name, folder in zip(short, folders, strict=True)
    ]


def readable_runs(opened: Iterable[tuple[str, ScannedRun]]) -> list[Run]:
    """A run without a readable record is left out."""
    return [run for _, run in opened if isinstance(run, Run)]


def describe_damage(run: Run) -> list[str]:
    """Each damaged file has a sentence, which names the file without the run's folder."""
    return [problem.removeprefix(f"{run.folder}/") for problem in find_damage(run)]


def print_result_table(
    columns: Sequence[Column], rows: Sequence[Row], reasons: Sequence[Sequence[str]], screen: Screen
) -> None:
    """Print a table with the result of each run, and below it the reasons for the results."""
    screen.show("\n".join(table_lines(columns, rows, screen)))
    for row, lines in zip(rows, reasons, strict=True):
        if lines:
            screen.show("\n  ".join([f"{row['run']}: {row['result']}", *lines]))


def notes_or_warning(run: Run, screen: Screen) -> RunNotes:
    """Damaged notes cause a warning, and count as empty."""
    try:
        return run.notes
    except DlrunError as error:
        screen.warn(error.message)
        return RunNotes()
