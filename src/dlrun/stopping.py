"""Ctrl-C and SIGTERM: the first lets the step end, the second stops at once."""

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from dlrun.errors import Terminated

GRACE_SECONDS = 30.0  # far longer than any step


class Stop:
    """Whether the user or the batch system asked the run to stop."""

    def __init__(self) -> None:
        self._asked: int | None = None
        self._in_steps = False
        self._ended = threading.Event()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals while the block runs."""
        arrivals, wakeup = socket.socketpair()
        wakeup.setblocking(False)
        threading.Thread(target=self._watch, args=(arrivals,), daemon=True).start()
        previous_wakeup = signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
        previous = {
            number: signal.signal(number, self._handle)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            self._ended.set()
            signal.set_wakeup_fd(previous_wakeup)
            wakeup.close()
            for number, handler in previous.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def in_steps(self) -> Iterator[None]:
        """In this block, which calls `after_step`, a first signal waits for the step to end."""
        self._in_steps = True
        try:
            yield
        finally:
            self._in_steps = False

    def after_step(self) -> None:
        """Raises KeyboardInterrupt or Terminated where a signal came during the step."""
        if self._asked is not None:
            self._raise(self._asked)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._in_steps and self._asked is None:
            self._asked = number
        else:
            self._raise(number)

    def _raise(self, number: int) -> None:
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    def _watch(self, arrivals: socket.socket) -> None:
        """A handler runs only once the library that Python has called returns: one that waits for
        another machine may not. Then this thread ends the process.
        """
        with arrivals:
            number = int.from_bytes(arrivals.recv(1))
            while number not in (0, signal.SIGINT, signal.SIGTERM):  # another signal's; 0: the end
                number = int.from_bytes(arrivals.recv(1))
        if number and not self._ended.wait(GRACE_SECONDS):
            print("error: still busy long after the signal: ended by force", file=sys.stderr)
            os._exit(128 + number)
