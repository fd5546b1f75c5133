"""Find the folder of a run or a sweep by path, name or `latest`, and repair the link `latest`."""

import contextlib
import os
import shlex
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from dlrun.errors import ConfigError
from dlrun.runs.folder import (
    CONFIG,
    LATEST,
    PLAN,
    RESULTS,
    SWEEPS,
    RunFolderName,
    update_latest_link,
)
from dlrun.system.spelling import did_you_mean


def runs_newest_first(
    runs_dir: Path, experiment: str | None = None, *, damaged: bool = False
) -> list[Path]:
    """The folders of all runs, or of those of one experiment, are sorted from the newest.

    experiment: the name of a folder in runs_dir, or the path of another one. A run's folder has a
    config.yaml; `damaged` adds those that have a record or a run's name. Links and hidden folders
    are left out.
    """
    if experiment == "":  # of a shell's variable without a value
        return []
    parents = [runs_dir / experiment] if experiment else runs_dir.glob("*")
    folders = [_visible_folders(parent) for parent in parents if parent.name != SWEEPS]
    runs = [folder for folder in chain(*folders) if _is_run(folder, damaged=damaged)]
    return sorted(runs, key=_start_key, reverse=True)


def _visible_folders(parent: Path) -> list[Path]:
    """Links and hidden folders are left out; an unreadable folder has none."""
    # os.scandir knows links and folders without asking the system about each.
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        return [
            parent / entry.name
            for entry in entries
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
        ]
    return []


def _is_run(folder: Path, *, damaged: bool) -> bool:
    if os.access(folder / CONFIG, os.F_OK):
        return True
    return damaged and (bool(RunFolderName.of(folder).time) or (folder / RESULTS).exists())


def runs_below(folder: Path) -> list[Path]:
    """The folders of all runs in a folder, at any depth, are sorted by path; also damaged ones.

    A run's folder, and a folder that only has a run's name, is itself the only run.
    """
    runs: list[Path] = []
    for parent, folders, files in os.walk(folder):
        path = Path(parent)
        if {CONFIG, RESULTS} & set(files) or RunFolderName.of(path).time:
            runs.append(path)
            folders.clear()
        folders[:] = [name for name in folders if not name.startswith(".")]
    return sorted(runs)


class RunReference(NamedTuple):
    """Holds what a user wrote to name a run otherwise than by its folder, and its parts.

    `text` is NAME or EXPERIMENT/NAME, where NAME is a run's name, its suffix or `latest`. Without
    EXPERIMENT the experiment is None.
    """

    text: str
    experiment: str | None
    name: str

    @classmethod
    def parse(cls, text: str) -> "RunReference":
        experiment, slash, name = text.rpartition("/")
        return cls(text, experiment if slash else None, name)

    @property
    def is_newest(self) -> bool:
        # `/latest` is what a shell makes of $EXPERIMENT/latest without a value: it means no run.
        return self.name == LATEST and self.experiment != ""


def find_run(run: str, runs_dir: Path) -> Path:
    """The user names a run; its folder is found. Raises ConfigError if no such run exists.

    `run` is a folder; a name or suffix; `latest`, the run that began last. A name, a suffix or
    `latest` may follow `EXPERIMENT/`.
    """
    try:
        folder = Path(run).expanduser()
        if run and (folder / CONFIG).is_file():
            return folder.resolve()
        exists = bool(run) and folder.exists()
    except (OSError, RuntimeError, ValueError) as error:  # no permission, or no valid path
        raise ConfigError(f"{run!r}: no such run: {error}") from None
    reference = RunReference.parse(run)
    if reference.is_newest:
        return _find_newest_run(runs_dir, reference.experiment)
    if exists:
        raise_if_sweep(run, runs_dir)
        raise ConfigError(f"{run}: not a run's folder (no config.yaml in it)")
    return _find_run_by_name(reference, runs_dir)


def _find_newest_run(runs_dir: Path, experiment: str | None) -> Path:
    if runs := runs_newest_first(runs_dir, experiment):
        return runs[0].resolve()
    known = {path.parent.name for path in runs_newest_first(runs_dir)}
    name = experiment or ""
    problem = f"{runs_dir / name}: no runs here{did_you_mean(name, known)}"
    raise ConfigError(problem, "name a run's folder, or --runs-dir")


def _find_run_by_name(reference: RunReference, runs_dir: Path) -> Path:
    run = reference.text
    runs = runs_newest_first(runs_dir)
    candidates = [path for path in runs if reference.experiment in (None, path.parent.name)]
    by_name = [path for path in candidates if path.name == reference.name]
    by_suffix = [path for path in candidates if run_name_without_time(path) == reference.name]
    matches = by_name or (by_suffix if reference.name else [])
    if len(matches) == 1:
        return matches[0].resolve()
    if matches:
        full = shlex.join(f"{path.parent.name}/{path.name}" for path in matches[:5])
        raise ConfigError(f"{len(matches)} runs are named {run!r}", f"give a full name: {full}")
    raise_if_sweep(run, runs_dir)
    names = [LATEST, *sorted({f"{path.parent.name}/{LATEST}" for path in runs})]
    for path in runs:
        names += [path.name, run_name_without_time(path)]
    problem = f"{run!r}: no such run, neither here nor in {runs_dir}{did_you_mean(run, names)}"
    lists = shlex.join(["dlrun", "runs", "list", "--runs-dir", str(runs_dir)])
    raise ConfigError(problem, f"`{lists}` shows all; `latest` is the newest")


def repair_latest_link(runs_dir: Path, experiment: str) -> None:
    """Point the link `latest` at the newest run, if the run that it names was removed."""
    link = runs_dir / experiment / LATEST
    if not link.is_symlink():
        return
    if runs := runs_newest_first(runs_dir, experiment):
        update_latest_link(link.parent, runs[0].name)
    else:
        link.unlink()


def find_sweep(name: str, runs_dir: Path) -> Path:
    folder = find_sweep_or_none(name, runs_dir)
    if folder is not None:
        return folder
    names = [path.name for path in _sweeps_newest_first(runs_dir)]
    hint = f"there are {', '.join(names[:5])}" if names else f"there are no sweeps in {runs_dir}"
    raise ConfigError(f"{name!r}: no such sweep{did_you_mean(name, names)}", hint)


def find_sweep_or_none(name: str, runs_dir: Path) -> Path | None:
    """`name` is the name or the path of a sweep's folder, or `latest`."""
    sweeps = _sweeps_newest_first(runs_dir)
    if name == LATEST and sweeps:
        return sweeps[0]
    with contextlib.suppress(OSError):  # The name is too long.
        for folder in (runs_dir / SWEEPS / name, Path(name).absolute()):
            if name and (folder / PLAN).is_file():
                return folder
    return None


def _sweeps_newest_first(runs_dir: Path) -> list[Path]:
    plans = {path: path.stat().st_mtime_ns for path in runs_dir.glob(f"{SWEEPS}/*/{PLAN}")}
    return [path.parent for path in sorted(plans, key=plans.__getitem__, reverse=True)]


def raise_if_sweep(name: str, runs_dir: Path) -> None:
    """Raise ConfigError if a user gives a sweep's name as that of a run or an experiment."""
    sweep = find_sweep_or_none(name, runs_dir)
    if sweep is None:
        return
    words = ["dlrun", "runs", "list", "--where", f"sweep.name={sweep.name}"]
    lists = shlex.join([*words, "--runs-dir", str(sweep.parents[1])])
    raise ConfigError(f"{name!r} is a sweep, not a run", f"`{lists}` lists its runs")


def run_name_without_time(folder: Path) -> str:
    """The user chose the rest of the name, or it is a random number."""
    return RunFolderName.of(folder).rest


def _start_key(folder: Path) -> tuple[str, int, str]:
    """A run's name says the second of its start, and the time of its config the order within it."""
    written = 0
    with contextlib.suppress(OSError):
        written = (folder / CONFIG).stat().st_mtime_ns
    return RunFolderName.of(folder).time, written, folder.name
