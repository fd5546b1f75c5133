"""The context of a run: its folder, steps, screen and clock, handed to the experiment."""

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from dlrun.run_folder.folder import RunFolder
from dlrun.run_folder.steps import Steps
from dlrun.system.accelerator import AcceleratorReport
from dlrun.system.console import Screen
from dlrun.system.signals import Stop


@dataclass(frozen=True)
class DataOrigin:
    """Where the data are from, as the screen and the figures show it.

    `differs` says why the published metrics do not apply to them; None if they do.
    """

    text: str
    differs: str | None = None


@dataclass
class Results:
    """What an experiment returns; it becomes results.json and the last lines on the screen."""

    metrics: dict[str, float]
    accelerator: AcceleratorReport
    origin: DataOrigin
    test_rows: int | None = None  # that the test metrics are of
    reference: Mapping[str, Any] = field(default_factory=dict)  # published metrics by edition
    more: dict[str, Any] = field(default_factory=dict)  # further fields of results.json
    shown: list[RenderableType] = field(default_factory=list)  # before the table of metrics
    exit_code: int = 0
    processes: int = 1  # that trained together
    classes: dict[str, Any] | None = None  # of the test set, see run_folder.record.Classes


@dataclass
class RunContext:
    """What a run has around it while it runs."""

    folder: RunFolder
    screen: Screen
    stop: Stop
    steps: Steps
    data_dir: Path
    runs_dir: Path
    threads: int = 1  # of the CPU
    show_summary: bool = False
    kept: dict[str, bytes | memoryview] = field(default_factory=dict)  # files, see `keep`
    seconds: dict[str, float] = field(default_factory=dict)  # by phase

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the block's time to `seconds[name]`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0) + time.perf_counter() - started

    def keep(self, name: str, content: bytes | memoryview) -> None:
        """Have a file written that a later use of the run needs, such as its weights.

        It is written with the others when the run has finished: until then an earlier result of the
        run stays whole.
        """
        self.kept[name] = content

    @property
    def files(self) -> dict[str, str]:
        """The SHA-256 of each kept file."""
        return {name: hashlib.sha256(content).hexdigest() for name, content in self.kept.items()}


def data_dir(option: Path | None = None) -> Path:
    """Return the data folder: the option, DLRUN_DATA_DIR, or `data` in the working folder."""
    return option or Path(os.environ.get("DLRUN_DATA_DIR") or "data")


def runs_dir(option: Path | None = None) -> Path:
    """Return the runs folder: the option, DLRUN_RUNS_DIR, or `runs` in the working folder."""
    return option or Path(os.environ.get("DLRUN_RUNS_DIR") or "runs")
