"""Regular files: read without waiting for pipes, and written whole or not at all."""

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from io import BufferedReader, BufferedWriter
from pathlib import Path

from dlrun.errors import DlrunError


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading. Raises OSError, also for a pipe or device, which may never end."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path.open("rb")


def read_regular(path: Path) -> bytes:
    """Return a file's bytes. Raises OSError as `open_regular`."""
    with open_regular(path) as stream:
        return stream.read()


def check_appendable(path: Path) -> None:
    """Raise DlrunError for a link, a pipe or a folder; a log is never written into one."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise DlrunError(f"{path}: not a regular file", "remove it")


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Return a file's hash in hexadecimal. Raises OSError as `open_regular`."""
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def fingerprint_files(files: Iterable[Path], root: Path | None = None) -> str:
    """Return a digest of files' names below a folder, sizes and times of modification.

    Their contents are not read: that takes as long as using them.
    """
    digest = hashlib.sha256()
    for file in files:
        try:
            status = file.stat()
            state = f"{status.st_size} {status.st_mtime_ns}"
        except OSError as error:
            state = str(error.errno)
        name = os.fsencode(file.relative_to(root) if root else file)
        digest.update(name + f"\0{state}\0".encode())
    return digest.hexdigest()


@contextlib.contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside a file; it takes the file's name once it is on disk.

    If the block raises, the temporary file is removed and the file is as it was.
    """
    temporary = path.with_name(f".new-{os.getpid()}-{path.name[:40]}")
    try:
        yield temporary
        sync_file(temporary)
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        if error.filename in (None, str(temporary)):  # as if the disk is full
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BufferedWriter]:
    """Open a file for writing that gets its name at the end. Raises OSError."""
    with replace_atomically(path) as temporary, temporary.open("wb") as stream:
        yield stream


def write_files(contents: Mapping[Path, bytes | memoryview]) -> None:
    """Write files; none is replaced before all of them are on disk. Raises OSError."""
    with contextlib.ExitStack() as stack:
        for path, content in contents.items():
            temporary = stack.enter_context(replace_atomically(path))
            temporary.write_bytes(content)
            sync_file(temporary)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole, or leave the one that was there. Raises OSError."""
    write_files({path: content})


def folder_size(folder: Path) -> int:
    """Return the bytes of the readable files in a folder and below; links count nothing."""
    total = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                total += folder_size(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                with contextlib.suppress(FileNotFoundError):  # a running run's
                    total += entry.stat(follow_symlinks=False).st_size
    return total


def sync_file(path: Path) -> None:
    """Flush a file's bytes to the disk."""
    with path.open("r+b") as stream:  # Windows flushes no file that was opened for reading
        os.fsync(stream.fileno())


def sync_folder(path: Path) -> None:
    """Flush a folder's entries to the disk, if the system can; Windows opens no folder."""
    with contextlib.suppress(PermissionError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # the file system has no such call
                raise
        finally:
            os.close(descriptor)
