"""What is said beside the config when a run is started."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dlrun.config.yaml_loader import Layer
from dlrun.run_folder.record import SweepMembership
from dlrun.system.console import Screen


@dataclass(frozen=True)
class RunSettings:
    """Said on the command line, or in Python.

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
    force: bool = False  # resume although code or packages are others
    temporary: bool = False  # the folder goes afterwards, whatever became of the run
    json: bool = False
    quiet: bool = False
    results: bool = True  # False: the caller shows them
    screen: Screen | None = None  # another than the terminal's
    sweep: SweepMembership | None = None  # that the run is a point of
