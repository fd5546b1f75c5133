"""What a run has around it while it lives: its folder, its steps, the screen, the clock."""

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
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
    """What the data are, as the screen and the figures say it.

    `differs` says why the published figures are about other data; None where they are these.
    """

    text: str
    differs: str | None = None


@dataclass
class Results:
    """What an experiment found; becomes results.json and the last lines on the screen."""

    metrics: dict[str, float]
    accelerator: AcceleratorReport
    origin: DataOrigin
    test_rows: int | None = None  # that the test metrics are of
    reference: Mapping[str, Any] = field(default_factory=dict)  # published metrics by edition
    more: dict[str, Any] = field(default_factory=dict)
    shown: list[RenderableType] = field(default_factory=list)  # before the table of metrics
    exit_code: int = 0
    processes: int = 1  # that did it together
    classes: dict[str, Any] | None = None  # of the test set, see store.record.Classes


@dataclass
class RunContext:
    """A run's surroundings, handed to the experiment."""

    folder: RunFolder
    screen: Screen
    stop: Stop
    steps: Steps
    data_dir: Path
    runs_dir: Path
    threads: int = 1  # of the CPU
    show_summary: bool = False
    files: dict[str, str] = field(default_factory=dict)  # SHA-256 of what the network needs
    _staging: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _puts: list[Callable[[], None]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the block's time to `seconds[name]`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0) + time.perf_counter() - started

    def keep(self, name: str, content: bytes | memoryview) -> None:
        """Write a file that a later use of the run needs, such as its weights.

        It gets its name with the others, when the run has finished: an earlier result stays whole.
        """
        self.files[name] = hashlib.sha256(content).hexdigest()
        if self.folder.writes:
            self._puts.append(self._staging.enter_context(self.folder.staged(name, content)))

    def put_kept(self) -> None:
        """Give the kept files their names."""
        for put in self._puts:
            put()
        self.drop_kept()

    def drop_kept(self) -> None:
        """Remove those that have no name yet."""
        self._puts.clear()
        self._staging.close()


def data_dir(option: Path | None = None) -> Path:
    """The data folder: the option, DLRUN_DATA_DIR, or `data` in the working folder."""
    return option or Path(os.environ.get("DLRUN_DATA_DIR") or "data")


def runs_dir(option: Path | None = None) -> Path:
    """The runs folder: the option, DLRUN_RUNS_DIR, or `runs` in the working folder."""
    return option or Path(os.environ.get("DLRUN_RUNS_DIR") or "runs")
