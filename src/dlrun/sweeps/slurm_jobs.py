"""Submit the runs of a sweep to SLURM as a job array, and wait until their jobs have ended."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from dlrun.errors import Interrupted
from dlrun.runs.options import RunSettings
from dlrun.slurm.submit import RunToSubmit, SlurmOptions, submit_jobs
from dlrun.slurm.watch import jobs_in_queue, read_job_id, watch_jobs
from dlrun.sweeps.progress import SweepProgress
from dlrun.sweeps.sweep_folder import Sweep, SweepState
from dlrun.system.console import Screen, pluralize

JobIds = Mapping[Path, str]  # ids of SLURM jobs, such as `17_2`, by the folder of their run


def submit_points(
    sweep: Sweep, options: SlurmOptions, settings: RunSettings, screen: Screen
) -> JobIds:
    """Submit all runs that are neither finished nor queued; return the jobs of all unfinished."""
    plan = sweep.plan
    settings = replace(settings, runs_dir=sweep.runs_dir)
    runs = sweep.find_runs()
    queued = jobs_in_queue()
    waiting: dict[Path, str] = {}
    planned: list[RunToSubmit] = []
    for point, config in zip(plan.points, plan.validate_points(), strict=True):
        run = runs.get(point.number)
        if run is not None and run.is_finished:
            continue
        job_id = read_job_id(run.folder) if run else None
        if run is not None and job_id and (queued is None or job_id in queued):
            waiting[run.folder.absolute()] = job_id
        else:
            of_point = plan.run_settings(point, settings)
            planned.append(RunToSubmit(config, of_point, run.folder if run else None))
    if not planned:
        return waiting
    name = f"{plan.experiment} {plan.name}"
    submitted = submit_jobs(plan.experiment, planned, options, name, sweep.folder.absolute())
    others = f"; {len(waiting)} are in the queue" if waiting else ""
    screen.note(f"submitted {pluralize(len(planned), 'point')} as SLURM jobs{others}")
    return waiting | submitted


def show_submission(sweep: Sweep, jobs: JobIds, again: str, screen: Screen, *, json: bool) -> None:
    """Print the submitted jobs of a sweep, and the command that continues it later."""
    folder = str(sweep.folder)
    if json:
        ids = {str(run_folder): job_id for run_folder, job_id in jobs.items()}
        about = {"status": "waiting", "sweep": sweep.plan.name, "folder": folder}
        screen.print_json(about | {"jobs": ids})
        return
    screen.note(f"`{again}` submits what is missing by then, and shows the table")
    screen.show_labelled(("sweep", folder), ("jobs", _arrays(jobs)))


def _arrays(jobs: JobIds) -> str:
    """Return the ids of the job arrays."""
    return ", ".join(sorted({job_id.partition("_")[0] for job_id in jobs.values()}))


def wait_for_jobs(sweep: Sweep, jobs: JobIds, screen: Screen) -> SweepState:
    """Wait until the SLURM jobs of all runs have ended, and return the state of the sweep.

    Ctrl-C ends the waiting, not the jobs.
    """
    plan = sweep.plan
    state = SweepState(sweep.find_runs())
    runs = {run.folder.resolve(): (number, run) for number, run in state.runs.items()}
    done = len(plan.points) - len(jobs)
    progress = SweepProgress(plan, screen, state, len(plan.points), done)
    try:
        with progress.drawn():
            for exit_codes in watch_jobs(jobs):
                for folder, code in exit_codes.items():
                    number, known = runs[folder.resolve()]
                    point = plan.points[number - 1]
                    run = sweep.find_run_of_point(point, known)
                    how = "left SLURM's queue" if code is None else "ended"
                    error = f"job {jobs[folder]} {how} without a result"
                    progress.end(point, run, (run and run.record.error) or error)
    except Interrupted:
        screen.note(f"the jobs continue; `scancel {_arrays(jobs)}` ends them")
        raise
    state.runs = sweep.find_runs()
    return state
