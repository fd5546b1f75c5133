"""Choose the number of CPU threads of a run."""

import os
from typing import Literal


def usable_cores() -> int:
    """Return the number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def resolve_threads(asked: int | Literal["auto"], most: int | None, processes: int) -> int:
    """Return the number of threads of a run.

    Args:
        asked: the config's value.
        most: the measured number beyond which more threads do not help; None if there is none.
        processes: how many share the cores.
    """
    if asked != "auto":
        return asked
    limit = os.environ.get("OMP_NUM_THREADS", "")  # as batch systems and users set it
    cores = usable_cores()
    if limit.isdecimal() and len(limit) < 10:
        cores = min(cores, int(limit))
    return max(1, min(cores // processes, most or cores))
