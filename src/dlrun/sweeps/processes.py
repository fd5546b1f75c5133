"""Execute the runs of a sweep in child processes, and exchange messages with them.

Each process executes one run. On Linux they are forked from a server that has imported the
packages that the runs need; elsewhere they are spawned. A process whose connection closes ends its
step, writes its record and exits, even if the sweep was killed.
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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from dlrun.config.sections import NetworkConfig
from dlrun.errors import DlrunError, Stopped, first_line
from dlrun.experiments import registry
from dlrun.run_context import RunSettings
from dlrun.runs.start import resume_run, run_experiment
from dlrun.system import resources
from dlrun.system.accelerator import select_accelerator
from dlrun.system.console import MoveBar, Screen
from dlrun.system.files import check_log_appendable
from dlrun.system.signals import SIGNALS, raise_stop_signal

if sys.platform == "win32":
    from multiprocessing.connection import PipeConnection as Connection
else:
    from multiprocessing.connection import Connection

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
class RunTask:
    """The task of a child process: start the run of a point, or resume the run in a folder.

    accelerator: if not empty, the process first reports the device that this selects.
    """

    experiment: str
    settings: RunSettings
    run: Path | None = None
    accelerator: str = ""


@dataclass(frozen=True)
class ProcessMessage:
    """A message from a child process: its device, its progress, a warning, or its end.

    exit_code: once the run has ended; negative: the number of the signal that killed it. peak: the
    most bytes that its process held.
    """

    device: str = ""
    share: float | None = None
    warning: str = ""
    exit_code: int | None = None
    error: str = ""
    peak: int = 0


class SweepProcesses:
    """Starts, stops and listens to the child processes of a sweep."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / LOG
        self._children: dict[int, tuple[BaseProcess, Connection[int, ProcessMessage]]] = {}
        self.peak = 0  # the most bytes that a run has held

    def __len__(self) -> int:
        return len(self._children)

    def memory_held(self) -> int:
        """Return the number of bytes in memory that all child processes use now."""
        return sum(
            resources.process_private_memory(process.pid or 0)
            for process, _ in self._children.values()
        )

    def start(self, number: int, task: RunTask) -> None:
        """Start a child process for a point. Raises DlrunError if no process can be started."""
        check_log_appendable(self._log)
        ours, theirs = CONTEXT.Pipe()
        process = CONTEXT.Process(target=run_point_in_child_process, args=(theirs, self._log, task))
        try:
            with _isolated():
                process.start()
        except (OSError, EOFError) as error:
            raise DlrunError(f"no process can be started for a run: {error}") from None
        theirs.close()
        self._children[number] = process, ours

    def receive(self, seconds: float) -> list[tuple[int, ProcessMessage]]:
        """Wait at most `seconds` for messages; return each with the number of its point."""
        ready = wait([connection for _, connection in self._children.values()], seconds)
        numbers = [number for number, (_, one) in self._children.items() if one in ready]
        return [(number, self._message(number)) for number in numbers]

    def _message(self, number: int) -> ProcessMessage:
        process, connection = self._children[number]
        try:
            message = connection.recv()
        except (EOFError, OSError):  # the process died
            process.join()
            code = process.exitcode or 0
            how = f"killed by signal {-code}" if code < 0 else f"its process ended with {code}"
            message = ProcessMessage(exit_code=code, error=how)
        if message.exit_code is not None:
            self._end(number)
            self.peak = max(self.peak, message.peak)
        return message

    def stop(self, signal_number: int) -> None:
        """Pass a signal on to all child processes: a second one stops them at once."""
        for _, connection in self._children.values():
            with contextlib.suppress(OSError):
                connection.send(signal_number)

    def close(self) -> None:
        """Close all connections, and wait until all child processes have ended."""
        for _, connection in self._children.values():
            connection.close()
        for number in list(self._children):
            self._end(number)

    def _end(self, number: int) -> None:
        process, connection = self._children.pop(number)
        connection.close()
        process.join(LAST_SECONDS)
        process.kill()
        process.join()
        process.close()


@contextmanager
def _isolated() -> Iterator[None]:
    """Start child processes in a block without terminal signals and the working folder."""
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"  # Python imports nothing from the working folder
    try:
        with contextlib.ExitStack() as stack:
            if sys.platform != "win32":
                resource_tracker.ensure_running()  # its start unblocks signals
                mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
                stack.callback(signal.pthread_sigmask, signal.SIG_SETMASK, mask)
            yield
    finally:
        del os.environ[SAFE_PATH]
        if before is not None:
            os.environ[SAFE_PATH] = before


def preload_fork_server(experiments: Iterable[str]) -> None:
    """Make the fork server import the slow packages that runs of these experiments need.

    It has no effect once the server was started.
    """
    if resources.address_space_limit():  # a run says so; in the server torch would abort
        return
    packages = {"dlrun.data", "dlrun.plots"}
    for name in experiments:
        of_networks = issubclass(registry.load_config_class(name), NetworkConfig)
        packages |= {"dlrun.networks", "dlrun.training"} if of_networks else {"dlrun.lasso"}
        packages.add(registry.experiment_entry(name).point.module)
    modules = [__name__, "filelock", "matplotlib.backends.backend_agg"]
    for name in sorted(packages):
        path = getattr(import_module(name), "__path__", [])
        modules += [name, *(one.name for one in pkgutil.walk_packages(path, f"{name}."))]
    CONTEXT.set_forkserver_preload(modules)


def run_point_in_child_process(
    connection: "Connection[ProcessMessage, int]", log: Path, task: RunTask
) -> None:
    """Execute one run in this child process, send messages about it to the sweep, and exit."""
    if sys.platform == "win32":
        ctypes.windll.kernel32.SetConsoleCtrlHandler(None, True)
    else:  # the terminal's signals are for the sweep, which passes them on
        os.setsid()
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with log.open("ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    gc.set_threshold(50_000)  # as in the command's process
    for number in SIGNALS:
        signal.signal(number, raise_stop_signal)
    end = _run(connection, task)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    _send(connection, end)
    sys.stderr.flush()
    os._exit(0)  # to take torch's modules down takes 0.7 s


def _run(connection: "Connection[ProcessMessage, int]", task: RunTask) -> ProcessMessage:
    code, error = 0, ""
    try:
        threading.Thread(target=_listen, args=(connection,), daemon=True).start()
        if task.accelerator:
            _send(connection, ProcessMessage(device=select_accelerator(task.accelerator)[0]))
        settings = replace(task.settings, screen=_PointScreen(connection))
        if task.run is not None:
            code = resume_run(str(task.run), settings)
        else:
            code, _ = run_experiment(task.experiment, settings)
    except Stopped as stop:
        code, error = stop.exit_code, stop.word
    except DlrunError as failure:
        code, error = failure.exit_code, failure.message
    except BaseException as failure:
        code, error = 1, f"{type(failure).__name__}: {first_line(failure)}"
    return ProcessMessage(exit_code=code, error=error, peak=resources.peak_memory() or 0)


def _listen(connection: "Connection[ProcessMessage, int]") -> None:
    """Raise each signal that the sweep sends, and SIGTERM when the connection closes."""
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


def _send(connection: "Connection[ProcessMessage, int]", message: ProcessMessage) -> None:
    with contextlib.suppress(OSError):  # the sweep has ended
        connection.send(message)


class _PointScreen(Screen):
    """A screen that sends warnings and progress to the sweep, and logs notes only."""

    def __init__(self, connection: "Connection[ProcessMessage, int]") -> None:
        super().__init__(quiet=True, results=False)
        self._connection = connection
        self._sent = 0.0

    def warn(self, text: str) -> None:
        """Send a warning to the sweep."""
        _send(self._connection, ProcessMessage(warning=self.log(text, warning=True)))

    @contextmanager
    def bar(self, what: str, total: float | None) -> Iterator[MoveBar]:
        """Send the share of the work that is done, first of preparing data, then of steps."""

        def move(done: float, detail: str) -> None:
            if total and time.monotonic() - self._sent > PROGRESS_SECONDS:
                self._sent = time.monotonic()
                _send(self._connection, ProcessMessage(share=done / total))

        yield move
