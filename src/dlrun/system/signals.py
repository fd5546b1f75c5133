"""Handle stop signals such as SIGINT: the first stops a run in order, the second stops at once.

A run stops in order where it next calls `raise_if_received`: after a batch of a network, whose
epoch a resume trains again, or after any other step, such as a lasso penalty.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

from dlrun.errors import InterruptedByUser, OutOfTime, Stopped, Terminated

SIGNALS: dict[int, type[Stopped]] = {signal.SIGINT: InterruptedByUser, signal.SIGTERM: Terminated}
if sys.platform != "win32":
    SIGNALS |= {signal.SIGHUP: Terminated, signal.SIGUSR2: OutOfTime}
STOP_SIGNAL_EXIT_CODES = {stopped.exit_code for stopped in SIGNALS.values()}
_raised_signals: list[int] = []  # raise_stop_signal adds to it


def handled_stop_signals() -> list[int]:
    """A signal that this process ignores is not handled: nohup makes a process ignore SIGHUP."""
    return [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]


def raise_stop_signal(number: int, frame: FrameType | None) -> NoReturn:
    """Handle a stop signal by raising its exception; a second signal ends the process."""
    for handled in handled_stop_signals():
        signal.signal(handled, _end_at_once)
    _ignore_repetitions(number)
    _raised_signals.append(number)
    raise SIGNALS[number]


def stop_signal_of_error(error: BaseException) -> type[Stopped] | None:
    """Find the stop signal that caused an error.

    An import that a signal interrupts may raise anything instead of the signal's exception.
    """
    if isinstance(error, Stopped):
        return type(error)
    return SIGNALS[_raised_signals[-1]] if _raised_signals else None


def ignore_signals_until_exit() -> None:
    """Ignore stop signals from now on, as only the end of the process remains.

    Not by SIG_IGN: Python warns of a signal that comes while it is set.
    """
    numbers = handled_stop_signals()
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    for number in numbers:
        signal.signal(number, lambda *_: None)


def _end_at_once(number: int, frame: FrameType | None) -> NoReturn:
    try:
        # A progress bar hides the cursor.
        cursor = "\x1b[?25h" if sys.platform != "win32" and sys.stderr.isatty() else ""
        print(f"{cursor}error: {SIGNALS[number].word}", file=sys.stderr)
    finally:  # stderr may be closed, or the first signal came while it was written
        os._exit(SIGNALS[number].exit_code)


def _ignore_repetitions(number: int) -> None:
    """Ignore a further SIGHUP, of shell and system, or SIGUSR2, of SLURM."""
    if sys.platform != "win32" and number in (signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, lambda *_: None)


class StopRequest:
    """Represents a request to stop a run: a signal from the user or the batch system."""

    def __init__(self) -> None:
        self.received = 0  # the number of the signal that waits
        self._handled: list[int] = []
        self._announce: Callable[[], None] | None = None  # while a first signal has to wait
        self._raised = 0  # the number of the signal whose exception was raised
        self._ending = False

    @contextlib.contextmanager
    def handle_signals(self) -> Iterator[None]:
        """Handle the stop signals during a `with` block, and restore their handlers afterwards.

        A block that ends with an error after a signal raises the signal's exception; then the next
        signal ends the process. In another thread than the main one nothing is changed.
        """
        if threading.current_thread() is threading.main_thread():
            self._handled = handled_stop_signals()
        previous = {number: signal.getsignal(number) for number in self._handled}
        self.install_handlers()
        try:
            yield
        except Exception as error:
            if self._raised:
                raise SIGNALS[self._raised] from error
            raise
        finally:
            for number, handler in previous.items():
                ends = self._raised != 0 and handler is raise_stop_signal
                signal.signal(number, _end_at_once if ends else handler)

    def cause_of(self, error: BaseException) -> BaseException:
        """An error that a signal caused becomes the exception of the signal."""
        return SIGNALS[self._raised]() if self._raised and isinstance(error, Exception) else error

    def install_handlers(self) -> None:
        """Install the signal handlers again after a library, such as Lightning, replaced them."""
        for number in self._handled:
            signal.signal(number, self._handle_signal)

    @contextlib.contextmanager
    def delay_first_signal(self, announce: Callable[[], None]) -> Iterator[None]:
        """Let a first stop signal in a block wait for `raise_if_received`, and call `announce`."""
        self._announce = announce
        try:
            yield
        finally:
            self._announce = None

    def raise_if_received(self) -> None:
        """Raise the exception of a stop signal that waits."""
        if self.received:
            self._raise_stop(self.received)

    def _raise_stop(self, number: int) -> NoReturn:
        self._raised = number
        raise SIGNALS[number]

    def ignore_signals(self) -> None:
        """Ignore signals from now on, while the run ends and its record is written."""
        self._ending = True

    def _handle_signal(self, number: int, frame: FrameType | None) -> None:
        _ignore_repetitions(number)
        if self._ending:
            return
        if self._announce is None or self.received:
            self._raise_stop(number)
        self.received = number
        # A thread writes, because the signal may have interrupted a write to the same stream.
        threading.Thread(target=self._announce, daemon=True).start()


class NoStopRequest(StopRequest):
    """Ignores the stop signals in a process that another one ends."""

    def install_handlers(self) -> None:
        """Ignore the signals, also after a library, such as Lightning, has handled them."""
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)
