"""Remove runs or their checkpoints, but never those of a run that is running."""

import shutil
from collections.abc import Callable
from pathlib import Path

from dlrun.errors import DlrunError
from dlrun.run_folder.checkpoint import CHECKPOINTS
from dlrun.run_folder.find import runs_newest_first
from dlrun.run_folder.folder import LATEST, LOCK, update_latest_link
from dlrun.run_folder.record import RESULTS
from dlrun.system.files import hold_file_lock, sync_folder


def remove_run(folder: Path, check: Callable[[], None]) -> None:
    """Remove the folder of a run, its record first, so that a half-removed run counts as damaged.

    `check` is called once the run is locked; it raises if the run has changed since it was chosen.
    Raises DlrunError if the run is running or behind a link, OSError if a file cannot be removed.
    """
    if folder.is_symlink() or folder.parent.is_symlink():
        raise DlrunError(
            f"{folder}: behind a link, so it is kept", "remove the folder behind the link"
        )
    with hold_file_lock(folder / LOCK):
        check()
        (folder / RESULTS).unlink(missing_ok=True)
        sync_folder(folder)
    # Now a resume finds no record. A system may not remove the lock's file while it is held.
    shutil.rmtree(folder)


def remove_checkpoints(folder: Path, check: Callable[[], None]) -> None:
    """Remove a run's checkpoints, unless `check` raises an error or the run's lock is held."""
    with hold_file_lock(folder / LOCK):
        check()
        for name in CHECKPOINTS:
            (folder / name).unlink(missing_ok=True)
        sync_folder(folder)


def size_of_checkpoints(folder: Path) -> int:
    """Return the size in bytes of a run's checkpoints, which remove_checkpoints would free."""
    paths = (folder / name for name in CHECKPOINTS)
    return sum(path.lstat().st_size for path in paths if path.is_file())


def repair_latest_link(runs_dir: Path, experiment: str) -> None:
    """Point `latest` at the newest remaining run, if the run that it names was removed."""
    latest = runs_dir / experiment / LATEST
    if latest.exists():
        return
    if runs := runs_newest_first(runs_dir, experiment):
        update_latest_link(latest.parent, runs[0].name)
    elif latest.is_symlink():
        latest.unlink()
