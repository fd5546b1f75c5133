"""How far each point of a sweep is: its run, found among all others by what its record says."""

import contextlib
import glob
import time
from collections.abc import Iterable
from pathlib import Path

from dlrun.errors import DlrunError
from dlrun.run_folder.folder import LOG, is_own_folder, runs_in
from dlrun.run_folder.record import ENVIRONMENT, LOCK, MAX_BYTES, RESULTS
from dlrun.run_folder.removal import remove_run
from dlrun.run_folder.stored_run import StoredRun, open_stored
from dlrun.sweeps.plan import Plan, Point, Sweep
from dlrun.sweeps.pool import LOCKS
from dlrun.system.console import Screen, pluralize
from dlrun.system.files import read_regular
from dlrun.system.locks import is_locked

PATIENCE = 60.0  # seconds for the end of a step of workers whose sweep was killed


def runs_by_point(planned: Sweep) -> dict[int, StoredRun]:
    """The runs of all points that have one, by the points' numbers, renamed ones too."""
    return _belonging(planned.plan, runs_in(planned.runs_dir, planned.plan.experiment))


def run_of(planned: Sweep, point: Point) -> StoredRun | None:
    """The run of a point, which has just been done."""
    return _belonging(planned.plan, _named(planned, point)).get(point.number)


def done(run: StoredRun | None, epochs: int | None) -> bool:
    """Whether a run has its result, of so many epochs at least where a number is given."""
    if run is None or run.record.result_steps is None:
        return False
    if epochs is None:
        return run.record.status == "finished"
    return run.record.result_steps >= epochs


def clear_leftovers(planned: Sweep, screen: Screen) -> None:
    """Wait for what is left of an earlier process, and remove folders that hold no run yet."""
    _wait(planned, screen)
    for point in planned.plan.points:
        for folder in _named(planned, point):
            try:
                nothing = folder.is_dir() and _holds_nothing(folder)
            except OSError as error:
                screen.warn(f"{folder}: cannot be read, left out: {error.strerror}")
                continue
            if nothing:
                with contextlib.suppress(DlrunError, OSError):  # not ours to remove
                    remove_run(folder, lambda: None)


def _wait(planned: Sweep, screen: Screen) -> None:
    """Workers whose sweep was killed end their step. Raises DlrunError where one does not."""
    until, said = time.monotonic() + PATIENCE, False
    while held := [path for path in planned.folder.glob(LOCKS) if is_locked(path)]:
        if time.monotonic() > until:
            raise DlrunError(
                f"{planned.folder}: {pluralize(len(held), 'worker')} of this sweep still at work",
                "wait for its end, or end it",
            )
        if not said:
            screen.note(f"waiting for {pluralize(len(held), 'worker')} that are ending")
            said = True
        time.sleep(0.1)
    for path in planned.folder.glob(LOCKS):
        path.unlink(missing_ok=True)


def _holds_nothing(folder: Path) -> bool:
    """Whether a run was killed before it had its first files; nothing else is ours to remove."""
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    return names <= {ENVIRONMENT, RESULTS, LOCK, LOG}


def _named(planned: Sweep, point: Point) -> list[Path]:
    """The folders that a point's run may have made; a taken name got a random suffix more."""
    name = glob.escape(planned.plan.run_name(point))
    experiment = planned.runs_dir / planned.plan.experiment
    found = [*experiment.glob(f"*Z-{name}"), *experiment.glob(f"*Z-{name}-????")]
    return [folder for folder in found if is_own_folder(folder)]


def _belonging(plan: Plan, folders: Iterable[Path]) -> dict[int, StoredRun]:
    """Of two that are of one point, as a copy, the one that is further."""
    found: dict[int, StoredRun] = {}
    mark = plan.id.encode()
    for folder in sorted(folders):
        try:
            path = folder / RESULTS
            if path.stat().st_size > MAX_BYTES or mark not in read_regular(path):
                continue
            run = open_stored(folder)
        except (OSError, DlrunError):
            continue  # damaged: the point is done anew, and `dlrun runs check` names it
        member = run.record.sweep
        if member is None or member.id != plan.id or not 0 < member.point <= len(plan.points):
            continue
        other = found.get(member.point)
        if other is None or _far(run) > _far(other):
            found[member.point] = run
    return found


def _far(run: StoredRun) -> tuple[bool, int]:
    return run.record.status == "finished", run.record.result_steps or run.record.steps or 0
