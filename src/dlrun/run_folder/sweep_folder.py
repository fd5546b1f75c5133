"""The folder of a sweep's plan and results, `runs/sweeps/<name>/`; its runs are with the others."""

import contextlib
import secrets
from contextlib import AbstractContextManager
from pathlib import Path

from dlrun.errors import ConfigError, did_you_mean
from dlrun.run_folder.folder import LATEST, SWEEPS, RunFolder, check_name
from dlrun.system.console import Screen
from dlrun.system.files import hold_lock, sync_folder

PLAN = "sweep.json"
LOCK = "sweep.lock"


def new_sweep(runs_dir: Path, name: str | None) -> RunFolder:
    """Make a folder without a plan, with a random name if none is given.

    Raises ConfigError if a sweep of that name exists, or the folder cannot be made.
    """
    check_name(name)
    if name == LATEST:
        raise ConfigError(f"--name {LATEST}: means the newest sweep", "choose another")
    path = runs_dir / SWEEPS / (name or secrets.token_hex(4))
    check_new(path)
    try:
        made = [one for one in (path, *path.parents) if not one.exists()]
        path.mkdir(parents=True, exist_ok=True)
        for one in made:
            sync_folder(one.parent)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", "choose another --runs-dir") from None
    return RunFolder(path)


def check_new(folder: Path) -> None:
    """Raise ConfigError if a folder holds a sweep."""
    if (folder / PLAN).exists():
        raise ConfigError(
            f"{folder}: a sweep of that name exists",
            f"`dlrun sweep --resume {folder.name}` continues it; or choose another --name",
        )


def sweeps_in(runs_dir: Path) -> list[Path]:
    """Return the folders of all sweeps, the newest first."""
    plans = {path: path.stat().st_mtime_ns for path in runs_dir.glob(f"{SWEEPS}/*/{PLAN}")}
    return [path.parent for path in sorted(plans, key=lambda path: plans[path], reverse=True)]


def find_sweep(name: str, runs_dir: Path) -> Path:
    """Return the folder of a sweep by its name, its folder, or `latest`. Raises ConfigError."""
    there = sweeps_in(runs_dir)
    if name == LATEST and there:
        return there[0]
    for folder in (runs_dir / SWEEPS / name, Path(name).expanduser().absolute()):
        with contextlib.suppress(OSError):  # too long a name
            if name and (folder / PLAN).is_file():
                return folder
    names = [path.name for path in there]
    hint = f"there are {', '.join(names[:5])}" if names else f"there are no sweeps in {runs_dir}"
    raise ConfigError(f"{name!r}: no such sweep{did_you_mean(name, names)}", hint)


def held_sweep(folder: Path, screen: Screen) -> AbstractContextManager[None]:
    """Lock a sweep for a block. Raises LockedError if another process has it."""
    return hold_lock(folder / LOCK, warn=screen.warn)
