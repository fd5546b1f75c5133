"""Execute the runs of a sweep in SLURM jobs, which are one job array."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from dlrun.errors import DlrunError, InterruptedByUser, Stopped
from dlrun.runs.options import RunOptions
from dlrun.runs.record import read_run_record
from dlrun.runs.run import Run
from dlrun.slurm.submit import SlurmOptions, submit_runs
from dlrun.slurm.watch import jobs_in_queue, read_job_id, watch_jobs
from dlrun.sweeps.execute import EndedRun, SweepRun
from dlrun.sweeps.progress import SweepProgress
from dlrun.sweeps.sweep_plan import SweepPoint
from dlrun.sweeps.sweep_runs import Sweep
from dlrun.system.console import Screen
from dlrun.system.text import pluralize


@dataclass
class SlurmJobs:
    """Executes runs in SLURM jobs. A signal ends the waiting for them, not the jobs.

    job_ids: the ids of the jobs, such as `17_2`, by the folder of their run.
    """

    sweep: Sweep
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
    def places(self) -> None:
        """SLURM takes any number of runs."""

    @property
    def is_idle(self) -> bool:
        return not self._points

    def take_over(self, point: SweepPoint, run: Run) -> bool:
        """A run whose job is in SLURM's queue is watched from now on."""
        job_id = read_job_id(run.folder)
        if not job_id:
            return False
        is_queued = self._queue is None or job_id in self._queue
        if is_queued:
            self._watch(point, run.folder.absolute(), job_id)
        return is_queued

    @cached_property
    def _queue(self) -> set[str] | None:
        """SLURM is asked once for the ids of the jobs in its queue; None: it does not say."""
        return jobs_in_queue()

    def submit(self, runs: Sequence[SweepRun]) -> None:
        """Submit a job for each run, as one job array. Raises ConfigError if SLURM refuses it."""
        if runs:
            others = f"; {len(self.job_ids)} are in the queue" if self.job_ids else ""
            plan = self.sweep.plan
            name = f"{','.join(plan.experiment_names)} {plan.name}"
            folder = self.sweep.folder.absolute()
            to_resume = [planned.run for planned in runs]
            submitted = submit_runs(to_resume, self.options, self.slurm_options, name, folder)
            for planned, (run_folder, job_id) in zip(runs, submitted.items(), strict=True):
                self._watch(planned.point, run_folder, job_id)
            self.screen.note(f"submitted {pluralize(len(runs), 'point')} as SLURM jobs{others}")
        self._exit_codes = watch_jobs(self.job_ids)

    def _watch(self, point: SweepPoint, run_folder: Path, job_id: str) -> None:
        self.job_ids[run_folder] = job_id
        self._points[run_folder] = point

    def wait_for_ended(self) -> list[EndedRun]:
        """Wait a moment, and return the runs whose jobs have ended meanwhile."""
        ended: list[EndedRun] = []
        for run_folder, code in next(self._exit_codes, {}).items():
            how = "left SLURM's queue" if code is None else "ended"
            error = f"job {self.job_ids[run_folder]} {how} without a result"
            with contextlib.suppress(DlrunError):  # a damaged record
                error = read_run_record(run_folder).error or error
            ended.append(EndedRun(self._points.pop(run_folder), run_folder, error))
        return ended

    def stop(self, stopped: Stopped) -> None:
        """End the waiting, and say how to end the jobs."""
        if isinstance(stopped, InterruptedByUser):
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
        """The ids of the job arrays are joined for a shell."""
        return ", ".join(sorted({job_id.partition("_")[0] for job_id in self.job_ids.values()}))
