"""File locks that the operating system releases when the process that holds them dies."""

import contextlib
import errno
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from dlrun.errors import DlrunError

SHORT_SECONDS = 1.0  # a process that only tests the lock releases it sooner


class LockedError(DlrunError):
    """Another process holds the lock of a folder."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path.parent}: another process is writing to it", "wait for it, or stop it"
        )


@contextlib.contextmanager
def hold_lock(
    path: Path, *, on_wait: Callable[[], None] | None = None, warn: Callable[[str], None]
) -> Iterator[None]:
    """Hold a lock while the block runs.

    Args:
        path: of the lock's own file, which stays.
        on_wait: called once before waiting for another holder; without it LockedError is raised.
        warn: takes one sentence if the file system has no locks: the block runs without one.

    Raises LockedError, or OSError if the file cannot be made or the path is not a regular file.
    """
    from filelock import FileLock, Timeout  # imports asyncio; only a run needs it

    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    lock = FileLock(path, thread_local=False)
    with warnings.catch_warnings():  # without flock, filelock marks by a file, and warns
        warnings.simplefilter("ignore", UserWarning)
        try:
            lock.acquire(timeout=SHORT_SECONDS)
        except Timeout:
            if on_wait is None:
                raise LockedError(path) from None
            on_wait()
            lock.acquire()
        except NotImplementedError:
            warn(f"{path.parent}: this file system has no locks. Start no second run in it.")
            yield
            return
    try:
        yield
    finally:
        lock.release()


def is_locked(path: Path) -> bool:
    """Return whether a living process holds the lock; the file is neither made nor written."""
    if path.is_symlink() or not path.is_file():
        return False
    if sys.platform == "win32":
        from filelock import FileLock, Timeout

        try:
            with FileLock(path, timeout=0):
                return False
        except Timeout:
            return True
    import fcntl

    try:
        with path.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no right to read it, or no locks here
        return False
    return False
