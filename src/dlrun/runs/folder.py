"""Create, name, lock and remove the folder of a run, write files into it, and protect them."""

import contextlib
import os
import re
import secrets
import shlex
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from dlrun.errors import ConfigError, DlrunError
from dlrun.runs.checksummed_json import has_checksum
from dlrun.system.files import hold_file_lock, sync_file, sync_folder, write_file_atomically

LATEST = "latest"  # the link to an experiment's newest run
# The files of every run. Only the notes may change after its end.
CONFIG = "config.yaml"
ENVIRONMENT = "environment.json"
METRICS = "metrics.csv"
RESULTS = "results.json"
SUMMARY = "summary.txt"
NOTES = "notes.json"
LOG = "log.txt"
LOCK = "run.lock"
# The files of some runs.
PREDICTIONS = "predictions.csv"
MISTAKES = "mistakes.json"
WORDS = "words.csv"
COLUMNS = "columns.csv"  # what was made of each column of a table
IMPORTANCE = "importance.csv"  # how much worse a model is without a column of a table
WEIGHTS = "weights.pt"
PATH = "path.csv"  # the standardised coefficients of a lasso on a table at each penalty
MODEL = "model.npz"  # the arrays of a model without a network
THUMBNAILS = "thumbnails.npz"
# The folder of all sweeps stands among those of the experiments; each sweep has these files.
SWEEPS = "sweeps"
PLAN = "sweep.json"
SWEEP_LOCK = "sweep.lock"
# The time at the start of a run folder's name: as it is written, and as it is found.
STAMP = "%Y%m%dT%H%M%SZ"
_STAMP_AND_NAME = re.compile(r"(\d{8}T\d{6}Z)-(.*)", re.DOTALL)
# No character that a shell or a system interprets; a file system takes 255 bytes with the time.
PLAIN_NAME = re.compile(r"[\w.,+-]{0,199}[\w,+-]")

Row = Mapping[str, float]


def resume_sweep_command(name: Path | str, data_dir: Path | None = None) -> str:
    """The sweep is named by its folder, or by its name if the runs folder is the default one."""
    data_option = ["--data-dir", str(data_dir)] if data_dir else []
    return shlex.join(["dlrun", "sweep", "--resume", str(name), *data_option])


class RunFolderName(NamedTuple):
    """Holds the UTC time in the name of a run's folder, to the second, and the rest of the name.

    A folder whose name is not that of a run has no time, and the whole name.
    """

    time: str
    rest: str

    @classmethod
    def of(cls, folder: Path) -> "RunFolderName":
        parts = _STAMP_AND_NAME.fullmatch(folder.name)
        return cls(parts[1], parts[2]) if parts else cls("", folder.name)


class OutputFolder:
    """Represents the folder of a run or a sweep, and writes its files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written: set[str] = set()  # names of the files that this process wrote

    @classmethod
    def claim_run(cls, runs_dir: Path, experiment: str, name: str | None = None) -> "OutputFolder":
        """Create a new folder `<experiment>/<UTC time>-<name or random>`; point `latest` at it."""
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
    def claim_sweep(cls, runs_dir: Path, name: str) -> "OutputFolder":
        """Create the folder of a new sweep; raise ConfigError if its name is taken or it fails."""
        check_run_name(name)
        if name == LATEST:
            raise ConfigError(f"--name {LATEST}: means the newest sweep", "choose another")
        path = runs_dir / SWEEPS / name
        if (path / PLAN).exists():
            hint = f"`{resume_sweep_command(path)}` continues it; or choose another --name"
            raise ConfigError(f"{path}: a sweep of that name exists", hint)
        _make_durable_folder(path, runs_dir)
        return cls(path)

    def locked(self, name: str = LOCK) -> AbstractContextManager[None]:
        """Lock the folder during a `with` block, so that no other process writes to the folder."""
        return hold_file_lock(self.path / name)

    def write(self, name: str, content: bytes) -> None:
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

    def sync_metrics(self) -> None:
        """Flush metrics.csv, to which rows were appended, to the disk."""
        if (metrics := self.path / METRICS).exists():
            sync_file(metrics)

    def remove(self, *names: str) -> None:
        for name in names:
            (self.path / name).unlink(missing_ok=True)


def _make_durable_folder(path: Path, runs_dir: Path) -> None:
    """Create a folder and flush it and its new parents to the disk. Raises ConfigError."""
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


def check_runs_folder_writable(folder: Path) -> None:
    """Raise ConfigError if runs cannot be written to a folder. The check creates no folder."""
    check_outside_runs("--runs-dir", folder)
    paths = (folder, *folder.absolute().parents)
    existing = next(path for path in paths if path.exists() or path.is_symlink())
    if not existing.is_dir():
        raise _unusable_runs_folder(folder, f"{existing} is not a folder")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise _unusable_runs_folder(folder, "not writable")


def _unusable_runs_folder(runs_dir: Path, why: str | None) -> ConfigError:
    hint = "choose another with --runs-dir or DLRUN_RUNS_DIR"
    return ConfigError(f"runs folder {runs_dir}: {why}", hint)


def check_outside_runs(option: str, path: Path) -> None:
    """Raise ConfigError if a path is the folder of a run or a sweep, or in one: it is dlrun's.

    The folder has one of the files that only dlrun writes, perhaps a damaged one; a user's own
    project may have a config.yaml and a results.json, too.
    """
    resolved = path.resolve()
    for folder in (resolved, *resolved.parents):
        for name, kind in ((RESULTS, "run"), (ENVIRONMENT, "run"), (PLAN, "sweep")):
            if has_checksum(folder / name):
                problem = f"{option} {path}: is in the folder of a {kind}, {folder}"
                raise ConfigError(problem, "choose another")


def file_sizes(folder: Path) -> dict[str, int]:
    """The sizes are in bytes, by the path below the folder; the largest file comes first."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    sizes = {str(path.relative_to(folder)): path.lstat().st_size for path in files}
    return dict(sorted(sizes.items(), key=lambda item: (-item[1], item[0])))


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
