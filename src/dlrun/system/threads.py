"""Threads of the CPU: how many a run computes with."""

import os
from typing import Literal


def usable_cores() -> int:
    """Processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def resolve_threads(asked: int | Literal["auto"], most: int | None, processes: int) -> int:
    """The number of threads.

    Args:
        asked: the config's.
        most: beyond which more do not help, as it was measured; None where every core does.
        processes: that share the cores.
    """
    if asked != "auto":
        return asked
    limit = os.environ.get("OMP_NUM_THREADS", "")  # as batch systems and users set it
    cores = usable_cores()
    if limit.isdecimal() and len(limit) < 10:
        cores = min(cores, int(limit))
    return max(1, min(cores // processes, most or cores))
