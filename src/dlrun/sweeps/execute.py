"""Execute a sweep: its plan says the points to run next, an executor runs them until all ended.

A sweep is waiting runs. The plan lists points: each is an experiment and a config. When an executor
hands a point out, `Sweep.run_to_resume` makes the folder of its run, whose state is `waiting`. To
execute the run is `dlrun resume FOLDER`: in a child process (`Processes`) or in a SLURM job
(`SlurmJobs`).
"""

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dlrun.errors import DlrunError, Stopped
from dlrun.runs.run import Run
from dlrun.sweeps.progress import SweepProgress
from dlrun.sweeps.sweep_folder import Sweep, SweepState
from dlrun.sweeps.sweep_plan import SweepPoint
from dlrun.system.console import Screen


@dataclass(frozen=True)
class EndedPoint:
    """Says how the run of a point has ended.

    folder: None if the run was never begun, so that it has no folder. error: why the run has
    failed, unless its record says that it has finished; empty if it was stopped.
    """

    point: SweepPoint
    folder: Path | None
    error: str = ""
    hint: str = ""  # what to do about the error


class Executor(Protocol):
    """Executes the runs of points, on this machine or on SLURM."""

    @property
    def has_room(self) -> bool:
        """Return whether another point would begin at once."""

    @property
    def is_idle(self) -> bool:
        """Return whether all points that were submitted have ended, or never begin."""

    def opened(self, progress: SweepProgress) -> AbstractContextManager[None]:
        """Be ready for work during a `with` block; at its end no process of the sweep is left.

        progress: shows which runs begin, and how far they are.
        """

    def submit(self, points: Sequence[SweepPoint]) -> None:
        """Take points to be executed, perhaps later."""

    def wait_for_ended(self) -> list[EndedPoint]:
        """Wait a moment, and return the points whose runs have ended meanwhile."""

    def stop(self, stopped: Stopped) -> None:
        """Stop at once after a signal that `wait_for_ended` raised, or raise it again."""


def execute_sweep(sweep: Sweep, state: SweepState, executor: Executor, screen: Screen) -> None:
    """Execute all points of a sweep that have not finished; the caller holds the sweep's lock.

    Points that are `taken` in the state are left out. Raises Interrupted or Terminated after a
    signal, once all processes have ended.
    """
    plan = sweep.plan
    points = [point for point in plan.points if point.number not in state.taken]
    done = sum(state.is_done(point) for point in points)
    progress = SweepProgress(plan, screen, len(points) + plan.runs_to_choose, done)
    if progress.ended == progress.total:
        return
    with executor.opened(progress), progress.drawn():
        hand_out_points(sweep, state, executor)
        while not executor.is_idle:
            try:
                for ended in executor.wait_for_ended():
                    _note_end(ended, state, progress, screen)
                    hand_out_points(sweep, state, executor)
            except Stopped as stopped:
                executor.stop(stopped)
    state.runs = sweep.find_runs()


def hand_out_points(sweep: Sweep, state: SweepState, executor: Executor) -> None:
    """Submit the next points of a sweep's plan to an executor, as long as it has room for them."""
    while executor.has_room:
        points = sweep.plan.next_points(state.runs, state.taken)
        sweep.write_plan()  # a search may have added them
        if not points:
            return
        state.taken.update(point.number for point in points)
        executor.submit(points)


def _note_end(
    ended: EndedPoint, state: SweepState, progress: SweepProgress, screen: Screen
) -> None:
    """Store and show how the run of a point has ended."""
    run = None
    if ended.folder is not None:
        with contextlib.suppress(DlrunError):  # removed or damaged
            run = Run.in_folder(ended.folder)
    number = ended.point.number
    if run is not None:
        state.runs[number] = run
    progress.end(ended.point, run, ended.error)
    if ended.error and not (run is not None and run.is_finished):
        state.failed[number] = ended.error
        screen.fail(f"point {number}: {ended.error}", ended.hint)
