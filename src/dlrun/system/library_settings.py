"""Configure torch, Lightning and glibc for a training, and restore them afterwards."""

import contextlib
import ctypes
import logging
import os
import random
import sys
from collections.abc import Iterator
from contextvars import ContextVar

# glibc's mallopt(3) parameters, and the value at which its own dynamic adjustment ends.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_MMAP_THRESHOLD = 32 << 20  # bytes
LIGHTNING_LOGGERS = (
    "lightning", "lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero",
)  # fmt: skip
# None: outside of `temporary_library_settings`. Each thread of Python has a value of its own.
_kernel_threads: ContextVar[int | None] = ContextVar("_kernel_threads", default=None)


def kernel_threads() -> int:
    """Return how many CPU threads a kernel of dlrun uses: outside of a run as many as torch."""
    import torch

    return _kernel_threads.get() or torch.get_num_threads()


@contextlib.contextmanager
def _keep_freed_memory() -> Iterator[None]:
    """Make glibc reuse freed memory during a `with` block instead of returning it to the system.

    An update frees and allocates the same large tensors again, and the system would clear their
    pages each time. Afterwards the thresholds are the largest that glibc sets by itself.
    """
    glibc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if glibc is None or not hasattr(glibc, "mallopt"):  # musl has none
        yield
        return
    glibc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    glibc.mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
    try:
        yield
    finally:
        glibc.mallopt(M_TRIM_THRESHOLD, 2 * LARGEST_MMAP_THRESHOLD)
        glibc.malloc_trim(0)


@contextlib.contextmanager
def temporary_library_settings(threads: int, torch_threads: int | None = None) -> Iterator[None]:
    """Configure libraries in a `with` block; afterwards restore all but malloc's thresholds.

    threads: how many CPU threads the kernels of dlrun use.
    torch_threads: how many torch's own operations use; None: as many.
    """
    import numpy as np
    import torch

    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng([]))  # only the CPU's generator
        stack.enter_context(torch.set_grad_enabled(torch.is_grad_enabled()))  # restores it
        stack.enter_context(_keep_freed_memory())
        stack.callback(random.setstate, random.getstate())
        stack.callback(np.random.set_state, np.random.get_state())
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        stack.callback(_kernel_threads.reset, _kernel_threads.set(threads))
        # Only restored: Lightning's Trainer changes determinism, cudnn and the environment.
        is_deterministic = torch.are_deterministic_algorithms_enabled()
        warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
        stack.callback(torch.use_deterministic_algorithms, is_deterministic, warn_only=warn_only)
        for module, name in (
            (torch.backends.cudnn, "deterministic"),
            (torch.backends.cudnn, "benchmark"),
            (torch.utils.deterministic, "fill_uninitialized_memory"),
        ):
            stack.callback(setattr, module, name, getattr(module, name))
        stack.callback(os.environ.update, dict(os.environ))
        stack.callback(os.environ.clear)  # callbacks run last to first: this before the update
        for logger in map(logging.getLogger, LIGHTNING_LOGGERS):
            stack.callback(setattr, logger, "handlers", logger.handlers)
            stack.callback(setattr, logger, "propagate", logger.propagate)
            stack.callback(logger.setLevel, logger.level)
            # Warnings go to the run's log, tips nowhere.
            logger.handlers = []
            logger.propagate = True
            logger.setLevel(logging.WARNING)
        # Deterministic mode also fills every new tensor with NaN, to find code that reads it unset.
        # That takes a tenth of the LSTM's time; results stay reproducible without it.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.set_num_threads(torch_threads or threads)
        yield
