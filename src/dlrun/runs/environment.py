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
    """Each sentence names what has changed since a run: dlrun's code, or a package's version."""
    then = {"code:": code, **packages}  # the keys begin the sentences
    now = {"code:": code_hashes(experiment_package), **package_versions(packages)}
    changed = [name for name in now if then.get(name) != now[name]]
    return [f"{name} {then.get(name)} then, {now[name]} now" for name in changed]


def package_versions(more_names: Iterable[str] = ()) -> dict[str, str | None]:
    """A package that is not installed has the version None."""
    versions: dict[str, str | None] = dict.fromkeys((*PACKAGES, *more_names))
    for name in versions:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def code_hashes(experiment_package: str) -> str:
    """The text is such as `dlrun 1a2b3c4d5e6f`, with a hash for each of the two packages."""
    packages = dict.fromkeys(("dlrun", experiment_package))
    return ", ".join(f"{package} {code_digest(package)}" for package in packages)


@functools.cache  # it takes 5 ms
def code_digest(package: str) -> str:
    """The hash covers the names and contents of the .py files in the package's folder."""
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
    """Linux knows the model of the processor; Python's `platform` knows less."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
