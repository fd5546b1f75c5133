"""What a run has around it: its folder, the screen, the data folder, the clock."""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from dlrun.accelerator import Report
from dlrun.run_folder import RunFolder
from dlrun.screen import Screen
from dlrun.stopping import Stop


@dataclass
class Results:
    """What an experiment found; becomes results.json and the last lines on the screen."""

    metrics: dict[str, float]
    reference: Mapping[str, Any]
    accelerator: Report
    data: str  # what the results were found on; says so where it was generated
    figures: list[str] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)
    shown: list[RenderableType] = field(default_factory=list)  # before the table of metrics
    exit_code: int = 0


@dataclass
class Session:
    """A run's surroundings, handed to the experiment."""

    folder: RunFolder
    screen: Screen
    data_dir: Path
    runs_dir: Path
    show_summary: bool = False
    resume_from: Path | None = None  # the folder whose checkpoint the run goes on from
    stop: Stop = field(default_factory=Stop)
    progress: dict[str, float] = field(default_factory=dict)  # the newest metrics, if it is stopped
    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the block's time to `seconds[name]`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0) + time.perf_counter() - started


def data_dir(option: Path | None = None) -> Path:
    """The data folder: the option, DLRUN_DATA_DIR, or `data` in the working folder."""
    return option or Path(os.environ.get("DLRUN_DATA_DIR") or "data")


def runs_dir(option: Path | None = None) -> Path:
    """The runs folder: the option, DLRUN_RUNS_DIR, or `runs` in the working folder."""
    return option or Path(os.environ.get("DLRUN_RUNS_DIR") or "runs")
