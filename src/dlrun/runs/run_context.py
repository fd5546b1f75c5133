"""Define what a run is given: the options of its command, and the context of its experiment."""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import RenderableType

from dlrun.config.yaml_loader import ConfigLayer
from dlrun.data.split import Split
from dlrun.runs.folder import RESULTS, SUMMARY, RunFolder
from dlrun.runs.notes import RunNotes
from dlrun.runs.progress_recorder import ProgressRecorder
from dlrun.runs.record import ClassSummary, SweepMembership
from dlrun.system.accelerator import AcceleratorChoice
from dlrun.system.console import Screen
from dlrun.system.signals import StopRequest

if TYPE_CHECKING:
    from torch import Tensor, nn

    from dlrun.data.dataset_types import DataOrigin


@dataclass(frozen=True)
class RunSettings:
    """Holds the options of a command that runs an experiment, or the arguments of `dlrun.run`."""

    config: Sequence[Path] = ()  # YAML files over the defaults
    overrides: Sequence[str] = ()  # `--set` texts
    values: Sequence[ConfigLayer] = ()  # values from Python, or the command's arguments; they win
    runs_dir: Path | None = None
    data_dir: Path | None = None
    name: str | None = None
    note: str = ""
    tags: Sequence[str] = ()
    summary: bool = False
    dry_run: bool = False
    force: bool = False  # resume even if code or packages have changed
    temporary: bool = False  # the folder is removed afterwards, however the run ends
    max_threads: int | None = None  # maximum number of threads of the CPU; None: as many as help
    json: bool = False
    quiet: bool = False
    screen: Screen | None = None  # where to print instead of the terminal's own screen
    sweep: SweepMembership | None = None  # the sweep that the run belongs to

    def notes(self) -> RunNotes:
        """Return the note and tags of a new run. Raises ConfigError if one of them is invalid."""
        return RunNotes().changed(self.note, add=self.tags)

    def console(self) -> Screen:
        """Return the screen to which the run prints its results, notes and progress."""
        return self.screen or Screen(quiet=self.quiet, shows_results=not self.json)


@dataclass
class Results:
    """Holds the results that an experiment returns, for results.json and the terminal."""

    metrics: dict[str, float]
    accelerator: AcceleratorChoice
    origin: "DataOrigin"
    split: Split | None = None  # None: it is not known which rows were tested
    test_rows: int | None = None  # number of rows in the test set
    extra: dict[str, object] = field(default_factory=dict)  # further fields of results.json
    shown: list[RenderableType] = field(default_factory=list)  # results before the metrics
    exit_code: int = 0
    classes: ClassSummary | None = None  # if classes were predicted
    weights_epoch: int | None = None  # the epoch whose weights were kept and tested
    stopped_epoch: int | None = None  # the epoch after which the training ended early


@dataclass
class RunContext:
    """Holds what an experiment uses as it runs: folders, screen, recorder of epochs, threads."""

    folder: RunFolder
    progress: ProgressRecorder
    data_dir: Path
    threads: int = 1  # number of threads of the CPU
    show_summary: bool = False
    kept: dict[str, bytes] = field(default_factory=dict)  # files, see `keep`
    seconds: dict[str, float] = field(default_factory=dict)  # duration of each phase

    @property
    def screen(self) -> Screen:
        """Return the screen to which the run prints."""
        return self.progress.screen

    @property
    def stop(self) -> StopRequest:
        """Return the StopRequest of the run, which says whether to stop after an epoch."""
        return self.progress.stop

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure the seconds that a `with` block takes, and add them to `seconds[name]`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0) + time.perf_counter() - started

    def write_summary(self, text: str) -> None:
        """Write the summary of the model to summary.txt, and show it if the user asked for it."""
        self.folder.write(SUMMARY, f"{text}\n".encode("utf-8", "backslashreplace"))
        if self.show_summary:
            with contextlib.suppress(OSError, SystemExit):  # of rich: nobody reads the output
                self.screen.show(text)

    def write_layers(self, network: "nn.Module", example: "Tensor") -> int:
        """Write the layers of a network to summary.txt; return the number of its parameters."""
        from torchinfo import summary  # slow

        columns = ("input_size", "output_size", "num_params")
        layers = summary(network, input_data=example, col_names=columns, col_width=20, verbose=0)
        # torchinfo writes the name of its constant instead of the letter.
        text = str(layers).replace("(Units.MEGABYTES)", "(M)").replace("(Units.GIGABYTES)", "(G)")
        self.write_summary(text)
        return int(layers.total_params)

    def keep(self, name: str, content: bytes) -> None:
        """Write a file that later commands need, such as the weights, once the run has finished."""
        self.kept[name] = content


def resolve_data_dir(option: Path | None = None) -> Path:
    """Return the data folder: the option, DLRUN_DATA_DIR, or `data` in the working folder."""
    return option or Path(os.environ.get("DLRUN_DATA_DIR") or "data")


def resolve_runs_dir(option: Path | None = None) -> Path:
    """Return the runs folder: the option, DLRUN_RUNS_DIR, or `runs` in the working folder."""
    return option or Path(os.environ.get("DLRUN_RUNS_DIR") or "runs")


def print_results_json(folder: Path, screen: Screen) -> None:
    """Print a run's results.json on stdout."""
    screen.print_raw((folder / RESULTS).read_text(encoding="utf-8"))
