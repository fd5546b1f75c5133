"""Hash files, and read them again for a later hash only if their sizes or times have changed."""

import contextlib
import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

from dlrun.errors import DataError
from dlrun.system.files import file_digest, fingerprint_files, write_file_atomically

FOLDER = "contents"  # in the data folder
CLOCK_SECONDS = 2.0  # two changes of a file so shortly after each other may get the same time


def hash_file(path: Path, algorithm: str = "sha256") -> str:
    """Hash a file's content; raise DataError if the file cannot be read."""
    try:
        return file_digest(path, algorithm)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def hash_contents(files: Sequence[Path], data_dir: Path, root: Path | None = None) -> str:
    """Hash the names and contents of several files together; the names are relative to `root`.

    The data folder remembers the hash by the files' paths, sizes, times and times of change. So
    later calls read the files only if any of these has changed. (A program can set a file's time,
    but not its time of change; Windows has none.)
    """
    started = time.time()
    remembered = data_dir / FOLDER / fingerprint_files(files)
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return remembered.read_text()
    contents = hashlib.sha256()
    for file in files:
        name = os.fsencode(file.relative_to(root) if root else file)
        contents.update(name + f"\0{_hash_or_error(file)}\0".encode())
    digest = contents.hexdigest()
    if all(_time_of_change(file) < started - CLOCK_SECONDS for file in files):
        with contextlib.suppress(OSError):  # if there is no room, later calls read the files again
            remembered.parent.mkdir(parents=True, exist_ok=True)
            write_file_atomically(remembered, digest.encode())
    return digest


def _hash_or_error(file: Path) -> str:
    """Hash a file's content; for an unreadable file, which is no row, give the error's number."""
    try:
        return file_digest(file)
    except OSError as error:
        return str(error.errno)


def _time_of_change(file: Path) -> float:
    """Find when a file was last changed, in seconds; infinity if the file is gone."""
    try:
        status = file.stat()
    except OSError:
        return float("inf")
    return max(status.st_mtime, status.st_ctime)
