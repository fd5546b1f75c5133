"""Locks that the system lifts when their holder dies, whatever its process number or a reboot."""

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

SHORT_SECONDS = 1.0  # somebody who only looks whether it is held lets go sooner


class HeldError(Exception):
    """Another process holds the lock."""


@contextlib.contextmanager
def held(
    path: Path, *, on_wait: Callable[[], None] | None = None, warn: Callable[[str], None]
) -> Iterator[Callable[[], bool]]:
    """Hold the lock while the block runs; what this yields tells whether its file is still ours.

    Args:
        path: of the lock's own file, which stays.
        on_wait: called once before waiting for another holder; without it HeldError is raised.
        warn: takes one sentence where the file system has no locks: the block runs without.

    Raises HeldError, or OSError where the file cannot be made.
    """
    from filelock import FileLock, Timeout  # only a run needs it

    lock = FileLock(path, thread_local=False)
    with warnings.catch_warnings():  # where there is no flock, filelock marks by a file, and warns
        warnings.simplefilter("ignore", UserWarning)
        try:
            lock.acquire(timeout=SHORT_SECONDS)
        except Timeout:
            if on_wait is None:
                raise HeldError(str(path)) from None
            on_wait()
            lock.acquire()
        except NotImplementedError:
            warn(f"{path.parent}: this file system has no locks; start no second run on it there")
            yield lambda: True
            return
    try:
        mine = _identity(path)
        yield lambda: _identity(path) == mine
    finally:
        lock.release()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock, whoever's it is."""
    if not path.is_file():
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
    """The same for a file that may only be read."""
    if sys.platform == "win32":
        return False  # there a file that cannot be written cannot be asked
    try:
        import fcntl

        with path.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (OSError, ImportError):
        return False
    return False
