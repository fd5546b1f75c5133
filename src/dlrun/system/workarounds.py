"""Work around faults of single versions of libraries; each function names the versions."""

import importlib
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

SIGNAL = "scipy.signal"

# Messages of matplotlib, such as where its cache folder is, go into a run's log.txt alone.
logging.getLogger("matplotlib").addHandler(logging.NullHandler())


class _LateSignal(ModuleType):
    """Stands for scipy.signal, which is imported when a name of it is used for the first time."""

    hamming = None  # the one name that torchmetrics asks for
    __file__ = None  # `inspect` asks every module for its file

    def __getattr__(self, name: str) -> object:
        if sys.modules.get(SIGNAL) is self:
            del sys.modules[SIGNAL]
        return getattr(importlib.import_module(SIGNAL), name)


@contextmanager
def scipy_signal_on_use() -> Iterator[None]:
    """Delay the slow import of scipy.signal in a `with` block until something in it is used.

    torchmetrics 1.7 to 1.9, which Lightning imports, imports it for all metrics of sounds and adds
    a name to it. That is .7 s of the 5.4 s of CPU time that a short imdb-dense takes.
    """
    if SIGNAL in sys.modules:
        yield
        return
    late = sys.modules[SIGNAL] = _LateSignal(SIGNAL)
    try:
        yield
    finally:
        if sys.modules.get(SIGNAL) is late:
            del sys.modules[SIGNAL]
