"""What a run depends on beside its config: code, packages, machine."""

import ast
import contextlib
import functools
import hashlib
import importlib.util
import platform
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from dlrun.system.threads import usable_cores

# Another version of these may compute other numbers.
PACKAGES = (
    "torch", "torchvision", "lightning", "torchmetrics", "numpy", "scipy", "scikit-learn", "numba",
    "pillow",
)  # fmt: skip
COMPUTES = ("data", "experiments", "models", "training")  # this package's folders that compute


def describe_environment(experiment_package: str) -> dict[str, Any]:
    """The contents of environment.json, as far as they do not depend on the run."""
    return {
        "dlrun": metadata.version("dlrun"),
        "code": code_digest(experiment_package),
        "python": platform.python_version(),
        "packages": versions(),
        "git_commit": _git_commit(),
        "platform": platform.platform(),
        "processor": _processor(),
        "threads": usable_cores(),
        "command": sys.argv,
        "folder": _working_folder(),
    }


def versions() -> dict[str, str | None]:
    """The versions of the packages that compute; None where one is missing."""
    found: dict[str, str | None] = dict.fromkeys(PACKAGES)
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def code_digest(experiment_package: str) -> str:
    """A hash of the code that computes, here and in the experiment's package.

    Comments, docstrings and layout do not count: they change no number.
    """
    files = sorted(_sources(experiment_package))
    about = [(file, file.stat()) for file in files]
    return _digest(tuple((file, stat.st_mtime_ns, stat.st_size) for file, stat in about))


@functools.lru_cache(maxsize=16)
def _digest(sources: tuple[tuple[Path, int, int], ...]) -> str:
    """Of these files, with the times and sizes that they have: parsing all takes 0.2 s."""
    found = hashlib.sha256()
    for file, _, _ in sources:
        try:
            tree = ast.parse(file.read_bytes())
        except SyntaxError:  # a template, say; nobody can import it
            found.update(file.read_bytes())
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and _docstring(node):
                del node.body[0]
        found.update(f"{file.name} {ast.dump(tree)}".encode())
    return found.hexdigest()[:16]


def _docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> bool:
    first = node.body[0] if node.body else None
    return isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)


def _sources(experiment_package: str) -> Iterable[Path]:
    package = Path(__file__).parents[1]
    for folder in COMPUTES:
        yield from (package / folder).rglob("*.py")
    if experiment_package != "dlrun":
        spec = importlib.util.find_spec(experiment_package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            yield from Path(folder).rglob("*.py")
        if spec and spec.origin and spec.submodule_search_locations is None:
            yield Path(spec.origin)  # a single file


def _working_folder() -> str | None:
    try:
        return str(Path.cwd())
    except OSError:  # it was removed
        return None


def _git_commit() -> str | None:
    checkout = Path(__file__).parents[3]
    if not (checkout / ".git").exists():
        return None  # installed from a wheel
    try:
        output = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607 (git is where PATH says)
            cwd=checkout,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None  # no git, or it refuses
    return output.stdout.strip()


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
