"""The only code that writes into runs/: one folder per run, nothing in it ever half-written."""

import contextlib
import csv
import hashlib
import json
import math
import os
import platform
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from dlrun.errors import ConfigError, DlrunError

PACKAGES = ("torch", "torchvision", "lightning", "torchmetrics", "numpy", "scipy", "scikit-learn")

MAX_NAME_BYTES = 200  # a file system's limit is 255, and the time stands before it


class RunFolder:
    """A run's folder: `runs/<experiment>/<UTC time>-<suffix>/`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: list[str] = []

    @classmethod
    def claim(cls, runs_dir: Path, experiment: str, name: str | None = None) -> "RunFolder":
        """Make a new folder that no other run shares, and point `latest` at it.

        `mkdir` fails where the folder exists, which makes the claim atomic; a taken name is tried
        again with another suffix. Raises ConfigError where the folder cannot be made.
        """
        check_name(name)
        parent = runs_dir / experiment
        while True:
            suffix = secrets.token_hex(2)
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
            path = parent / f"{stamp}-{name or suffix}"
            try:
                parent.mkdir(parents=True, exist_ok=True)
                path.mkdir()
            except FileExistsError:
                if parent.is_dir():
                    name = f"{name}-{suffix}" if name else None
                    continue
                raise ConfigError(
                    f"{parent} is not a folder", "choose another --runs-dir"
                ) from None
            except OSError as error:
                raise ConfigError(
                    f"runs folder {runs_dir}: {error.strerror}",
                    "choose another with --runs-dir or DLRUN_RUNS_DIR",
                ) from None
            _point_latest(parent, path.name)
            return cls(path)

    @contextlib.contextmanager
    def replacing(self, name: str) -> Iterator[Path]:
        """A temporary path that takes the name once the block has ended without an error."""
        target = self.path / name
        temporary = target.with_name(f".new-{os.getpid()}-{name}")
        try:
            yield temporary
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    def remove_temporary(self) -> None:
        """Remove what a killed process left half-written; nobody else may be writing here."""
        for file in self.path.glob(".new-*"):
            file.unlink()

    def write_text(self, name: str, text: str) -> None:
        """Write a whole text file, atomically."""
        with self.replacing(name) as path:  # a file's name may hold bytes that are no UTF-8
            path.write_text(text, encoding="utf-8", errors="backslashreplace")

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a JSON object, atomically; NaN is no JSON and becomes null."""
        text = json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)
        self.write_text(name, text + "\n")

    def start_metrics(self, columns: list[str], rows: Sequence[Mapping[str, float]] = ()) -> None:
        """Begin metrics.csv: its header and the rows so far; what else was there is dropped."""
        self._columns = columns
        self.write_text("metrics.csv", ",".join(columns) + "\n" + "".join(map(self._line, rows)))

    def add_metrics(self, row: Mapping[str, float]) -> None:
        """Append one row to metrics.csv, on disk before this returns; all of it or nothing."""
        with (self.path / "metrics.csv").open("r+", encoding="utf-8", newline="") as stream:
            end = stream.seek(0, os.SEEK_END)
            try:
                stream.write(self._line(row))
                stream.flush()
                os.fsync(stream.fileno())
            except OSError:  # the disk is full
                os.truncate(self.path / "metrics.csv", end)
                raise

    def _line(self, row: Mapping[str, float]) -> str:
        return ",".join(f"{row[column]:.9g}" for column in self._columns) + "\n"

    def write_csv(self, name: str, columns: list[str], rows: list[list[Any]]) -> None:
        """Write a whole CSV table, atomically."""
        with self.replacing(name) as path, path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(columns)
            writer.writerows([_cell(value) for value in row] for row in rows)

    def write_environment(self, **more: Any) -> None:
        """Write environment.json: versions, git commit, machine, threads, command line."""
        self.write_json(
            "environment.json",
            {
                "dlrun": metadata.version("dlrun"),
                "code": code_digest(),
                "python": platform.python_version(),
                "packages": {name: metadata.version(name) for name in PACKAGES},
                "git_commit": _git_commit(),
                "platform": platform.platform(),
                "processor": _processor(),
                "threads": len(os.sched_getaffinity(0))
                if hasattr(os, "sched_getaffinity")
                else os.cpu_count(),
                "command": sys.argv,
                "folder": str(Path.cwd()),
                **more,
            },
        )


def check_name(name: str | None) -> None:
    """Raises ConfigError where a folder cannot have this suffix."""
    if name is None:
        return
    if not name.isprintable() or name in ("", ".") or "/" in name:
        raise ConfigError(f"--name {name!r}: not a file name")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise ConfigError(f"--name: longer than {MAX_NAME_BYTES} bytes")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a run. Raises DlrunError where it is missing or damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DlrunError(f"{path}: no such file: not a finished run") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DlrunError(f"{path}: cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise DlrunError(f"{path}: not what a run writes")
    return value


def read_results(folder: Path) -> dict[str, Any]:
    """results.json of a run. Raises DlrunError where it is missing or damaged."""
    return read_json(folder / "results.json")


def finished_runs(runs_dir: Path, experiment: str) -> list[Path]:
    """The folders of an experiment's finished runs, the newest first."""
    files = sorted((runs_dir / experiment).glob("*T*Z-*/results.json"), reverse=True)
    return [file.parent for file in files if is_finished(file.parent)]


def is_finished(folder: Path) -> bool:
    """Whether a run has a result; one whose file is missing or damaged has none."""
    try:
        return read_results(folder).get("status") == "finished"
    except DlrunError:
        return False


def code_digest() -> str:
    """A hash of this package's source: another one may compute other numbers."""
    found = hashlib.sha256()
    package = Path(__file__).parent
    for file in sorted(package.rglob("*.py")):
        found.update(str(file.relative_to(package)).encode() + file.read_bytes())
    return found.hexdigest()[:16]


def _point_latest(parent: Path, name: str) -> None:
    link = parent / f".latest-{secrets.token_hex(4)}"
    with contextlib.suppress(OSError):  # a file system without links: the run goes on without
        link.symlink_to(name, target_is_directory=True)
        link.replace(parent / "latest")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _cell(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula gets a quote in front; no line breaks."""
    if isinstance(value, float):
        return f"{value:.9g}"
    if isinstance(value, str):
        value = "".join(
            char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in value
        )
        return "'" + value if value.startswith(("=", "+", "-", "@")) else value
    return value


def _git_commit() -> str | None:
    checkout = Path(__file__).parents[2]
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
