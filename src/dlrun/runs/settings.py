"""The settings of a run beside its config."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dlrun.config.yaml_loader import Layer
from dlrun.run_folder.record import SweepMembership
from dlrun.system.console import Screen


@dataclass(frozen=True)
class RunSettings:
    """The options of a command, or the arguments of `dlrun.run`.

    config: YAML files over the defaults. overrides: `--set` texts. values: those from Python or of
    the command's positional arguments, over all others.
    """

    config: Sequence[Path] = ()
    overrides: Sequence[str] = ()
    values: Sequence[Layer] = ()
    runs_dir: Path | None = None
    data_dir: Path | None = None
    name: str | None = None
    summary: bool = False
    dry_run: bool = False
    force: bool = False  # resume even if code or packages have changed
    temporary: bool = False  # the folder is removed afterwards, however the run ends
    max_threads: int | None = None  # of the CPU; None: as many as help
    json: bool = False
    quiet: bool = False
    results: bool = True  # False: the caller shows them
    screen: Screen | None = None  # instead of the terminal's
    sweep: SweepMembership | None = None  # the sweep that the run belongs to

    def console(self) -> Screen:
        """Return the screen that the run writes to."""
        return self.screen or Screen(quiet=self.quiet, results=self.results and not self.json)
