"""The state of a sweep's points, read from the records of their runs."""

import contextlib
import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from dlrun.errors import DlrunError, Stopped
from dlrun.experiments.run import Run
from dlrun.run_folder.folder import LOCK, LOG, is_own_folder, runs_in
from dlrun.run_folder.record import ENVIRONMENT, RESULTS
from dlrun.run_folder.removal import remove_run
from dlrun.sweeps.plan import Plan, Point, Sweep
from dlrun.system.console import Screen, pluralize
from dlrun.system.files import is_locked, read_regular

PATIENCE_SECONDS = 60.0  # for the step that the runs of a killed sweep end


@dataclass
class SweepState:
    """The points' runs, and why others failed, by number; `stopped`: what ended the sweep early."""

    runs: dict[int, Run]
    failed: dict[int, str] = field(default_factory=dict)
    stopped: Stopped | None = None


def runs_by_point(sweep: Sweep) -> dict[int, Run]:
    """Return the runs of all points that have one, by number; a run may have been renamed."""
    return _members(sweep.plan, runs_in(sweep.runs_dir, sweep.plan.experiment))


def run_of(sweep: Sweep, point: Point, known: Run | None = None) -> Run | None:
    """Return the run of a point that has just ended; `known` is its run before, if any."""
    folders = _folders(sweep).get(point.number, []) + ([known.folder] if known else [])
    return _members(sweep.plan, folders).get(point.number)


def is_done(run: Run | None, epochs: int | None = None) -> bool:
    """Return if a run has its result, of at least so many epochs if a number is given."""
    if run is None or run.record.result_steps is None:
        return False
    if epochs is None:
        return run.record.status == "finished"
    return run.record.result_steps >= epochs


def clear_leftovers(sweep: Sweep, screen: Screen) -> None:
    """Wait for runs that a killed sweep has left, and remove folders that hold no run yet.

    Raises DlrunError if such a run does not end.
    """
    folders = []
    for folder in (folder for found in _folders(sweep).values() for folder in found):
        if os.access(folder, os.R_OK | os.X_OK):
            folders.append(folder)
        else:
            screen.warn(f"{folder}: cannot be read, left out")
    until, announced = time.monotonic() + PATIENCE_SECONDS, False
    while busy := [folder for folder in folders if is_locked(folder / LOCK)]:
        if time.monotonic() > until:
            raise DlrunError(
                f"{busy[0]}: another process is still writing to this run",
                "wait for its end, or end it",
            )
        if not announced:
            screen.note(f"waiting for {pluralize(len(busy), 'run')} to end a step")
            announced = True
        time.sleep(0.1)
    for folder in folders:
        names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
        # Killed before it had its first files; nothing else is ours to remove.
        if names <= {ENVIRONMENT, RESULTS, LOCK, LOG}:
            with contextlib.suppress(DlrunError, OSError):
                remove_run(folder, lambda: None)


def _folders(sweep: Sweep) -> dict[int, list[Path]]:
    """Return the folders named for a point, by its number; a taken name has a random suffix."""
    pattern = re.compile(rf"\d{{8}}T\d{{6}}Z-{re.escape(sweep.plan.name)}-(\d+)(-[0-9a-f]{{4}})?")
    found: dict[int, list[Path]] = {}
    parent = sweep.runs_dir / sweep.plan.experiment
    for folder in sorted(parent.iterdir()) if parent.is_dir() else []:
        named = pattern.fullmatch(folder.name)
        if named and folder.is_dir() and is_own_folder(folder):
            found.setdefault(int(named[1]), []).append(folder)
    return found


def _members(plan: Plan, folders: Iterable[Path]) -> dict[int, Run]:
    """Return the runs of this plan; of several of one point, as a copy, the most advanced."""
    found: dict[int, Run] = {}
    for folder in sorted(folders):
        try:
            path = folder / RESULTS
            # Most runs are of other sweeps: to search a text is faster than to read a record.
            if plan.id.encode() not in read_regular(path):
                continue
            run = Run.in_folder(folder)
        except (OSError, DlrunError):
            continue  # damaged: the point is run again, and `dlrun runs check` names it
        member = run.record.sweep
        if member is None or member.id != plan.id or not 0 < member.point <= len(plan.points):
            continue
        other = found.get(member.point)
        if other is None or _progress(run) > _progress(other):
            found[member.point] = run
    return found


def _progress(run: Run) -> tuple[bool, int]:
    return run.record.status == "finished", run.record.result_steps or run.record.steps or 0
