"""Measure free memory and usable CPU cores, and choose the number of threads of a run."""

import math
import os
from pathlib import Path
from typing import Literal

# New objects after which Python looks for garbage in a process of dlrun. With Python's own 700 that
# takes a fifth of the CPU time of the imports.
GARBAGE_THRESHOLD = 50_000
CGROUP = Path("/sys/fs/cgroup")


def available_memory() -> int:
    """Count the bytes of free memory in the machine or container."""
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
    """Read a file of this process's cgroup (Linux, version 2); elsewhere there are no words."""
    try:
        group = Path("/proc/self/cgroup").read_text(encoding="utf-8").rpartition("::")[2].strip()
        folder = CGROUP / group.lstrip("/")
        if not (folder / name).exists():  # in a container its group is the root
            folder = CGROUP
        return (folder / name).read_text(encoding="utf-8").split()
    except OSError:
        return []


def usable_cores() -> int:
    """A container may use fewer cores than the machine has."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # macOS and Windows lack it
        cores = len(os.sched_getaffinity(0))
    quota = _cgroup_words("cpu.max")  # so many microseconds of each so many, or `max`
    if quota and quota[0] != "max":
        cores = min(cores, math.ceil(int(quota[0]) / int(quota[1])))
    return cores


def choose_thread_count(configured: int | Literal["auto"], most: int | None) -> int:
    """`auto` means as many CPU threads as cores, but at most `most`."""
    if configured != "auto":
        return configured
    limit = os.environ.get("OMP_NUM_THREADS", "")  # batch systems and users set it
    cores = usable_cores()
    if limit.isdecimal() and len(limit) < 10:
        cores = min(cores, int(limit))
    return max(1, min(cores, most or cores))
