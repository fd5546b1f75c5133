"""Runs the points of a sweep as a job array of SLURM: an element for each point not done."""

import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from rich.text import Text

from dlrun.config.sections import ExperimentConfig
from dlrun.errors import ConfigError, DlrunError, Interrupted
from dlrun.experiments.run import Run
from dlrun.run_context import RunSettings
from dlrun.run_folder.folder import RunFolder, to_json
from dlrun.run_folder.removal import repair_latest
from dlrun.slurm.job import NUMBER, SLURM_FOLDER, Job
from dlrun.slurm.options import SlurmOptions
from dlrun.slurm.submit import check_slurm, job_of, submit_jobs, write_waiting_run
from dlrun.slurm.watch import TICK, Queue, WatchedJob
from dlrun.sweeps.plan import Sweep
from dlrun.sweeps.runner import point_line, result_of
from dlrun.sweeps.state import SweepState, is_done, run_of, runs_by_point
from dlrun.system.console import Screen, pluralize


def check(slurm: SlurmOptions) -> None:
    """Raise ConfigError if nothing can be submitted, or a point would be several processes."""
    check_slurm()
    for key in ("nodes", "tasks"):
        if getattr(slurm, key) not in (None, 1):
            raise ConfigError(f"--slurm {key}: a sweep's point is one process", "leave it out")


def submit(
    sweep: Sweep,
    configs: Sequence[ExperimentConfig],
    slurm: SlurmOptions,
    options: RunSettings,
    screen: Screen,
) -> dict[int, WatchedJob]:
    """Submit all points that are neither done nor queued; return the jobs of those not done.

    Raises ConfigError if SLURM refuses them; then no new run is left.
    """
    plan, queue = sweep.plan, Queue()
    runs = runs_by_point(sweep)
    queued: dict[int, tuple[Path, str]] = {}
    jobs: dict[int, Job] = {}
    made: list[RunFolder] = []
    runs_dir = sweep.runs_dir.absolute()
    try:
        for point, config in zip(plan.points, configs, strict=True):
            run = runs.get(point.number)
            if is_done(run):
                continue
            if run is not None:
                if (job := _job_number(run)) and queue.has(job):
                    queued[point.number] = run.folder, job
                else:
                    jobs[point.number] = job_of(run.folder.absolute(), options)
                continue
            folder = RunFolder.claim(runs_dir, plan.experiment, plan.run_name(point))
            made.append(folder)
            member = replace(options, sweep=plan.member(point))
            write_waiting_run(plan.experiment, config, folder, screen, member)
            jobs[point.number] = job_of(folder.path, options)
        if jobs:
            name = f"{plan.experiment} {plan.name}"
            folder_of_jobs = sweep.folder.absolute() / SLURM_FOLDER
            numbers = submit_jobs([*jobs.values()], folder_of_jobs, slurm, name)
            array = numbers[0].partition("_")[0]
            more = f"; {len(queued)} are in the queue" if queued else ""
            screen.note(f"submitted {pluralize(len(jobs), 'point')} as job {array}{more}")
            for (number, one), job in zip(jobs.items(), numbers, strict=True):
                queued[number] = Path(one.run), job
    except BaseException:
        for folder in made:
            shutil.rmtree(folder.path)
        repair_latest(runs_dir, plan.experiment)
        raise
    queue = Queue()  # the first one does not know the new jobs
    return {number: WatchedJob(run, job, queue) for number, (run, job) in queued.items()}


def _job_number(run: Run) -> str | None:
    """Return the number of the job that the run was submitted as; None if it was not."""
    with suppress(OSError):
        return (run.folder / SLURM_FOLDER / NUMBER).read_text(encoding="utf-8").strip()
    return None


def show(sweep: Sweep, watched: dict[int, WatchedJob], screen: Screen, *, json: bool) -> None:
    """Show what was submitted and is not waited for."""
    plan = sweep.plan
    if json:
        jobs = {str(number): one.job for number, one in sorted(watched.items())}
        about = {"status": "waiting", "sweep": plan.name, "folder": str(sweep.folder)}
        screen.out.file.write(to_json(about | {"jobs": jobs}))
        return
    again = f"dlrun sweep --resume {plan.name} --slurm ... --wait"
    screen.note(f"`{again}` submits what is missing by then, and shows the table")
    for label, text in (("sweep", str(sweep.folder)), ("jobs", _arrays(watched))):
        screen.show(Text(f"{label:<7}", style="bold") + Text(text))


def _arrays(watched: dict[int, WatchedJob]) -> str:
    return ", ".join(sorted({one.job.partition("_")[0] for one in watched.values()}))


def wait(sweep: Sweep, watched: dict[int, WatchedJob], screen: Screen) -> SweepState:
    """Wait until every point's job has ended, and return the sweep's state.

    Ctrl-C ends the wait, not the jobs; it is in the state's `stopped`.
    """
    plan, state = sweep.plan, SweepState({})
    begun = set[int]()
    waiting = dict(watched)
    try:
        with screen.progress("sweep", len(plan.points), "runs") as bar:
            while waiting:
                for number, job in list(waiting.items()):
                    point = plan.points[number - 1]
                    if number not in begun and job.has_begun():
                        begun.add(number)
                        screen.note(point_line(plan, point, "begun"))
                    try:
                        ended = job.code() is not None
                    except DlrunError as gone:
                        state.failed[number], ended = gone.message, True
                    if not ended:
                        continue
                    del waiting[number]
                    run = run_of(sweep, point, known=None)
                    if run is not None and is_done(run):
                        screen.note(point_line(plan, point, "done", result_of(run.record)))
                    else:
                        error = run.record.error if run is not None else None
                        state.failed.setdefault(number, error or "its job ended without a result")
                        screen.note(point_line(plan, point, "FAILED"))
                bar.to(len(plan.points) - len(waiting))
                time.sleep(TICK if waiting else 0)
    except Interrupted as stop:
        screen.note(f"the jobs go on; `scancel {_arrays(watched)}` ends them")
        state.stopped = stop
    state.runs = runs_by_point(sweep)
    return state
