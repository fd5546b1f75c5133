"""Who wants to know that code is compiled; apart from `compiled`, for this needs no numba."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_listeners: list[Callable[[bool], None]] = []


@contextmanager
def on_compile(say: Callable[[bool], None]) -> Iterator[None]:
    """Call `say` before the first function that is really compiled in the block, if there is one.

    It is given whether the next process will find the machine code.
    """
    _listeners.append(say)
    try:
        yield
    finally:
        if say in _listeners:
            _listeners.remove(say)


def tell(kept: bool) -> None:
    """Something is about to be compiled: whoever wants to know is told once."""
    while _listeners:
        _listeners.pop()(kept)
