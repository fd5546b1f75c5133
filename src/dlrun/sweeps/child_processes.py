"""Execute the runs of a sweep in child processes, and exchange messages with them.

Each process executes one run, as `dlrun resume FOLDER` does. On Linux the processes are forked from
a server that has imported the packages that the runs need; elsewhere they are spawned. A process
whose connection closes exits, even if the sweep was killed; its run continues later from the last
finished step.
"""

import contextlib
import ctypes
import gc
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType
from typing import TypeAlias

from dlrun.config.network_sections import LightningConfig
from dlrun.errors import DlrunError, Terminated, name_and_first_line
from dlrun.experiments.experiment import AnyExperiment
from dlrun.experiments.resuming import resume_run
from dlrun.runs.options import RunOptions
from dlrun.system import resources
from dlrun.system.console import MoveBar, Screen
from dlrun.system.files import check_regular_file
from dlrun.system.signals import (
    SIGNALS,
    ignore_signals_until_exit,
    raise_stop_signal,
    stop_signal_of_error,
)

LOG = "workers.txt"  # what libraries print in the processes
SAFE_PATH = "PYTHONSAFEPATH"
LAST_SECONDS = 5.0  # time to exit; then a process is killed
PROGRESS_SECONDS = 0.1  # time between two messages about the progress of a run

# macOS has a fork server too, but its libraries may crash in a forked process.
if sys.platform == "linux":
    CONTEXT = multiprocessing.get_context("forkserver")
else:
    CONTEXT = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class ProcessMessage:
    """Holds a message from a sweep's child process: progress, a warning, or how its run ended."""

    share: float | None = None  # share of the work that is done
    warning: str = ""
    exit_code: int | None = None  # once the run has ended; negative: of a signal
    error: str = ""
    hint: str = ""  # what to do about the error


SweepConnection: TypeAlias = "Connection[ProcessMessage, int]"  # it receives numbers of signals


class ChildProcess:
    """Executes one run of a sweep in a child process; its messages arrive at `connection`."""

    def __init__(self, log: Path, run_folder: Path, options: RunOptions) -> None:
        check_regular_file(log)
        self.connection, theirs = CONTEXT.Pipe()
        arguments = theirs, log, run_folder, options
        self._process = CONTEXT.Process(target=resume_in_child_process, args=arguments)
        _start_isolated(self._process)
        theirs.close()

    def receive(self) -> ProcessMessage:
        """If the process has died, the message says how."""
        try:
            message: ProcessMessage = self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode or 0
            how = f"killed by signal {-code}" if code < 0 else f"its process ended with {code}"
            return ProcessMessage(exit_code=code, error=how)
        return message

    def send_signal(self, number: int) -> None:
        """Pass a signal on to the process: the first lets its current epoch or penalty finish."""
        with contextlib.suppress(OSError):
            self.connection.send(number)

    def end(self) -> None:
        """Close the connection, and wait until the process has ended."""
        self.connection.close()
        self._process.join(LAST_SECONDS)
        self._process.kill()
        self._process.join()
        self._process.close()


def _start_isolated(process: BaseProcess) -> None:
    """Start a child process with blocked signals, without the working folder or user's script."""
    before = os.environ.get(SAFE_PATH)
    script = sys.modules["__main__"]
    os.environ[SAFE_PATH] = "1"  # Python imports nothing from the working folder
    sys.modules["__main__"] = ModuleType("__main__")  # nor the user's script, which would run again
    if sys.platform != "win32":
        resource_tracker.ensure_running()  # its start unblocks signals
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until there are handlers
    try:
        process.start()
    except (OSError, EOFError) as error:
        hint = f"its socket is in {tempfile.gettempdir()}; TMPDIR names another, shorter folder"
        problem = f"no process can be started for a run: {error}"
        raise DlrunError(problem, hint if isinstance(error, OSError) else "") from None
    finally:
        if sys.platform != "win32":
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        del os.environ[SAFE_PATH]
        sys.modules["__main__"] = script
        if before is not None:
            os.environ[SAFE_PATH] = before


def preload_fork_server(experiments: Iterable[AnyExperiment]) -> None:
    """Make Python's fork server import the slow packages that a sweep's runs need.

    Nothing happens if the server was started before.
    """
    modules = [
        "dlrun.system.workarounds",
        __name__,
        "filelock",
        "dlrun.plots",  # imports matplotlib as it should
        "matplotlib.backends.backend_agg",
    ]
    for experiment in experiments:
        modules.append(experiment.implementation.partition(":")[0])
        is_network = issubclass(experiment.config, LightningConfig)
        modules.append("dlrun.training.fit" if is_network else "dlrun.lasso.newton")
    CONTEXT.set_forkserver_preload(modules)


def resume_in_child_process(
    connection: SweepConnection, log: Path, run_folder: Path, options: RunOptions
) -> None:
    """Execute one run in this child process, send messages about it to the sweep, and exit."""
    if sys.platform == "win32":
        ctypes.windll.kernel32.SetConsoleCtrlHandler(None, True)
    else:  # the terminal's signals are for the sweep, which passes them on
        os.setsid()
    with log.open("ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    gc.set_threshold(resources.GARBAGE_THRESHOLD)  # as in the command's process
    for number in SIGNALS:
        signal.signal(number, raise_stop_signal)
    message = _execute(connection, run_folder, options)
    ignore_signals_until_exit()
    _send(connection, message)
    sys.stderr.flush()
    os._exit(0)  # a normal exit takes 0.7 s to unload torch


def _execute(connection: SweepConnection, run_folder: Path, options: RunOptions) -> ProcessMessage:
    """Execute a run, stopped by the signals that the sweep sends; return how the run ended."""
    try:
        if sys.platform != "win32":  # a signal that has come already stops the run here
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
        threading.Thread(target=_listen, args=(connection,), daemon=True).start()
        options = replace(options, screen=_ForwardingScreen(connection))
        code, _ = resume_run(str(run_folder), options)
        return ProcessMessage(exit_code=code)
    except BaseException as error:
        return _message_of_error(error)


def _message_of_error(error: BaseException) -> ProcessMessage:
    """The run has ended by the error, or by a signal that caused it."""
    if stop := stop_signal_of_error(error):
        return ProcessMessage(exit_code=stop.exit_code, error=stop.word)
    if isinstance(error, DlrunError):
        return ProcessMessage(exit_code=error.exit_code, error=error.message, hint=error.hint)
    return ProcessMessage(exit_code=1, error=name_and_first_line(error))


def _listen(connection: SweepConnection) -> None:
    """Raise each signal that the sweep sends; end the process when the connection closes."""
    while True:
        try:
            number = connection.recv()
        except (EOFError, OSError):
            os._exit(Terminated.exit_code)
        if sys.platform == "win32":  # there os.kill would end the process at once
            signal.raise_signal(number)
        else:
            os.kill(os.getpid(), number)


def _send(connection: SweepConnection, message: ProcessMessage) -> None:
    with contextlib.suppress(OSError):  # the sweep has ended
        connection.send(message)


class _ForwardingScreen(Screen):
    """Sends a run's warnings and progress to the sweep, and writes notes to the log only."""

    def __init__(self, connection: SweepConnection) -> None:
        super().__init__(quiet=True, shows_results=False)
        self._connection = connection
        self._sent_at = 0.0

    def warn(self, text: str) -> None:
        _send(self._connection, ProcessMessage(warning=self.log(text, warning=True)))

    @contextmanager
    def bar(self, what: str, total: float | None) -> Iterator[MoveBar]:
        """Send the share of the work that is done, first of preparing data, then of training."""

        def move(done: float, detail: str) -> None:
            if total and time.monotonic() - self._sent_at > PROGRESS_SECONDS:
                self._sent_at = time.monotonic()
                _send(self._connection, ProcessMessage(share=done / total))

        yield move
