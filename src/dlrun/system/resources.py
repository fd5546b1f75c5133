"""Measure memory and CPU cores, choose the threads of a run, and configure torch for training."""

import contextlib
import ctypes
import logging
import math
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

# New objects after which Python looks for garbage in a process of dlrun. With Python's own 700 that
# takes a fifth of the CPU time of the imports.
GARBAGE_THRESHOLD = 50_000
CGROUP = Path("/sys/fs/cgroup")
# glibc's mallopt(3) parameters, and the value at which its own dynamic adjustment ends.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MMAP_MAX = 32 << 20  # bytes
LIGHTNING_LOGGERS = (
    "lightning", "lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero",
)  # fmt: skip


def available_memory() -> int:
    """Return the bytes of free memory in the machine or container."""
    import psutil  # slow

    free = int(psutil.virtual_memory().available)
    limit = _cgroup_words("memory.max")
    if limit in ([], ["max"]):
        return free
    used = int(_cgroup_words("memory.current")[0])
    # Cached files stay in memory only as long as nothing else needs it.
    statistics = _cgroup_words("memory.stat")
    cached = int(dict(zip(statistics[::2], statistics[1::2], strict=True))["inactive_file"])
    return min(free, max(0, int(limit[0]) - used + cached))


def _cgroup_words(name: str) -> list[str]:
    """Return the words in a file of this process's cgroup (Linux, version 2); without one none."""
    try:
        group = Path("/proc/self/cgroup").read_text(encoding="utf-8").rpartition("::")[2].strip()
        folder = CGROUP / group.lstrip("/")
        if not (folder / name).exists():  # in a container its group is the root
            folder = CGROUP
        return (folder / name).read_text(encoding="utf-8").split()
    except OSError:
        return []


@contextlib.contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Make glibc reuse freed memory during a `with` block instead of returning it to the system.

    An update frees and allocates the same large tensors again, and the system would clear their
    pages each time. Afterwards the thresholds are the largest that glibc sets by itself.
    """
    glibc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if glibc is None or not hasattr(glibc, "mallopt"):  # musl has none
        yield
        return
    glibc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    glibc.mallopt(M_MMAP_THRESHOLD, MMAP_MAX)
    try:
        yield
    finally:
        glibc.mallopt(M_TRIM_THRESHOLD, 2 * MMAP_MAX)
        glibc.malloc_trim(0)


@contextlib.contextmanager
def temporary_training_settings(threads: int) -> Iterator[None]:
    """Configure torch and Lightning for training in a `with` block, and restore all afterwards."""
    import numpy as np
    import torch

    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng([]))
        stack.enter_context(torch.set_grad_enabled(torch.is_grad_enabled()))  # restores it
        stack.enter_context(keep_freed_memory())
        stack.callback(random.setstate, random.getstate())
        stack.callback(np.random.set_state, np.random.get_state())
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        is_deterministic = torch.are_deterministic_algorithms_enabled()
        warns = torch.is_deterministic_algorithms_warn_only_enabled()
        stack.callback(torch.use_deterministic_algorithms, is_deterministic, warn_only=warns)
        for flags, name in (
            (torch.backends.cudnn, "deterministic"),
            (torch.backends.cudnn, "benchmark"),
            (torch.utils.deterministic, "fill_uninitialized_memory"),
        ):
            stack.callback(setattr, flags, name, getattr(flags, name))
        stack.callback(os.environ.update, dict(os.environ))
        stack.callback(os.environ.clear)  # before the update
        for logger in map(logging.getLogger, LIGHTNING_LOGGERS):
            stack.callback(setattr, logger, "handlers", logger.handlers)
            stack.callback(setattr, logger, "propagate", logger.propagate)
            stack.callback(logger.setLevel, logger.level)
            # Warnings go to the run's log, tips nowhere.
            logger.handlers = []
            logger.propagate = True
            logger.setLevel(logging.WARNING)
        # Deterministic mode also fills every new tensor with NaN, to find code that reads it unset.
        # That takes a tenth of the LSTM's time, and the same numbers do not depend on it.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.set_num_threads(threads)
        yield


def usable_cores() -> int:
    """Return the number of processor cores that this process, or its container, may use."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        cores = len(os.sched_getaffinity(0))
    quota = _cgroup_words("cpu.max")  # microseconds, of each so many; or `max`
    if quota and quota[0] != "max":
        cores = min(cores, math.ceil(int(quota[0]) / int(quota[1])))
    return cores


def choose_thread_count(configured: int | Literal["auto"], most: int | None) -> int:
    """Return the number of CPU threads of a run: as configured, or the cores, at most `most`."""
    if configured != "auto":
        return configured
    limit = os.environ.get("OMP_NUM_THREADS", "")  # as batch systems and users set it
    cores = usable_cores()
    if limit.isdecimal() and len(limit) < 10:
        cores = min(cores, int(limit))
    return max(1, min(cores, most or cores))
