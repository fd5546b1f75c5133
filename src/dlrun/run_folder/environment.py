"""The environment of a run beside its config: code, packages, machine."""

import contextlib
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from dlrun.system.resources import usable_cores

# Packages of which another version may compute other numbers.
PACKAGES = (
    "torch", "torchvision", "lightning", "torchmetrics", "numpy", "scipy", "scikit-learn", "numba",
    "pillow",
)  # fmt: skip


def describe_environment(experiment_package: str) -> dict[str, Any]:
    """Return the contents of environment.json that do not depend on the run."""
    return {
        "dlrun": metadata.version("dlrun"),
        "code": code_version(experiment_package),
        "python": platform.python_version(),
        "packages": versions(),
        "git_commit": _git_commit(),
        "platform": platform.platform(),
        "processor": _processor(),
        "threads": usable_cores(),
        "command": sys.argv,
        "folder": str(Path.cwd()),
    }


def changes(
    code: str | None, packages: Mapping[str, str | None], experiment_package: str
) -> list[str]:
    """Return what differs here from the code and packages of a run: `torch 2.9 then, 2.10 now`."""
    here = code_version(experiment_package)
    changed = [f"code: {code} then, {here} now"] if code != here else []
    return changed + [
        f"{name} {packages.get(name)} then, {version} now"
        for name, version in versions().items()
        if packages.get(name) != version
    ]


def versions() -> dict[str, str | None]:
    """Return the versions of the packages that compute; None if one is not installed."""
    versions: dict[str, str | None] = dict.fromkeys(PACKAGES)
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def code_version(experiment_package: str) -> str:
    """Return the version of the code that computes: `0.3.0+1a2b3c4d5e6f`.

    The part after the plus is the commit of dlrun's git checkout. The version of another package
    that an experiment is from follows.
    """
    commit = _git_commit()
    version = metadata.version("dlrun") + (f"+{commit[:12]}" if commit else "")
    if experiment_package != "dlrun":
        for name in metadata.packages_distributions().get(experiment_package, ()):
            version += f", {name} {metadata.version(name)}"
    return version


def _git_commit() -> str | None:
    checkout = Path(__file__).parents[3]
    if not (checkout / ".git").exists():
        return None  # installed from a wheel
    command = ["git", "rev-parse", "HEAD"]
    try:
        output = subprocess.run(  # noqa: S603 (git is where PATH says)
            command, cwd=checkout, capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None  # git is missing, or refuses
    return output.stdout.strip()


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
