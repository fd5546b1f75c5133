"""Start dlrun many times, cheaply: processes are forked from a server that has imported everything.

Each runs the real command line; only the imports, 4 of a run's 5 seconds, are done once.
"""

import contextlib
import multiprocessing
import os
import pkgutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import dlrun
from tests import child
from tests.child import Fault
from tests.conftest import Ended, clean_environment, overlaid, setting, smoke, until

CONFIGS = Path(__file__).parent / "torture" / "configs"
SMALL = sorted(file.stem for file in CONFIGS.glob("*.yaml"))

CONTEXT = multiprocessing.get_context("forkserver")
PACKAGES = ["matplotlib.backends.backend_agg", "efficientnet_lite_pytorch", "sklearn.linear_model"]
OURS = [found.name for found in pkgutil.walk_packages(dlrun.__path__, "dlrun.")]
CONTEXT.set_forkserver_preload([name for name in OURS if "__main__" not in name] + PACKAGES)
TIMEOUT = 900.0  # seconds; a process that takes longer hangs


@dataclass(frozen=True)
class Child:
    """A running dlrun in a folder of its own."""

    folder: Path
    process: BaseProcess

    def end(self, after: float | None = None, number: int = signal.SIGKILL) -> Ended:
        """Wait for its end; if `after` seconds are given, send it a signal then."""
        self.process.join(TIMEOUT if after is None else after)
        if after is not None and self.process.is_alive():
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                self.signal(number)
            self.process.join(TIMEOUT)
        if self.process.is_alive():
            self.process.kill()
            raise AssertionError(f"hangs: {self.output('stderr')}")
        code = self.process.exitcode
        assert code is not None
        stdout, stderr = self.output("stdout"), self.output("stderr")
        return Ended(code, stdout, stderr, len(self.output("operations")))

    def signal(self, number: int) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def output(self, name: str) -> str:
        """What it has written to `stdout` or `stderr` by now."""
        path = self.folder / child.OUTPUT / name
        return path.read_text(errors="replace") if path.exists() else ""


def start(
    folder: Path,
    *arguments: object,
    fault: Fault | None = None,
    largest_file: int | None = None,
    **environment: str,
) -> Child:
    """Start `dlrun ARGUMENTS` in a folder (see child.run)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / child.OUTPUT / "operations").unlink(missing_ok=True)  # of an earlier process
    settings = clean_environment() | environment
    process = CONTEXT.Process(
        target=child.run,
        args=([*map(str, arguments)], folder.resolve(), settings, fault, largest_file),
    )
    process.start()
    return Child(folder, process)


def run(folder: Path, *arguments: object, **options: Any) -> Ended:
    """Run `dlrun ARGUMENTS` in a folder to its end; the options are those of `start`."""
    return start(folder, *arguments, **options).end()


def words(experiment: str, *settings: str) -> list[str]:
    """The command line of a run that is small enough to be killed hundreds of times."""
    sizes = [file for file in [CONFIGS / f"{experiment}.yaml"] if file.is_file()]
    return [*smoke(experiment), *overlaid(experiment, *sizes)[1:], *setting(*settings)]


def begun_run(folder: Path, experiment: str) -> Path | None:
    """The newest run's folder, or None if none was begun."""
    configs = (folder / "runs" / experiment).glob("*T*Z-*/config.yaml")
    newest = max(configs, key=lambda file: file.stat().st_mtime_ns, default=None)
    return newest.parent if newest else None


def newest_run(folder: Path, experiment: str) -> Path:
    """The newest run's folder."""
    run = begun_run(folder, experiment)
    assert run is not None
    return run


def wait_until(condition: Callable[[], bool], running: Child) -> None:
    """Wait until something is so while the child runs."""
    until(lambda: condition() or not running.process.is_alive(), TIMEOUT)
    assert running.process.is_alive() or condition(), running.output("stderr")
