"""Create, name, lock and remove the folder of a run, write files into it, and protect them."""

import contextlib
import csv
import io
import os
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

from dlrun.errors import ConfigError, DlrunError
from dlrun.system.console import printable
from dlrun.system.files import (
    hold_file_lock,
    read_unpacked,
    sync_file,
    sync_folder,
    write_file_atomically,
)

LATEST, CONFIG, METRICS, LOG, LOCK = "latest", "config.yaml", "metrics.csv", "log.txt", "run.lock"
RESULTS, ENVIRONMENT, SUMMARY = "results.json", "environment.json", "summary.txt"
NOTES = "notes.json"  # may change at any time
SWEEPS = "sweeps"  # the folder of all sweeps, among those of the experiments
RUN_FILES = (CONFIG, RESULTS, ENVIRONMENT, LOCK)  # a folder with two of them is a run's
PLAN, SWEEP_LOCK = "sweep.json", "sweep.lock"  # files of each sweep
PREDICTIONS, MISTAKES, WORDS = "predictions.csv", "mistakes.json", "words.csv"
WEIGHTS, THUMBNAILS = "weights.pt", "thumbnails.npz"
STAMP = "%Y%m%dT%H%M%SZ"  # the time in the name of a run's folder
IMAGE_COLUMNS = ["image", "rank", "label", "probability", "error"]  # columns of predictions.csv
# No character that a shell or a system interprets; a file system takes 255 bytes with the time.
PLAIN_NAME = re.compile(r"[\w.,+-]{0,199}[\w,+-]")

Row = Mapping[str, float]


class RunFolder:
    """Represents a run's folder, `runs/<experiment>/<UTC time>-<suffix>/`, and writes its files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written: set[str] = set()  # names of the files that this process wrote

    @classmethod
    def claim(cls, runs_dir: Path, experiment: str, name: str | None = None) -> "RunFolder":
        """Create a folder for a new run, with another suffix if taken, and point `latest` at it."""
        check_run_name(name)
        parent = runs_dir / experiment
        suffix = name or secrets.token_hex(2)
        _make_durable_folder(parent, runs_dir)
        try:
            while True:
                path = parent / f"{datetime.now(UTC):{STAMP}}-{suffix}"
                with contextlib.suppress(FileExistsError):
                    path.mkdir()
                    break
                suffix = "-".join(filter(None, (name, secrets.token_hex(2))))
            update_latest_link(parent, path.name)
            sync_folder(parent)
        except OSError as error:
            raise _unusable_runs_folder(runs_dir, error.strerror) from None
        return cls(path)

    @classmethod
    def claim_sweep(cls, runs_dir: Path, name: str) -> "RunFolder":
        """Create the folder of a new sweep; raise ConfigError if its name is taken or it fails."""
        check_run_name(name)
        if name == LATEST:
            raise ConfigError(f"--name {LATEST}: means the newest sweep", "choose another")
        path = runs_dir / SWEEPS / name
        if (path / PLAN).exists():
            hint = f"`dlrun sweep --resume {name}` continues it; or choose another --name"
            raise ConfigError(f"{path}: a sweep of that name exists", hint)
        _make_durable_folder(path, runs_dir)
        return cls(path)

    def locked(self, name: str = LOCK) -> AbstractContextManager[None]:
        """Lock the folder during a `with` block, so that no other process writes to the folder."""
        return hold_file_lock(self.path / name)

    def write(self, name: str, content: bytes) -> None:
        """Write one whole file into the folder atomically."""
        write_file_atomically(self.path / name, content)
        self.written.add(name)

    def remove_temporary_files(self) -> None:
        """Remove the half-written files of a killed process; another may be writing the notes."""
        for file in self.path.glob(".new-*"):
            if not file.name.endswith(NOTES):
                file.unlink(missing_ok=True)

    def write_text(self, name: str, text: str) -> None:
        """Write a whole text file; bytes of file names that are not UTF-8 are escaped."""
        self.write(name, text.encode("utf-8", "backslashreplace"))

    def append(self, name: str, content: bytes, *, on_disk: bool = False) -> None:
        """Append bytes to a file, either all or none; `on_disk` also flushes them to the disk."""
        with (self.path / name).open("r+b") as stream:
            end = stream.seek(0, os.SEEK_END)
            try:
                stream.write(content)
                stream.flush()
                if on_disk:
                    os.fsync(stream.fileno())
            except OSError:  # the disk is full
                os.truncate(stream.name, end)
                raise

    def sync_tables(self) -> None:
        """Flush the tables to which rows were appended to the disk."""
        for table in filter(Path.exists, (self.path / METRICS, self.path / PREDICTIONS)):
            sync_file(table)

    def remove(self, *names: str) -> None:
        """Remove the named files from the folder, if they exist."""
        for name in names:
            (self.path / name).unlink(missing_ok=True)


def _make_durable_folder(path: Path, runs_dir: Path) -> None:
    try:
        made = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for folder in made:
            sync_folder(folder.parent)
    except OSError as error:
        check_runs_folder_writable(path)  # says more than the system does
        raise _unusable_runs_folder(runs_dir, error.strerror) from None


def check_run_name(name: str | None) -> None:
    """Raise ConfigError if a run's name is not a valid folder name on every system."""
    if name is not None and not PLAIN_NAME.fullmatch(name):
        hint = "use letters, digits and . , + - _, and no full stop at the end"
        raise ConfigError(f"--name {name!r}: not a plain name of at most 200 characters", hint)


def check_runs_folder_writable(runs_dir: Path) -> None:
    """Raise ConfigError if runs cannot be written to a folder. The check creates no folder."""
    check_outside_runs("--runs-dir", runs_dir / SWEEPS)
    paths = (runs_dir, *runs_dir.absolute().parents)
    existing = next(path for path in paths if path.exists() or path.is_symlink())
    if not existing.is_dir():
        raise _unusable_runs_folder(runs_dir, f"{existing} is not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise _unusable_runs_folder(runs_dir, "not writable")


def _unusable_runs_folder(runs_dir: Path, why: str | None) -> ConfigError:
    hint = "choose another with --runs-dir or DLRUN_RUNS_DIR"
    return ConfigError(f"runs folder {runs_dir}: {why}", hint)


def check_output_path(
    option: str, out: Path, *, force: bool = False, ours: bytes | None = None
) -> None:
    """Raise ConfigError if a command cannot write its output file, or would replace a file.

    With `force` a file is replaced, and one that begins with the mark `ours`; but never a file of a
    run or of a sweep.
    """
    problem = ""
    hint = "choose another"
    try:
        if out.is_dir():  # also `.` and an empty name
            problem = "is a folder"
        elif not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
            problem = f"there is no folder {out.parent} that can be written"
        elif out.is_symlink() or (out.exists() and not out.is_file()):
            problem = "is a link or device"
        else:
            check_outside_runs(option, out)
            if out.exists() and not (force or (ours and ours in read_unpacked(out, 2000))):
                problem = "exists already"
                hint = "--force replaces it"
    except (OSError, ValueError) as error:  # a name that is too long, a zero byte
        problem = getattr(error, "strerror", None) or str(error)
    if problem:
        raise ConfigError(f"{option} {out}: {problem}", hint)


def check_outside_runs(option: str, out: Path) -> None:
    """Raise ConfigError if a path is in the folder of a run or a sweep, where only dlrun writes."""
    for folder in out.resolve().parents:
        is_run = sum(map(os.path.lexists, (folder / name for name in RUN_FILES))) > 1
        if is_run or os.path.lexists(folder / PLAN):
            kind = "run" if is_run else "sweep"
            raise ConfigError(f"{option} {out}: is in the folder of a {kind}", "choose another")


def update_latest_link(parent: Path, name: str) -> None:
    """Create the link `latest` to the newest run, if the file system allows links."""
    new = parent / f".{LATEST}-{secrets.token_hex(4)}"
    try:
        new.symlink_to(name, target_is_directory=True)
        new.replace(parent / LATEST)
    except OSError:
        new.unlink(missing_ok=True)


def remove_run(folder: Path) -> None:
    """Remove a run's folder, its record first; raise DlrunError if it runs or is behind a link."""
    if folder.is_symlink() or folder.parent.is_symlink():
        raise DlrunError(f"{folder}: behind a link, so it is kept")
    with hold_file_lock(folder / LOCK):
        (folder / RESULTS).unlink(missing_ok=True)
        sync_folder(folder)
    # Now a resume finds no record. A system may not remove the lock's file while it is held.
    shutil.rmtree(folder)


def parse_csv(content: bytes) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a CSV table, which are equally long.

    Raises ValueError or csv.Error if the content is no such table.
    """
    rows = [*csv.reader(io.StringIO(content.decode(), newline=""), strict=True)]
    header = rows.pop(0) if rows else []
    if not header:
        raise ValueError("it has no header")
    if any(len(row) != len(header) for row in rows):
        raise ValueError("a row and the header differ in length")
    return header, rows


def to_csv(rows: Sequence[Sequence[object]]) -> bytes:
    """Return rows as a CSV table; bytes of file names that are not UTF-8 are escaped."""
    stream = io.StringIO(newline="")
    csv.writer(stream).writerows([_format_csv_cell(value) for value in row] for row in rows)
    return stream.getvalue().encode("utf-8", "backslashreplace")


def _format_csv_cell(value: object) -> object:
    """Format a CSV cell; escape line breaks and text that a spreadsheet would read as a formula."""
    if isinstance(value, float):
        return f"{value:.9g}"
    if isinstance(value, str):
        value = printable(value)
        return "'" + value if value.startswith(("=", "+", "-", "@")) else value
    return value
