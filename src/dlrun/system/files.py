"""Read regular files of bounded size, write files atomically, and lock folders."""

import contextlib
import errno
import gzip
import hashlib
import io
import os
import stat
import sys
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlrun.errors import DlrunError

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROBE_SECONDS = 1.0  # a process that only looks whether a lock is held releases it sooner
MOST_TEXT = 10_000_000  # bytes of a config, of notes, of a plan: a person or dlrun wrote the file
SMALL = 1 << 16  # bytes; nearly all records and configs have fewer
MOST_UNPACKED = 1 << 30  # bytes to which the content of an archive or a packed file may grow


def open_regular_file(path: Path) -> BufferedReader:
    """Open a regular file for reading. Raises OSError for a pipe or device, which may never end."""
    kind = path.stat().st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise OSError(errno.EINVAL, "not a regular file: a pipe or a device", str(path))
    return path.open("rb")


def read_regular_file(path: Path, most: int | None = None) -> bytes:
    """Read the bytes of a regular file.

    Raises OSError as `open_regular_file` does, and for a file of more than `most` bytes.
    """
    with open_regular_file(path) as stream:
        if most is None:
            return stream.read()
        # Python allocates what it is asked to read: for 1,000 records a tenth of a second.
        content = stream.read(min(SMALL, most + 1))
        if len(content) == SMALL:
            content += stream.read(most + 1 - SMALL)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"larger than {most / 1e6:.0f} MB", str(path))
    return content


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """The hash is hexadecimal. Raises OSError if there is no readable regular file."""
    with open_regular_file(path) as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def read_unpacked(path: Path, most: int) -> bytes:
    """Read at most `most` bytes of a file's content, unpacked if the file is gzipped."""
    with open_regular_file(path) as stream:
        if stream.peek(2)[:2] != b"\x1f\x8b":
            return stream.read(most)
        try:
            return gzip.GzipFile(fileobj=stream).read(most)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise gzip.BadGzipFile(errno.EIO, f"damaged gzip file: {error}") from None


def read_arrays(content: bytes) -> "dict[str, NDArray[Any]]":
    """Read the arrays in the bytes of an .npz file, which are perhaps not what a run wrote.

    Raises ValueError if they would take more than MOST_UNPACKED bytes, and whatever numpy raises
    for a damaged file.
    """
    import numpy as np

    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        if sum(member.file_size for member in file.zip.infolist()) > MOST_UNPACKED:
            raise ValueError(f"its arrays are larger than {MOST_UNPACKED:,} bytes")
        return dict(file)


def fingerprint_files(files: Iterable[Path], root: Path | None = None) -> str:
    """The digest is of names, sizes, times and times of change, and not of contents."""
    digest = hashlib.sha256()
    for file in files:
        try:
            status = file.stat()
            state = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
        except OSError as error:
            state = str(error.errno)
        name = os.fsencode(file.relative_to(root) if root else file)
        digest.update(name + f"\0{state}\0".encode())
    return digest.hexdigest()


@contextlib.contextmanager
def replace_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path, whose file replaces `path` atomically when the `with` block ends."""
    temporary = path.with_name(f".new-{os.getpid()}-{path.name[:40]}")
    try:
        yield temporary
        sync_file(temporary)
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        if error.filename in (None, str(temporary)):  # the disk may be full
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def open_new_file(path: Path) -> Iterator[BufferedWriter]:
    """Open a new file, which appears under its name once complete; raise OSError if that fails."""
    with replace_atomically(path) as temporary, temporary.open("wb") as stream:
        yield stream


def write_file_atomically(path: Path, content: bytes) -> None:
    """Write a file completely or not at all. Raises OSError if writing fails."""
    with replace_atomically(path) as temporary:
        temporary.write_bytes(content)


def sync_file(path: Path) -> None:
    """Flush the bytes of a file to the disk."""
    with path.open("r+b") as stream:  # Windows flushes no file that was opened for reading
        os.fsync(stream.fileno())


def sync_folder(path: Path) -> None:
    """Flush the list of a folder's files to the disk, if the system can do so."""
    with contextlib.suppress(PermissionError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # the file system has no such call
                raise
        finally:
            os.close(descriptor)


def check_regular_file(path: Path) -> None:
    """Raise DlrunError if the path of a new file is taken by a link, a pipe or a folder."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise DlrunError(f"{path}: not a regular file", "remove it")


class LockedError(DlrunError):
    """Says that another process holds the lock of a folder."""


@contextlib.contextmanager
def hold_file_lock(
    path: Path, *, on_wait: Callable[[], None] | None = None, patience: float = PROBE_SECONDS
) -> Iterator[None]:
    """Hold a file lock during a `with` block; the system releases the lock if the process dies.

    After `patience` seconds another process counts as its holder: then `on_wait` is called before
    waiting for it, or without `on_wait` LockedError is raised.
    """
    check_regular_file(path)
    from filelock import FileLock  # imports asyncio; only a run needs it

    lock = FileLock(path, thread_local=False)
    with warnings.catch_warnings():  # where flock is missing, filelock marks by a file, and warns
        warnings.simplefilter("ignore", UserWarning)
        try:
            lock.acquire(timeout=patience)
        except TimeoutError:
            if on_wait is None:
                problem = f"{path.parent}: another process is writing to it"
                raise LockedError(problem, "wait for it, or stop it") from None
            on_wait()
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def is_file_locked(path: Path) -> bool:
    """Look whether a running process holds a file lock, without creating or writing the file."""
    if path.is_symlink() or not path.is_file():
        return False
    try:
        if sys.platform == "win32":
            with hold_file_lock(path, patience=0):
                return False
        import fcntl

        with path.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (LockedError, BlockingIOError):
        return True
    except OSError:  # no right to read it, or no locks here
        return False
    return False
