"""Ctrl-C, SIGTERM, SIGHUP, SIGUSR2: the first lets the step end, the second stops at once."""

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

from dlrun.errors import HungUp, Interrupted, OutOfTime, Stopped, Terminated

GRACE_SECONDS = 30.0  # far longer than any step
SIGNALS: dict[int, type[Stopped]] = {signal.SIGINT: Interrupted, signal.SIGTERM: Terminated}
if sys.platform != "win32":
    SIGNALS |= {signal.SIGHUP: HungUp, signal.SIGUSR2: OutOfTime}
EXIT_CODES = {stopped.exit_code for stopped in SIGNALS.values()}
came: list[
    int
] = []  # what `stopped_by` raised for: where it meets an import, it may become another


def handled_signals() -> list[int]:
    """The signals that this process does not ignore: after `nohup` it ignores SIGHUP."""
    return [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]


def stopped_by(number: int, frame: FrameType | None) -> NoReturn:
    """A handler that ends what is being done. Raises Interrupted, Terminated or OutOfTime.

    A second signal, which may come anywhere in the handling of the first, ends the process.
    """
    for each in handled_signals():
        signal.signal(each, _end_at_once)
    _once(number)
    came.append(number)
    raise SIGNALS[number]


def _end_at_once(number: int, frame: FrameType | None) -> NoReturn:
    stopped = SIGNALS[number]
    try:
        print(f"error: {stopped.word}", file=sys.stderr)
    finally:  # also if the first signal came while stderr was written
        os._exit(stopped.exit_code)


def _once(number: int) -> None:
    """Of a terminal that is closed the shell tells, and then the system: no second wish to stop."""
    if sys.platform != "win32" and number == signal.SIGHUP:
        signal.signal(number, signal.SIG_IGN)


class Stop:
    """Whether the user or the batch system asked the run to stop: `asked` is the signal, or 0."""

    def __init__(self) -> None:
        self.asked = 0
        self._heeded: list[int] = []
        self._raised = False
        self._in_steps = self._ending = False
        self._announce: Callable[[], None] | None = None  # until it has been called
        self._once = threading.Lock()
        self._ended = threading.Event()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals while the block runs; all is given back afterwards.

        Those that the process ignores it goes on to ignore. Where one has ended the block, the next
        ends the command at once: it is on its way out. Python hands signals to its main
        thread alone: in any other nothing is changed.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        arrivals, wakeup = socket.socketpair()
        wakeup.setblocking(False)
        watcher = threading.Thread(target=self._watch, args=(arrivals,), daemon=True)
        watcher.start()
        previous_wakeup = signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
        self._heeded = handled_signals()
        previous = {number: signal.getsignal(number) for number in self._heeded}
        self.take_over()
        try:
            yield
        finally:
            self._ended.set()
            signal.set_wakeup_fd(previous_wakeup)
            for number, handler in previous.items():
                ends = self._raised and handler is stopped_by
                signal.signal(number, _end_at_once if ends else handler)
            wakeup.close()
            watcher.join()

    def take_over(self) -> None:
        """Handle the signals, whoever took them since; Lightning does when it starts to train."""
        if threading.current_thread() is threading.main_thread():
            for number in self._heeded:
                signal.signal(number, self._handle)

    @contextlib.contextmanager
    def in_steps(self, announce: Callable[[], None]) -> Iterator[None]:
        """In this block, which calls `after_step`, a first signal waits for the step to end.

        `announce` says so to the user, once.
        """
        self._in_steps, self._announce = True, announce
        try:
            yield
        finally:
            self._in_steps, self._announce = False, None

    def after_step(self) -> None:
        """Raises Interrupted, Terminated or OutOfTime where a signal came during the step."""
        self.end_with(self.asked)

    def end_with(self, number: int) -> None:
        """Raises what a signal stands for; 0 is none."""
        if number:
            if self.asked:  # at the very end of the step, before the watcher could
                self._say()
            self._raised = True
            raise SIGNALS[number]

    def let_end(self) -> None:
        """From now on a signal interrupts nothing: the run ends, and its record is written."""
        self._ending = True

    def _say(self) -> None:
        """Announce it, in whichever thread comes first."""
        with self._once:
            announce, self._announce = self._announce, None
        if announce is not None:
            announce()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        _once(number)
        if self._ending:
            return
        if not self._in_steps or self.asked:
            self._raised = True
            raise SIGNALS[number]
        self.asked = number

    def _watch(self, arrivals: socket.socket) -> None:
        """Say that the run will stop; end a process that a library keeps from stopping.

        A handler runs only once the library that Python has called returns: one that waits for
        another machine may not.
        """
        with arrivals:
            first = True
            while data := arrivals.recv(1):
                if data[0] not in SIGNALS or not first:
                    continue
                first = False
                self._say()
                threading.Thread(target=self._end_by_force, args=(data[0],), daemon=True).start()

    def _end_by_force(self, number: int) -> None:
        if not self._ended.wait(GRACE_SECONDS):
            try:
                print("error: still busy long after the signal: ended by force", file=sys.stderr)
            finally:  # the terminal may be gone
                os._exit(128 + number)
