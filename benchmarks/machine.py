"""The machine: what it is, which packages it runs, and how fast it multiplies and copies.

`python benchmarks/machine.py` measures a large matrix product and a large copy.
"""

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from measure import output

PACKAGES = "dlrun ISLP torch torchvision lightning pytorch-lightning torchmetrics numpy scipy"
PACKAGES += " scikit-learn numba pandas pillow"
VERSIONS = """
import json, platform
from importlib import metadata
found = {"python": platform.python_version()}
for name in %r.split():
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def describe() -> dict[str, Any]:
    """The machine, and how busy it was before the benchmark."""
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "load_before": os.getloadavg()[0],
    }


def versions(python: str) -> dict[str, str]:
    """The packages of a Python's environment that matter here."""
    return output([python, "-c", VERSIONS % PACKAGES])


def git_commit() -> str | None:
    """The commit; `+` where the checkout differs from it."""
    try:
        words = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
        folder = Path(__file__).parent
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def speed() -> dict[str, float]:
    """GFLOP/s of a product of two 3,072 x 3,072 matrices; GB/s, read and written, of a copy of
    512 MB. The best of five.
    """
    import torch

    def best(step) -> float:
        times = []
        for _ in range(6):
            started = time.perf_counter()
            step()
            times.append(time.perf_counter() - started)
        return min(times[1:])

    size, numbers = 3072, 1 << 27
    a = torch.rand(size, size)
    source, target = torch.rand(numbers), torch.empty(numbers)
    return {
        "gflops": 2e-9 * size**3 / best(lambda: a @ a),
        "copy_gb_per_s": 8e-9 * numbers / best(lambda: target.copy_(source)),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(speed()) + "\n")
