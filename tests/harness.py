"""Starts dlrun many times, cheaply: children are forked from a server that has imported everything.

A child runs the real command line in a process of its own; only the imports, 4 of a run's 5
seconds, are done once.
"""

import multiprocessing
import os
import pkgutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import dlrun
from dlrun.experiments import registry
from tests import child
from tests.conftest import clean_environment, overlaid, setting, smoke

CONFIGS = Path(__file__).parent / "torture" / "configs"
SMALL = sorted(file.stem for file in CONFIGS.glob("*.yaml"))

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        found.name
        for found in pkgutil.walk_packages(dlrun.__path__, "dlrun.")
        if not found.name.endswith("__main__")
    ]
    + [f"{entry.point.module}.experiment" for entry in registry.entries()]
    + ["matplotlib.backends.backend_agg", "efficientnet_lite_pytorch", "sklearn.linear_model"]
)
TIMEOUT = 300.0  # a child that takes longer hangs


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code (negative: the signal that killed it) and its output."""

    code: int
    stdout: str
    stderr: str
    operations: int

    def is_told(self, code: int, *words: str) -> "Ended":
        """Assert the exit code, the words in its message, and that there is no traceback."""
        assert self.code == code, f"{self.code}: {self.stderr}"
        assert "Traceback" not in self.stderr, self.stderr
        assert "bug in dlrun" not in self.stderr, self.stderr
        for word in words:
            assert word in self.stderr, self.stderr
        return self


class Child:
    """A running dlrun in a folder of its own."""

    def __init__(
        self,
        folder: Path,
        arguments: tuple[Any, ...],
        harm: dict[str, Any],
        limits: dict[str, int],
        environment: dict[str, str],
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        settings = clean_environment() | {"MPLBACKEND": "Agg"} | environment
        self.process: BaseProcess = CONTEXT.Process(
            target=child.run,
            args=([str(part) for part in arguments], folder.resolve(), settings, harm, limits),
        )
        self.process.start()

    def end(self, after: float | None = None) -> Ended:
        """Wait for it; where `after` seconds are given, kill it then."""
        self.process.join(TIMEOUT if after is None else after)
        if self.process.is_alive():
            hangs = after is None
            self.process.kill()
            self.process.join()
            assert not hangs, f"hangs: {self._said('stderr')}"
        code = self.process.exitcode
        assert code is not None
        operations = len(self._said("operations"))
        return Ended(code, self._said("stdout"), self._said("stderr"), operations)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def _said(self, name: str) -> str:
        path = self.folder / ".said" / name
        return path.read_text(errors="replace") if path.exists() else ""


def start(
    folder: Path,
    *arguments: Any,
    harm: dict[str, Any] | None = None,
    limits: dict[str, int] | None = None,
    **environment: str,
) -> Child:
    """Start `dlrun ARGUMENTS` in a folder (see child.run)."""
    return Child(folder, arguments, harm or {}, limits or {}, environment)


def run(folder: Path, *arguments: Any, **options: Any) -> Ended:
    """Run `dlrun ARGUMENTS` in a folder to its end."""
    return start(folder, *arguments, **options).end()


def words(experiment: str, *settings: str) -> list[str]:
    """The command line of a run that is small enough to be killed hundreds of times."""
    sizes = [file for file in [CONFIGS / f"{experiment}.yaml"] if file.is_file()]
    return [*smoke(experiment), *overlaid(experiment, *sizes)[1:], *setting(*settings)]


def only_run(folder: Path, experiment: str) -> Path | None:
    """The newest run's folder that was begun, or None."""
    configs = (folder / "runs" / experiment).glob("*T*Z-*/config.yaml")
    newest = max(configs, key=lambda file: file.stat().st_mtime_ns, default=None)
    return newest.parent if newest else None


def wait_until(condition: Callable[[], bool], running: Child) -> None:
    """Wait until something is so while the child runs."""
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert running.process.is_alive() and time.monotonic() < deadline
        time.sleep(0.005)


@contextmanager
def tmpfs(folder: Path, size: str) -> Iterator[Path]:
    """A file system of a given size, or a skipped test where it cannot be mounted."""
    import subprocess

    import pytest

    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no tmpfs: {error}")
    if done.returncode or not os.path.ismount(folder):
        pytest.skip(f"no tmpfs: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
