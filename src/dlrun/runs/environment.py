"""Describe the environment of a run: the versions of code and packages, and the machine."""

import contextlib
import functools
import hashlib
import platform
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from dlrun.runs.record import RunEnvironment
from dlrun.system.commit import describe_commit
from dlrun.system.resources import usable_cores

# Packages whose other versions may compute different numbers.
PACKAGES = "torch", "torchvision", "lightning", "numpy", "scipy", "scikit-learn", "numba", "pillow"


def describe_environment(experiment_package: str) -> RunEnvironment:
    """Return the content of environment.json: the code, packages and machine of this process."""
    return RunEnvironment(
        dlrun=metadata.version("dlrun"),
        commit=describe_commit(),
        code=code_hashes(experiment_package),
        python=platform.python_version(),
        packages=package_versions(),
        platform=platform.platform(),
        processor=_processor(),
        threads=usable_cores(),
        command=sys.argv,
    )


def describe_environment_changes(
    code: str | None, packages: Mapping[str, str | None], experiment_package: str
) -> list[str]:
    """Return how the installed code and packages differ from those of a run."""
    then = {"code:": code, **packages}  # the keys begin the sentences
    now = {"code:": code_hashes(experiment_package), **package_versions(packages)}
    changed = [name for name in now if then.get(name) != now[name]]
    return [f"{name} {then.get(name)} then, {now[name]} now" for name in changed]


def package_versions(more_names: Iterable[str] = ()) -> dict[str, str | None]:
    """Return the versions of packages that change results, and of `more_names`; None if missing."""
    versions: dict[str, str | None] = dict.fromkeys((*PACKAGES, *more_names))
    for name in versions:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def code_hashes(experiment_package: str) -> str:
    """Return hashes of dlrun's code and of an experiment's package, as `dlrun 1a2b3c4d5e6f`."""
    packages = dict.fromkeys(("dlrun", experiment_package))
    return ", ".join(f"{package} {code_digest(package)}" for package in packages)


@functools.cache  # it takes 5 ms
def code_digest(package: str) -> str:
    """Return a hash of the names and contents of the .py files in a package's folder, if any."""
    digest = hashlib.sha256()
    spec = find_spec(package)
    for folder in map(Path, (spec and spec.submodule_search_locations) or ()):
        for file in sorted(folder.rglob("[!.]*.py")):
            name = file.relative_to(folder).as_posix()
            if package == "dlrun" and name.startswith("plain/"):
                continue  # scripts that only a wheel has inside, and no run executes
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            digest.update(f"{content} {name}\n".encode())
    return digest.hexdigest()[:12]


def _processor() -> str:
    """Return the name of the processor as Linux knows it, else what Python's platform knows."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
