"""Locks that the system lifts when their holder dies, whatever its process number or a reboot."""

import contextlib
import errno
import os
import stat
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

SHORT_SECONDS = 1.0  # somebody who only looks whether it is held lets go sooner


class LockedError(Exception):
    """Another process holds the lock."""


@contextlib.contextmanager
def hold_lock(
    path: Path, *, on_wait: Callable[[], None] | None = None, warn: Callable[[str], None]
) -> Iterator[Callable[[], bool]]:
    """Hold the lock while the block runs; what this yields tells whether its file is still ours.

    Args:
        path: of the lock's own file, which stays.
        on_wait: called once before waiting for another holder; without it HeldError is raised.
        warn: takes one sentence where the file system has no locks: the block runs without.

    Raises HeldError, or OSError where the file cannot be made, or something else has its name.
    """
    from filelock import FileLock, Timeout  # only a run needs it

    lock = FileLock(path, thread_local=False)
    with warnings.catch_warnings():  # where there is no flock, filelock marks by a file, and warns
        warnings.simplefilter("ignore", UserWarning)
        try:
            _acquire(lock, path, SHORT_SECONDS)
        except Timeout:
            if on_wait is None:
                raise LockedError(str(path)) from None
            on_wait()
            _acquire(lock, path)
        except NotImplementedError:
            warn(f"{path.parent}: this file system has no locks; start no second run on it there")
            yield lambda: True
            return
    try:
        mine = _identity(path)
        yield lambda: _identity(path) == mine
    finally:
        lock.release()


@contextlib.contextmanager
def lock_folder(path: Path) -> Iterator[None]:
    """Hold a folder itself while the block runs: unlike a lock's file, nobody removes it.

    Nothing is held where the system or the file system locks no folders. Raises HeldError.
    """
    if sys.platform == "win32":  # where nobody removes an open file either
        yield
        return
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            descriptor = os.open(path, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LockedError(str(path)) from None
        yield


def _acquire(lock: "BaseFileLock", path: Path, seconds: float = float("inf")) -> None:
    """Take the lock; a file that may not be written gives way to our own once nobody holds it.

    Raises Timeout, or OSError.
    """
    from filelock import Timeout

    until = time.monotonic() + seconds
    while True:
        left = max(0.0, until - time.monotonic())
        _require_file(path)
        try:
            lock.acquire(timeout=-1 if left == float("inf") else left)
            return
        except PermissionError:  # another user's
            if not path.exists():  # or a folder's that may not be written
                raise
            if not _is_held_by_another_user(path):
                path.unlink()
            elif left == 0:
                raise Timeout(str(path)) from None
            else:
                time.sleep(0.05)


def _require_file(path: Path) -> None:
    """Raises OSError where a link, a pipe or a folder has the name: none is followed or opened."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(path.lstat().st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock, whoever's it is."""
    if path.is_symlink() or not path.is_file():
        return False
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=0)
    try:
        with lock:
            return False
    except Timeout:
        return True
    except PermissionError:
        return _is_held_by_another_user(path)
    except (OSError, NotImplementedError):  # no locks here
        return False


def _is_held_by_another_user(path: Path) -> bool:
    """The same for a file that may not be written."""
    if sys.platform == "win32":
        return False  # there such a file cannot be asked
    try:
        import fcntl

        with path.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except PermissionError:
        return _is_listed(path)
    except (OSError, ImportError):
        return False
    return False


def _is_listed(path: Path) -> bool:
    """The same for a file that may not be read either: Linux lists all locks, by device and inode.

    The inode alone is compared: btrfs gives a file another device than the list does.
    """
    try:
        inode = str(path.stat().st_ino)
        lines = Path("/proc/locks").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return any(word.rpartition(":")[2] == inode for line in lines for word in line.split()[5:6])
