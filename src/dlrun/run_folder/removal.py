"""Removing runs: whole or not at all, and none that lives."""

import contextlib
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from dlrun.errors import DlrunError
from dlrun.run_folder.checkpoint import DAMAGED, NAME, PARTS, PREVIOUS
from dlrun.run_folder.find import newest_runs
from dlrun.run_folder.folder import LATEST, point_latest
from dlrun.run_folder.record import LOCK
from dlrun.system.files import sync_folder
from dlrun.system.locks import LockedError, hold_lock, lock_folder

_REMOVED = re.compile(r"\.removed-[0-9a-f]{8}")
# In this order: what is left after each still is a checkpoint, or none.
CHECKPOINTS = (NAME, PREVIOUS, DAMAGED, PARTS)


def remove_run(folder: Path, check: Callable[[], None]) -> None:
    """Remove a run's folder; killed meanwhile, it leaves a folder that nobody takes for a run.

    `check` is called once no other process can write the run any more; it raises where the run is
    not as it was when somebody chose to remove it. Raises DlrunError where the run lives or lies
    behind a link, or only a part of it could be removed; OSError.
    """
    if folder.is_symlink() or folder.parent.is_symlink():
        raise DlrunError(f"{folder}: behind a link: left alone", "remove it where it lies")
    away = folder.with_name(f".removed-{secrets.token_hex(4)}")
    with _locked(folder) as release:
        check()
        if sys.platform == "win32":
            release()  # a folder with an open file cannot be renamed there, so none that lives can
        folder.rename(away)
        sync_folder(folder.parent)
    try:
        shutil.rmtree(away)  # follows no links
    except OSError as error:
        if away.exists():  # another process has not removed it as a leftover
            raise DlrunError(
                f"{folder}: removed only in part: {error.filename}: {error.strerror}",
                f"the rest is in {away}; the next `dlrun runs clean` removes it, where it can",
            ) from None


def remove_checkpoints(folder: Path, check: Callable[[], None]) -> None:
    """Remove a run's checkpoints; as remove_run."""
    with _locked(folder):
        check()
        for name in CHECKPOINTS:
            (folder / name).unlink(missing_ok=True)
        sync_folder(folder)


def size_of_checkpoints(folder: Path) -> int:
    """Bytes that remove_checkpoints frees."""
    there = (folder / name for name in CHECKPOINTS)
    return sum(path.lstat().st_size for path in there if path.is_file())


def remove_leftovers(runs_dir: Path) -> Iterator[Path]:
    """Remove what removals left that were killed or failed; yields what is there all the same."""
    for folder in runs_dir.glob("*/.removed-*"):
        linked = folder.is_symlink() or folder.parent.is_symlink()
        if _REMOVED.fullmatch(folder.name) and not linked:
            shutil.rmtree(folder, ignore_errors=True)  # another process may be at it
            if folder.exists():
                yield folder


def repair_latest(runs_dir: Path, experiment: str) -> None:
    """Point `latest` at the newest run that is left, where the one that it names is gone."""
    latest = runs_dir / experiment / LATEST
    if latest.is_symlink():
        gone = not latest.exists()
    elif latest.is_file():
        gone = not _names_a_run(latest)
    else:
        return
    if gone:
        left = newest_runs(runs_dir, experiment)
        if left:
            point_latest(latest.parent, left[0].name)
        else:
            latest.unlink(missing_ok=True)


def _names_a_run(latest: Path) -> bool:
    """Whether a `latest` that is a text file names a folder that is there."""
    try:
        name = latest.read_text(encoding="utf-8").strip()
        return bool(name) and (latest.parent / name).exists()
    except (OSError, ValueError):  # damaged: no text, or none that a folder can have as its name
        return False


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[Callable[[], None]]:
    """Hold a run's lock; what this yields lets it go. Raises DlrunError where the run lives."""

    def refuse(why: str) -> None:
        raise DlrunError(why, "so nobody knows whether it lives: remove it by hand")

    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(hold_lock(folder / LOCK, warn=refuse))
            stack.enter_context(lock_folder(folder))
        except LockedError:
            raise DlrunError(f"{folder}: a living process writes this run: left alone") from None
        yield stack.close
