"""Ctrl-C and SIGTERM: the first lets the step end, the second stops at once."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from dlrun.errors import Terminated


class Stop:
    """Whether the user or the batch system asked the run to stop."""

    def __init__(self) -> None:
        self._asked: int | None = None
        self._in_steps = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals while the block runs."""
        previous = {
            number: signal.signal(number, self._handle)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
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
