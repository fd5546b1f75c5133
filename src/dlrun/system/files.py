"""Files read and written with care: no pipe is waited for, and on disk is on disk."""

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator
from io import BufferedReader, BufferedWriter
from pathlib import Path

from dlrun.errors import DlrunError


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading. Raises OSError, also for a pipe or device, which may never end."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path.open("rb")


def read_regular(path: Path) -> bytes:
    """A file's bytes. Raises OSError as `open_regular`."""
    with open_regular(path) as stream:
        return stream.read()


def check_appendable(path: Path) -> None:
    """Raises DlrunError for a link, a pipe, a folder: none is followed, or waited for."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise DlrunError(f"{path}: not a file that can be written", "remove it")


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """A file's hash in hexadecimal. Raises OSError as `open_regular`."""
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


@contextlib.contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """A path beside this one for the block to write; it takes this name once it is on disk.

    Where the block raises, nothing is left of it, and a file that was there is as it was.
    """
    temporary = path.with_name(f".new-{os.getpid()}-{path.name[:40]}")
    try:
        yield temporary
        sync_file(temporary)
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        if error.filename in (None, str(temporary)):  # as where the disk is full
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BufferedWriter]:
    """A file to be written, see `whole`. Raises OSError."""
    with replace_atomically(path) as temporary, temporary.open("wb") as stream:
        yield stream


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file of the user's own, see `whole`. Raises OSError."""
    with new_file(path) as stream:
        stream.write(content)


def folder_size(folder: Path) -> int:
    """Bytes of the files in a folder and below, as far as it can be read; links count nothing."""
    total = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                total += folder_size(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                with contextlib.suppress(FileNotFoundError):  # a living run's
                    total += entry.stat(follow_symlinks=False).st_size
    return total


def sync_file(path: Path) -> None:
    """Have a file's bytes on disk."""
    with path.open("r+b") as stream:  # Windows flushes no file that was opened to be read
        os.fsync(stream.fileno())


def sync_folder(path: Path) -> None:
    """Have a folder's entries on disk, where the system can; Windows opens no folder."""
    with contextlib.suppress(PermissionError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # the file system has no such call
                raise
        finally:
            os.close(descriptor)
