"""The machine: what it is, and which packages it runs."""

import os
import platform
import subprocess
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

PEAK = """
import json, time, torch
def fastest(compute):
    seconds = []
    for _ in range(8):
        started = time.perf_counter()
        compute()
        seconds.append(time.perf_counter() - started)
    return min(seconds)
def rate(dtype, side=3000):
    one, other = (torch.randn(side, side).to(dtype) for _ in range(2))
    return 2e-9 * side**3 / fastest(lambda: one @ other)
source, target = torch.ones(2, 2**26)
copied = 2e-9 * source.numel() * 4 / fastest(lambda: target.copy_(source))  # read and written
print(json.dumps({"float32": rate(torch.float32), "bf16": rate(torch.bfloat16), "copy": copied}))
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


def peak(python: str) -> dict[str, float]:
    """GFLOP/s of a large matrix product on all cores, by precision, and GB/s of a large copy."""
    return output([python, "-c", PEAK])


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
