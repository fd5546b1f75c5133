"""Execute a sweep: the sweep says the points to run next, an executor runs them until all ended.

A sweep is waiting runs. The plan lists points: each is an experiment and a config. When an executor
has a place for a point, `Sweep.run_to_resume` makes the folder of its run, whose state is
`waiting`, and the executor gets the run. To execute the run is `dlrun resume FOLDER`: in a child
process (`Processes`) or in a SLURM job (`SlurmJobs`).
"""

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from dlrun.errors import DlrunError, Stopped, as_known_error
from dlrun.runs.new_run import remove_unless_begun
from dlrun.runs.run import Run
from dlrun.sweeps.progress import SweepProgress
from dlrun.sweeps.sweep_plan import SweepPoint
from dlrun.sweeps.sweep_runs import Sweep, SweepState
from dlrun.system.console import Screen


class SweepRun(NamedTuple):
    """Holds a point of a sweep, and the run of this point that is to be executed."""

    point: SweepPoint
    run: Run


@dataclass(frozen=True)
class EndedRun:
    """Says how the run of a point has ended.

    error_if_unfinished: why the run has failed, unless its record says that it has finished; empty
    if it was stopped.
    """

    point: SweepPoint
    folder: Path
    error_if_unfinished: str = ""
    hint: str = ""  # what to do about the error


class Executor(Protocol):
    """Executes runs that wait or were stopped, on this machine or on SLURM."""

    @property
    def places(self) -> int | None:
        """So many more runs would begin at once; None: the executor takes any number."""

    @property
    def is_idle(self) -> bool:
        """All runs that the executor took have ended."""

    def opened(self, progress: SweepProgress) -> AbstractContextManager[None]:
        """Be ready for work during a `with` block; at its end no process of the sweep is left.

        progress: shows which runs begin, and how far they are.
        """

    def take_over(self, point: SweepPoint, run: Run) -> bool:
        """An earlier command may have begun the run; then it is watched from now on."""

    def submit(self, runs: Sequence[SweepRun]) -> None:
        """Take runs to be executed, no more than there are places."""

    def wait_for_ended(self) -> list[EndedRun]:
        """Wait a moment, and return the runs that have ended meanwhile."""

    def stop(self, stopped: Stopped) -> None:
        """Stop at once after a signal that `wait_for_ended` raised, or raise it again."""


def execute_sweep(sweep: Sweep, state: SweepState, executor: Executor, screen: Screen) -> None:
    """Execute all points of a sweep that have not finished; the caller holds the sweep's lock.

    Points that are `taken` in the state are left out. Raises InterruptedByUser or Terminated after
    a signal, once all processes have ended.
    """
    execution = _Execution.begin(sweep, state, executor, screen)
    if execution.progress.ended == execution.progress.total:
        return
    with executor.opened(execution.progress), execution.progress.drawn():
        execution.submit_next_points()
        while not executor.is_idle:
            try:
                for ended in executor.wait_for_ended():
                    execution.note_end(ended)
                    execution.submit_next_points()
            except Stopped as stopped:
                executor.stop(stopped)
    state.runs = sweep.find_runs()


def submit_sweep(sweep: Sweep, state: SweepState, executor: Executor, screen: Screen) -> None:
    """Hand out the points of a sweep that have not finished, and do not wait for their runs."""
    _Execution.begin(sweep, state, executor, screen).submit_next_points()


@dataclass(frozen=True)
class _Execution:
    """Hands the points of a sweep to an executor, and notes in the state how their runs end."""

    sweep: Sweep
    state: SweepState
    executor: Executor
    progress: SweepProgress

    @classmethod
    def begin(
        cls, sweep: Sweep, state: SweepState, executor: Executor, screen: Screen
    ) -> "_Execution":
        """Some points of the sweep may have finished before."""
        points = [point for point in sweep.plan.points if point.number not in state.taken]
        done = sum(state.is_done(point) for point in points)
        total = len(points) + sweep.plan.unchosen_runs
        return cls(sweep, state, executor, SweepProgress(sweep.plan, screen, total, done))

    def submit_next_points(self) -> None:
        """Make the runs of the next points of the plan, and hand them to the executor.

        This is repeated as long as the executor has places, and the plan has points.
        """
        while self.executor.places != 0:
            points = self.sweep.next_points(self.state.runs, self.state.taken)
            points = points[: self.executor.places]
            if not points:
                return
            self.state.taken.update(point.number for point in points)
            self._submit(points)

    def _submit(self, points: Sequence[SweepPoint]) -> None:
        runs: list[SweepRun] = []
        with _removed_if_refused(runs):
            for point in points:
                known = self.state.runs.get(point.number)
                if known is not None and self.executor.take_over(point, known):
                    continue
                try:
                    run = self.sweep.run_to_resume(point, known)
                except (DlrunError, OSError) as error:  # such as a full disk: only this point fails
                    self._note_failure(point, error)
                else:
                    runs.append(SweepRun(point, run))
            self.executor.submit(runs)

    def _note_failure(self, point: SweepPoint, error: Exception) -> None:
        known = as_known_error(error)
        assert known is not None
        self.progress.end(point, None, known.message)
        self.state.fail(point, known.message, known.hint, self.progress.screen)

    def note_end(self, ended: EndedRun) -> None:
        run = None
        with contextlib.suppress(DlrunError):  # removed or damaged
            run = Run.in_folder(ended.folder)
            self.state.runs[ended.point.number] = run
        self.progress.end(ended.point, run, ended.error_if_unfinished)
        if ended.error_if_unfinished and not (run is not None and run.is_finished):
            self.state.fail(
                ended.point, ended.error_if_unfinished, ended.hint, self.progress.screen
            )


@contextlib.contextmanager
def _removed_if_refused(runs: Sequence[SweepRun]) -> Iterator[None]:
    """Leave no folder of a run that nobody executes, if an error or a signal ends the block."""
    try:
        yield
    except BaseException:
        for planned in runs:
            remove_unless_begun(planned.run.folder)
        raise
