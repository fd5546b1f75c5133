"""Execute the runs of a sweep in SLURM jobs, which are one job array."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dlrun.errors import DlrunError, Interrupted, Stopped
from dlrun.runs.new_run import remove_new_run
from dlrun.runs.options import RunOptions
from dlrun.runs.record import read_run_record
from dlrun.runs.run import Run
from dlrun.slurm.submit import SlurmOptions, submit_runs, write_job_ids
from dlrun.slurm.watch import jobs_in_queue, read_job_id, watch_jobs
from dlrun.sweeps.execute import EndedPoint
from dlrun.sweeps.progress import SweepProgress
from dlrun.sweeps.sweep_folder import Sweep, SweepState
from dlrun.sweeps.sweep_plan import SweepPoint
from dlrun.system.console import Screen, pluralize


@dataclass
class SlurmJobs:
    """Executes runs in SLURM jobs. A signal ends the waiting for them, not the jobs.

    job_ids: the ids of the jobs, such as `17_2`, by the folder of their run.
    """

    sweep: Sweep
    state: SweepState
    screen: Screen
    slurm_options: SlurmOptions
    options: RunOptions
    job_ids: dict[Path, str] = field(default_factory=dict)
    _points: dict[Path, SweepPoint] = field(default_factory=dict)  # those that have not ended
    _exit_codes: Iterator[Mapping[Path, int | None]] = field(default_factory=lambda: iter(()))

    @contextlib.contextmanager
    def opened(self, progress: SweepProgress) -> Iterator[None]:
        """Do nothing: SLURM is ready, and shows by itself which jobs have begun."""
        yield

    @property
    def has_room(self) -> bool:
        """Return whether nothing is submitted yet: all points are one job array."""
        return not self.job_ids

    @property
    def is_idle(self) -> bool:
        """Return whether all jobs have ended."""
        return not self._points

    def submit(self, points: Sequence[SweepPoint]) -> None:
        """Submit a job for each point, unless one is in the queue; ConfigError if SLURM refuses."""
        queued = jobs_in_queue()
        to_submit: list[SweepPoint] = []
        for point in points:
            run = self.state.runs.get(point.number)
            job_id = read_job_id(run.folder) if run else None
            if run is not None and job_id and (queued is None or job_id in queued):
                self._watch(point, run.folder.absolute(), job_id)
            else:
                to_submit.append(point)
        if to_submit:
            others = f"; {len(self.job_ids)} are in the queue" if self.job_ids else ""
            self._submit_array(to_submit)
            self.screen.note(
                f"submitted {pluralize(len(to_submit), 'point')} as SLURM jobs{others}"
            )
        self._exit_codes = watch_jobs(self.job_ids)

    def _submit_array(self, points: Sequence[SweepPoint]) -> None:
        """Submit a job array with a job for each point; if that fails, no new run is left."""
        plan = self.sweep.plan
        name = f"{plan.experiment} {plan.name}"
        runs: list[Run] = []
        with contextlib.ExitStack() as undo:
            for point in points:
                known = self.state.runs.get(point.number)
                run = self.sweep.run_to_resume(point, known)
                runs.append(run)
                if run is not known:
                    undo.callback(remove_new_run, run.folder)
            folder = self.sweep.folder.absolute()
            submitted = submit_runs(runs, self.options, self.slurm_options, name, folder)
            undo.pop_all()  # SLURM has accepted the jobs
        write_job_ids(submitted)
        for point, (run_folder, job_id) in zip(points, submitted.items(), strict=True):
            self._watch(point, run_folder, job_id)

    def _watch(self, point: SweepPoint, run_folder: Path, job_id: str) -> None:
        self.job_ids[run_folder] = job_id
        self._points[run_folder] = point

    def wait_for_ended(self) -> list[EndedPoint]:
        """Wait a moment, and return the points whose jobs have ended meanwhile."""
        ended: list[EndedPoint] = []
        for run_folder, code in next(self._exit_codes, {}).items():
            how = "left SLURM's queue" if code is None else "ended"
            error = f"job {self.job_ids[run_folder]} {how} without a result"
            with contextlib.suppress(DlrunError):  # a damaged record
                error = read_run_record(run_folder).error or error
            ended.append(EndedPoint(self._points.pop(run_folder), run_folder, error))
        return ended

    def stop(self, stopped: Stopped) -> None:
        """End the waiting, and say how to end the jobs."""
        if isinstance(stopped, Interrupted):
            self.screen.note(f"the jobs continue; `scancel {self._arrays}` ends them")
        raise stopped

    def show_submission(self, again: str, *, json: bool) -> None:
        """Print the submitted jobs, and the command that continues the sweep later."""
        folder = str(self.sweep.folder)
        if json:
            ids = {str(run_folder): job_id for run_folder, job_id in self.job_ids.items()}
            about = {"status": "waiting", "sweep": self.sweep.plan.name, "folder": folder}
            self.screen.print_json(about | {"jobs": ids})
            return
        self.screen.note(f"`{again}` submits what is missing by then, and shows the table")
        self.screen.show_labelled(("sweep", folder), ("jobs", self._arrays))

    @property
    def _arrays(self) -> str:
        """Return the ids of the job arrays."""
        return ", ".join(sorted({job_id.partition("_")[0] for job_id in self.job_ids.values()}))
