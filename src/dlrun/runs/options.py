"""Define the options of a command that runs an experiment, and find the folders that they name."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dlrun.config.yaml_loader import ConfigLayer
from dlrun.runs.notes import RunNotes
from dlrun.runs.record import SweepMembership
from dlrun.system.console import Screen


@dataclass(frozen=True)
class RunOptions:
    """Holds the options of a command that runs an experiment, or the arguments of `dlrun.run`."""

    config: Sequence[Path] = ()  # YAML files over the defaults
    values: Sequence[ConfigLayer] = ()  # from the command line or from Python; a later one wins
    runs_dir: Path | None = None
    data_dir: Path | None = None
    name: str | None = None
    notes: RunNotes = field(default_factory=RunNotes)  # the note and the tags of a new run
    summary: bool = False
    dry_run: bool = False
    force: bool = False  # resume even if code or packages have changed
    temporary: bool = False  # the folder is removed afterwards, however the run ends
    max_threads: int | None = None  # maximum number of threads of the CPU; None: as many as help
    json: bool = False
    quiet: bool = False
    screen: Screen | None = None  # where to print instead of the terminal's own screen
    sweep: SweepMembership | None = None  # the sweep that the run belongs to

    @property
    def recorded_data_dir(self) -> str | None:
        """The path is absolute, so that a run can be resumed from any working folder."""
        return str(self.data_dir.absolute()) if self.data_dir else None

    def console(self) -> Screen:
        return self.screen or Screen(quiet=self.quiet, shows_results=not self.json)


def resolve_data_dir(option: Path | None = None) -> Path:
    """The option wins over DLRUN_DATA_DIR, and that over `data` in the working folder."""
    return option or Path(os.environ.get("DLRUN_DATA_DIR") or "data")


def resolve_runs_dir(option: Path | None = None) -> Path:
    """The option wins over DLRUN_RUNS_DIR, and that over `runs` in the working folder."""
    return option or Path(os.environ.get("DLRUN_RUNS_DIR") or "runs")
