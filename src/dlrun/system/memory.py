"""Measure the memory of the machine and of processes, and keep freed memory for reuse."""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from pathlib import Path

ENOUGH = 4 * 10**9  # bytes of address space: torch maps more than it uses
MEMINFO, CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


def available_memory() -> int | None:
    """Return the bytes that the machine or container has left; None if the system does not tell."""
    found = [one for one in (_of_machine(), _of_container()) if one is not None]
    return min(found) if found else None


def _of_machine() -> int | None:
    with contextlib.suppress(OSError):  # Linux
        for line in MEMINFO.read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if sys.platform != "win32":  # all memory; macOS does not tell how much is free
        with contextlib.suppress(OSError, ValueError):
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _of_container() -> int | None:
    """Return the bytes left of the limit of this process's control group (cgroup v2)."""
    try:
        own = Path("/proc/self/cgroup").read_text(encoding="utf-8").rpartition("::")[2].strip()
        folder = CGROUP / own.lstrip("/")
        if not (folder / "memory.max").exists():  # in a container its group is the root
            folder = CGROUP
        limit = (folder / "memory.max").read_text(encoding="utf-8").strip()
        used = int((folder / "memory.current").read_text(encoding="utf-8"))
        # Cached files stay in memory only as long as nothing else needs it.
        stat = (folder / "memory.stat").read_text(encoding="utf-8").split()
        used -= int(dict(zip(stat[::2], stat[1::2], strict=True)).get("inactive_file", 0))
        return None if limit == "max" else max(0, int(limit) - used)
    except (OSError, ValueError):
        return None


def held(process: int) -> int:
    """Return the private bytes in memory of a process; 0 if the system does not tell."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):  # Linux; elsewhere there is no such file
            fields = Path(f"/proc/{process}/statm").read_text(encoding="utf-8").split()
            return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")
    return 0


def limit() -> int | None:
    """Return the bytes of address space that `ulimit -v` allows; None if it is enough for torch."""
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return soft if soft != resource.RLIM_INFINITY and soft < ENOUGH else None


def peak_memory() -> int | None:
    """Return the most bytes that this process held at once; None if the system does not tell."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


# glibc's mallopt(3) parameters, and the value at which its own dynamic adjustment ends.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
MMAP_MAX = 32 << 20  # bytes; of the other twice as many


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Have glibc reuse freed memory in this block instead of returning it to the system.

    A training step frees and allocates the same large tensors again, and the system would clear
    their pages each time. Blocks of more than MMAP_MAX are still returned. Afterwards unused memory
    is returned, and the thresholds are the largest that glibc sets by itself: mallopt ends its
    dynamic adjustment, and with the initial ones (128 KiB) every later array would be new pages.
    Without glibc nothing happens.
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
