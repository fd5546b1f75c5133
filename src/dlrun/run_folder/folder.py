"""The only code that writes into runs/: one folder per run, nothing in it ever half-written."""

import contextlib
import csv
import glob
import hashlib
import io
import json
import os
import re
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dlrun.errors import ConfigError
from dlrun.system.files import sync_file, sync_folder

LATEST, CONFIG, METRICS = "latest", "config.yaml", "metrics.csv"
SWEEPS = "sweeps"  # the folder of what belongs to many runs, among those of the experiments
MAX_NAME_BYTES = 200  # a file system's limit is 255, and the time stands before it
LOG = "log.txt"
PLAIN_NAME = re.compile(r"[\w.,+-]*[\w,+-]")  # a name that means nothing to any shell or system

Row = Mapping[str, float]


class RunFolder:
    """A run's folder: `runs/<experiment>/<UTC time>-<suffix>/`.

    `writes=False` is for a process that helps another, which owns the run: it leaves no file.
    """

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        self.path = path
        self.writes = writes
        self.written: set[str] = set()  # names of the files that this process wrote
        self._appended: set[str] = set()  # of those that are perhaps not on disk yet
        self._columns: Sequence[str] = ()

    @classmethod
    def claim(cls, runs_dir: Path, experiment: str, name: str | None = None) -> "RunFolder":
        """Make a new folder that no other run shares, and point `latest` at it.

        `mkdir` fails where the folder exists, which makes the claim atomic; a taken name is tried
        again with another suffix. After a power cut the folder, those above it that were made for
        it, and `latest` are there. Raises ConfigError where the folder cannot be made.
        """
        check_name(name)
        parent = runs_dir / experiment
        while True:
            suffix = secrets.token_hex(2)
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
            path = parent / f"{stamp}-{name or suffix}"
            try:
                made = [one for one in (parent, *parent.parents) if not one.exists()]
                parent.mkdir(parents=True, exist_ok=True)
                path.mkdir()
                point_latest(parent, path.name)
                for one in (path, *made):
                    sync_folder(one.parent)
            except FileExistsError:
                if parent.is_dir():
                    name = f"{name}-{suffix}" if name else None
                    continue
                raise ConfigError(
                    f"{parent} is not a folder", "choose another --runs-dir"
                ) from None
            except OSError as error:
                raise _unusable(runs_dir, error) from None
            return cls(path)

    @contextlib.contextmanager
    def staged(self, name: str, content: bytes | memoryview) -> Iterator[Callable[[], None]]:
        """Write a whole file under another name, on disk; what this yields gives it its own."""
        target = self.path / name
        temporary = target.with_name(f".new-{os.getpid()}-{name}")
        try:
            with temporary.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            yield lambda: self._put(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)

    def write(self, name: str, content: bytes | memoryview) -> str:
        """Write a whole file, atomically and on disk before it has its name; its SHA-256."""
        if self.writes:
            with self.staged(name, content) as put:
                put()
        return hashlib.sha256(content).hexdigest()

    def _put(self, temporary: Path, target: Path) -> None:
        temporary.replace(target)
        self.written.add(target.name)

    def sync(self) -> None:
        """Have the files' names on disk too: after a power cut they are all there."""
        if self.writes:
            sync_folder(self.path)

    def sync_tables(self) -> None:
        """Have the rows that were appended on disk, and the files' names."""
        for name in self._appended:
            sync_file(self.path / name)
        self.sync()

    def remove_temporary(self) -> None:
        """Remove what a killed process left half-written; nobody else may be writing here."""
        for file in self.path.glob(".new-*"):
            file.unlink()

    def remove(self, *names: str) -> None:
        """Remove files, where they are there."""
        for name in names if self.writes else ():
            (self.path / name).unlink(missing_ok=True)

    def write_text(self, name: str, text: str) -> str:
        """Write a whole text file; a file's name in it may hold bytes that are no UTF-8."""
        return self.write(name, text.encode("utf-8", "backslashreplace"))

    def write_json(self, name: str, value: Mapping[str, Any]) -> str:
        """Write a JSON object; NaN is no JSON and becomes null."""
        return self.write_text(name, to_json(value))

    def write_csv(self, name: str, columns: list[str], rows: list[list[Any]]) -> None:
        """Write a whole CSV table."""
        self.write(name, to_csv([columns, *rows]))

    def add_csv(self, name: str, rows: list[list[Any]]) -> None:
        """Append rows to a CSV table, all of them or nothing; see add_metrics."""
        self._add(name, to_csv(rows))

    def start_metrics(self, columns: Sequence[str], rows: Sequence[Row] = ()) -> None:
        """Begin metrics.csv: its header and the rows so far; what else was there is dropped."""
        self._columns = columns
        self.write_text(METRICS, ",".join(columns) + "\n" + "".join(map(self._line, rows)))

    def add_metrics(self, row: Row) -> None:
        """Append one row to metrics.csv, all of it or nothing.

        It is not waited for until it is on disk: the checkpoint holds the row too.
        """
        self._add(METRICS, self._line(row).encode())

    def _add(self, name: str, content: bytes) -> None:
        if self.writes:
            append(self.path / name, content)
            self._appended.add(name)

    def _line(self, row: Row) -> str:
        return ",".join(f"{row[column]:.9g}" for column in self._columns) + "\n"


def append(path: Path, content: bytes, *, on_disk: bool = False) -> None:
    """Append to a file that is there, all of it or nothing; `on_disk` before this returns."""
    with path.open("r+b") as stream:
        end = stream.seek(0, os.SEEK_END)
        try:
            stream.write(content)
            stream.flush()
            if on_disk:
                os.fsync(stream.fileno())
        except OSError:  # the disk is full
            os.truncate(path, end)
            raise


def check_name(name: str | None) -> None:
    """Raises ConfigError where this is no suffix for a folder on every system, in every shell."""
    if name is None:
        return
    if not PLAIN_NAME.fullmatch(name):
        raise ConfigError(
            f"--name {name!r}: not a plain name",
            "letters, digits and any of . , + - _, the last one no full stop",
        )
    if len(name.encode()) > MAX_NAME_BYTES:
        raise ConfigError(f"--name: longer than {MAX_NAME_BYTES} bytes")


def check_writable(runs_dir: Path) -> None:
    """Raises ConfigError where no run could be written; makes nothing."""
    existing = next(path for path in (runs_dir, *runs_dir.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise ConfigError(f"{existing} is not a folder", "choose another --runs-dir")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise _unusable(runs_dir, PermissionError(0, "cannot be written"))


def _unusable(runs_dir: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"runs folder {runs_dir}: {error.strerror}",
        "choose another with --runs-dir or DLRUN_RUNS_DIR",
    )


def point_latest(parent: Path, name: str) -> None:
    """A link `latest`, or where links are refused a text file with the newest run's name."""
    latest, new = parent / LATEST, parent / f".{LATEST}-{secrets.token_hex(4)}"
    with contextlib.suppress(OSError):  # somebody's own folder has the name: left as it is
        try:
            try:
                new.symlink_to(name, target_is_directory=True)
            except (OSError, NotImplementedError):
                new.write_text(f"{name}\n", encoding="utf-8")
            new.replace(latest)
        finally:
            new.unlink(missing_ok=True)


def to_json(value: Mapping[str, Any]) -> str:
    """A JSON object as text; NaN is no JSON and becomes null, as a number beyond any float."""
    text = json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
    return "\n".join(map(_escaped, text.split("\n"))) + "\n"


def to_json_line(value: Mapping[str, Any]) -> str:
    """A JSON object on one line, as `to_json` else."""
    return _escaped(json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, default=_plain))


def _escaped(line: str) -> str:
    """JSON's escapes for the characters that a terminal would obey; all others as they are."""
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in line)


def _plain(value: Any) -> Any:
    """Numbers of numpy and torch as Python's; anything else as its text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, int | float) and not abs(value) <= sys.float_info.max:
        return None
    return value


def to_csv(rows: list[list[Any]]) -> bytes:
    """As text; a file's name in it may hold bytes that are no UTF-8."""
    stream = io.StringIO(newline="")
    csv.writer(stream).writerows([_cell(value) for value in row] for row in rows)
    return stream.getvalue().encode("utf-8", "backslashreplace")


def _cell(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula gets a quote in front; no line breaks."""
    if isinstance(value, float):
        return f"{value:.9g}"
    if isinstance(value, str):
        if not value.isprintable():
            value = "".join(
                char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in value
            )
        return "'" + value if value.startswith(("=", "+", "-", "@")) else value
    return value


def runs_in(runs_dir: Path, experiment: str | None = None) -> Iterator[Path]:
    """Every run's folder, in no order: it has a config.yaml, and is no link to another."""
    for config in runs_dir.glob(f"{glob.escape(experiment) if experiment else '*'}/*/{CONFIG}"):
        if is_own_folder(config.parent):
            yield config.parent


def is_own_folder(folder: Path) -> bool:
    """Whether a folder is neither a link to another nor what is left of one that was removed."""
    return not (folder.is_symlink() or folder.name.startswith("."))
