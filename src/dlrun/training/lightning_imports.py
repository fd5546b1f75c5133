"""Lightning and torchmetrics, without a package that they import for nothing.

torchmetrics imports scipy.signal (0.5 s, 54 MB) only to give it back a name that another package
misses, which needs it no more once it is imported itself.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

_UNNEEDED = "scipy.signal"


@contextmanager
def _standing_in() -> Iterator[None]:
    """In the block an empty module has the name, unless the real one was imported before."""
    if _UNNEEDED in sys.modules:
        yield
        return
    module = sys.modules[_UNNEEDED] = ModuleType(_UNNEEDED)
    module.hamming = None  # type: ignore[attr-defined]  # what torchmetrics looks for
    try:
        yield
    finally:
        del sys.modules[_UNNEEDED]


with _standing_in():
    import lightning.pytorch as pl
    import torchmetrics
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning.fabric.utilities.exceptions import MisconfigurationException

__all__ = [
    "LightningEnvironment",
    "MisconfigurationException",
    "SLURMEnvironment",
    "pl",
    "torchmetrics",
]
