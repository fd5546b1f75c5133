"""Processes that do one run each, and the connection from each of them to the sweep.

On Linux they are forked from a server that has imported what the runs need; elsewhere they are
spawned. A process whose connection closes ends its step, writes its record and exits, whatever
became of the sweep.
"""

import contextlib
import ctypes
import gc
import multiprocessing
import os
import pkgutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from dlrun.config.sections import ExperimentConfig, NetworkConfig
from dlrun.errors import DlrunError, Stopped, first_line
from dlrun.experiments import registry
from dlrun.run_context import RunSettings
from dlrun.runs.start import resume, run_experiment
from dlrun.system import resources
from dlrun.system.console import Advance, Screen
from dlrun.system.files import check_appendable
from dlrun.system.signals import SIGNALS, stopped_by

LOG = "workers.txt"  # what libraries print in the processes
SAFE_PATH = "PYTHONSAFEPATH"
LAST_SECONDS = 40.0  # for the end of a step; then a process is killed
PROGRESS_SECONDS = 0.1  # between two messages about a run's progress

# macOS has a fork server too, but its libraries may crash in a forked process.
if sys.platform == "linux":
    CONTEXT = multiprocessing.get_context("forkserver")
else:
    CONTEXT = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class PointTask:
    """What a process does: begin a point's run, or resume the run in a folder.

    accelerator: say which device this one stands for; empty: do not. threads: of the run; None: as
    many as it takes alone.
    """

    experiment: str
    settings: RunSettings
    run: Path | None = None
    overrides: Sequence[str] = ()
    accelerator: str = ""
    threads: int | None = None


@dataclass(frozen=True)
class Ended:
    """How a run ended: its exit code (negative: the signal that killed it) and its error."""

    code: int
    error: str = ""
    peak: int | None = None  # bytes that its process held at most


@dataclass(frozen=True)
class Message:
    """What a process sends: the device of its run, the share that is done, a warning, its end."""

    device: str = ""
    share: float | None = None
    warning: str = ""
    ended: Ended | None = None


@dataclass(frozen=True, eq=False)
class _Child:
    number: int
    process: BaseProcess
    connection: "Connection[int, Message]"


@dataclass
class Processes:
    """The living processes of a sweep, whose folder gets their log."""

    folder: Path
    peak: int | None = None  # the most bytes that a run has held
    _children: list[_Child] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._children)

    @property
    def held(self) -> int:
        """The bytes that all processes hold now."""
        return sum(resources.private_memory(one.process.pid or 0) for one in self._children)

    def start(self, number: int, task: PointTask) -> None:
        """Start a process for a point. Raises DlrunError."""
        log = self.folder / LOG
        check_appendable(log)
        ours, theirs = CONTEXT.Pipe()
        process = CONTEXT.Process(target=do_point, args=(theirs, log, task))
        try:
            with _isolated():
                process.start()
        except (OSError, EOFError) as error:
            raise DlrunError(f"no process can be started for a run: {error}") from None
        theirs.close()
        self._children.append(_Child(number, process, ours))  # type: ignore[arg-type,unused-ignore]  # Windows has a PipeConnection

    def receive(self, seconds: float) -> list[tuple[int, Message]]:
        """Wait for messages, at most so many seconds; return each with its point's number."""
        by_connection = {one.connection: one for one in self._children}
        ready = wait(list(by_connection), seconds)
        return [
            (child.number, self._message(child))
            for connection, child in by_connection.items()
            if connection in ready
        ]

    def _message(self, child: _Child) -> Message:
        try:
            message = child.connection.recv()
        except (EOFError, OSError):  # it died
            child.process.join()
            code = child.process.exitcode or 0
            how = f"killed by signal {-code}" if code < 0 else f"its process ended with {code}"
            message = Message(ended=Ended(code, how))
        if message.ended:
            self._end(child)
            self.peak = max(self.peak or 0, message.ended.peak or 0) or None
        return message

    def stop(self, number: int) -> None:
        """Pass a signal on: the first lets a step end, the second stops at once."""
        for one in self._children:
            with contextlib.suppress(OSError):
                one.connection.send(number)

    def close(self) -> None:
        """Close all connections, and wait until the processes have ended."""
        for one in self._children:
            one.connection.close()
        for one in list(self._children):
            self._end(one)

    def _end(self, child: _Child) -> None:
        child.connection.close()
        child.process.join(LAST_SECONDS)
        child.process.kill()
        child.process.join()
        child.process.close()
        self._children.remove(child)


@contextmanager
def _isolated() -> Iterator[None]:
    """Start processes in this block without the terminal's signals and the working folder."""
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"  # Python imports nothing from the working folder
    try:
        if sys.platform == "win32":
            yield
            return
        resource_tracker.ensure_running()  # its start unblocks signals
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    finally:
        del os.environ[SAFE_PATH]
        if before is not None:
            os.environ[SAFE_PATH] = before


def preload(configs: Mapping[str, ExperimentConfig]) -> None:
    """Have the fork server import what takes long to import and runs of these experiments need.

    It has no effect once the server was started.
    """
    if resources.address_space_limit():  # a run says so; in the server torch would abort
        return
    packages = {
        "dlrun.data",
        "dlrun.plots",
        *(registry.entry(name).point.module for name in configs),
    }
    for config in configs.values():
        of_networks = isinstance(config, NetworkConfig)
        packages |= {"dlrun.networks", "dlrun.training"} if of_networks else {"dlrun.lasso"}
    found = [__name__, "filelock", "matplotlib.backends.backend_agg"]
    for name in sorted(packages):
        path = getattr(import_module(name), "__path__", [])
        found += [name, *(one.name for one in pkgutil.walk_packages(path, f"{name}."))]
    CONTEXT.set_forkserver_preload(found)


def do_point(connection: "Connection[Message, int]", log: Path, task: PointTask) -> None:
    """Do a run in this process, send messages about it, and exit."""
    if sys.platform == "win32":
        ctypes.windll.kernel32.SetConsoleCtrlHandler(None, True)
    else:  # the terminal's signals are for the sweep, which passes them on
        os.setsid()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with log.open("ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    gc.set_threshold(50_000)  # as in the command's process
    if task.threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(task.threads)  # as a user would set it
    for number in SIGNALS:
        signal.signal(number, stopped_by)
    ended = _run(connection, task)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    _send(connection, Message(ended=ended))
    sys.stderr.flush()
    os._exit(0)  # to take torch's modules down takes 0.7 s


def _run(connection: "Connection[Message, int]", task: PointTask) -> Ended:
    code, error = 0, ""
    try:
        threading.Thread(target=_listen, args=(connection,), daemon=True).start()
        if task.accelerator:
            from dlrun.system.accelerator import select_accelerator  # slow: torch

            _send(connection, Message(device=select_accelerator(task.accelerator)[0]))
        settings = replace(task.settings, screen=_PointScreen(connection))
        if task.run is not None:
            code = resume(str(task.run), task.overrides, settings)
        else:
            code, _ = run_experiment(task.experiment, settings)
    except Stopped as stop:
        code, error = stop.exit_code, stop.word
    except DlrunError as fault:
        code, error = fault.exit_code, fault.message
    except BaseException as fault:
        code, error = 1, f"{type(fault).__name__}: {first_line(fault)}"
    return Ended(code, error, resources.peak_memory())


def _listen(connection: "Connection[Message, int]") -> None:
    """Raise each signal that the sweep passes on, and SIGTERM when the connection closes."""
    closed = False
    while not closed:
        try:
            number = connection.recv()
        except (EOFError, OSError):
            number, closed = int(signal.SIGTERM), True
        if sys.platform == "win32":  # there os.kill would end the process at once
            signal.raise_signal(number)
        else:
            os.kill(os.getpid(), number)


def _send(connection: "Connection[Message, int]", message: Message) -> None:
    with contextlib.suppress(OSError):  # the sweep is gone
        connection.send(message)


class _PointScreen(Screen):
    """Sends a run's warnings and progress to the sweep; its notes go into the run's log alone."""

    def __init__(self, connection: "Connection[Message, int]") -> None:
        super().__init__(quiet=True, results=False)
        self._connection = connection
        self._total: float | None = None
        self._sent = 0.0

    def warn(self, text: str) -> None:
        """Send a warning."""
        _send(self._connection, Message(warning=self.log(text, warning=True)))

    @contextmanager
    def progress(
        self,
        what: str,
        total: float | None,
        unit: str,
        *,
        aloud: bool = False,
        lines: int | None = None,
    ) -> Iterator[Advance]:
        """Send the share that is done; while data are prepared, it is theirs."""
        self._total = total
        yield self

    def to(self, done: float) -> None:
        """Send how much is done."""
        if self._total and time.monotonic() - self._sent > PROGRESS_SECONDS:
            self._sent = time.monotonic()
            _send(self._connection, Message(share=done / self._total))

    def step(self, done: float, line: str) -> None:
        """Log a finished step, and send how much is done."""
        self.log(line)
        self.to(done)
