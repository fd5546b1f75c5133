"""`dlrun sweep`: plan many runs, execute them on this machine or on SLURM, and summarise them."""

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from dlrun import run_context
from dlrun.errors import ConfigError, DlrunError, Interrupted, Stopped
from dlrun.run_context import RunSettings
from dlrun.run_folder.find import find_sweep
from dlrun.run_folder.folder import SWEEP_LOCK, RunFolder, check_runs_folder_writable
from dlrun.slurm import submit
from dlrun.slurm.job import jobs_in_queue, read_job_id, watch_jobs
from dlrun.sweeps.plan_file import SweepPlan, read_sweep_plan
from dlrun.sweeps.planner import make_sweep_plan
from dlrun.sweeps.processes import preload_fork_server
from dlrun.sweeps.results import SweepResults
from dlrun.sweeps.runner import SweepProgress, run_sweep_points
from dlrun.sweeps.search_space import SearchSpace
from dlrun.sweeps.sweep_folder import Sweep, SweepState
from dlrun.system.console import Screen, pluralize
from dlrun.system.extras import require_extra

Jobs = dict[int, tuple[Path, str]]  # a run's folder and the number of its job, by point


def run_sweep(
    experiment: str,
    options: RunSettings,
    search: SearchSpace,
    *,
    resume: str | None = None,
    jobs: int | None = None,
    slurm_options: submit.SlurmOptions | None = None,
    wait: bool = False,
) -> tuple[int, SweepResults | None]:
    """Run or continue a sweep of an experiment, show its summary; return exit code and results.

    resume: the sweep to continue, whose experiment is then empty. slurm_options: None: run on this
    machine. The code is 1 if a point failed or the table cannot be written; there are no results
    of a dry run, or if nobody waits for SLURM's jobs. Raises ConfigError with every error before
    anything begins; Interrupted or Terminated after all runs have ended.
    """
    screen = options.console()
    if slurm_options is not None:
        submit.require_slurm()
    runs_dir = run_context.resolve_runs_dir(options.runs_dir)
    if resume is not None:
        folder = find_sweep(resume, runs_dir)
        plan = read_sweep_plan(folder, force=options.force)
        plan.check_data_unchanged(folder, options.data_dir)
    else:
        check_runs_folder_writable(runs_dir)
        name = options.name or secrets.token_hex(4)
        plan = make_sweep_plan(name, experiment, options, search, screen, here=not slurm_options)
    _check_can_run(plan, slurm_options)
    if resume is None and options.dry_run:
        _show_points(plan, screen, json=options.json)
        checked = "points" if plan.search is None else "ends of spaces"
        folder = runs_dir / experiment
        screen.note(f"dry run: all {checked} are valid; the runs would go into {folder}")
        return 0, None
    if resume is None:
        folder = RunFolder.claim_sweep(runs_dir, plan.name).path
    sweep = Sweep(plan, folder, options.data_dir)
    again = sweep.resume_command + (" --slurm ... --wait" if slurm_options else "")
    with RunFolder(folder).locked(SWEEP_LOCK), _telling_how_to_continue(again, screen):
        if resume is None:
            sweep.write_plan()
        screen.note(f"sweep folder: {folder}")
        if slurm_options is None:
            preload_fork_server([plan.experiment])
            state = run_sweep_points(sweep, screen, jobs=jobs, force=options.force)
        else:
            sweep.clean_up_if_killed(screen)
            submitted = _submit(sweep, slurm_options, options, screen)
            if submitted and not wait:
                _show_jobs(sweep, submitted, again, screen, json=options.json)
                return 0, None
            state = _wait(sweep, submitted, screen)
        return _finish(sweep, state, options, screen)


def _check_can_run(plan: SweepPlan, slurm_options: submit.SlurmOptions | None) -> None:
    """Raise ConfigError if a package is missing, or SLURM cannot run the sweep so."""
    if plan.search is not None:
        require_extra("--sampler tpe", "optuna", "optuna")
        if slurm_options is not None:
            raise ConfigError("--slurm: --sampler tpe runs on this machine", "leave it out")


@contextlib.contextmanager
def _telling_how_to_continue(command: str, screen: Screen) -> Iterator[None]:
    """Show the command that continues the sweep, if an error or a signal ends the `with` block."""
    try:
        yield
    except (Stopped, DlrunError):
        screen.warn(f"not done; continue with: {command}")
        raise


def _show_points(plan: SweepPlan, screen: Screen, *, json: bool) -> None:
    if json:
        screen.print_json(plan.model_dump(include={"experiment", "base", "points", "search"}))
        return
    lines = [f"{point.number:5} {point.label}" for point in plan.points]
    lines += [f"--space {space}" for space in plan.search.spaces] if plan.search else []
    screen.rows([*lines, pluralize(plan.size, "run")])


def _finish(
    sweep: Sweep, state: SweepState, options: RunSettings, screen: Screen
) -> tuple[int, SweepResults]:
    """Write and show the results of a sweep; return them, and 1 if they are not complete."""
    if state.stopped:
        raise state.stopped
    results = SweepResults(sweep, state)
    files = results.write_files(screen)
    is_whole = "table" in files and not state.failed
    if options.json:
        results.print_json("finished" if is_whole else "failed", files, screen)
    else:
        results.show(files, screen)
    return 0 if is_whole else 1, results


def _submit(
    sweep: Sweep, options: submit.SlurmOptions, settings: RunSettings, screen: Screen
) -> Jobs:
    """Submit all points that are neither finished nor queued; return all unfinished jobs."""
    plan = sweep.plan
    runs = sweep.find_runs()
    queued = jobs_in_queue()
    jobs: Jobs = {}
    planned: dict[int, submit.RunToSubmit] = {}
    for point, config in zip(plan.points, plan.validate_points(), strict=True):
        run = runs.get(point.number)
        job = read_job_id(run.folder) if run else None
        if run is not None and run.is_finished:
            continue
        if run is not None and job and (queued is None or job in queued):
            jobs[point.number] = run.folder, job
            continue
        of_point = plan.run_settings(point, replace(settings, runs_dir=sweep.runs_dir))
        planned[point.number] = submit.RunToSubmit(config, of_point, run.folder if run else None)
    if planned:
        name = f"{plan.experiment} {plan.name}"
        folder = sweep.folder.absolute()
        submitted = submit.submit_jobs(plan.experiment, [*planned.values()], options, name, folder)
        waiting = f"; {len(jobs)} are in the queue" if jobs else ""
        jobs |= dict(zip(planned, submitted, strict=True))
        screen.note(f"submitted {pluralize(len(planned), 'point')} as SLURM jobs{waiting}")
    return jobs


def _show_jobs(sweep: Sweep, jobs: Jobs, again: str, screen: Screen, *, json: bool) -> None:
    """Print the submitted jobs of a sweep, and the command that continues it later."""
    folder = str(sweep.folder)
    if json:
        numbers = {str(point): job for point, (_, job) in sorted(jobs.items())}
        screen.print_json(
            {"status": "waiting", "sweep": sweep.plan.name, "folder": folder, "jobs": numbers}
        )
        return
    screen.note(f"`{again}` submits what is missing by then, and shows the table")
    screen.labelled(("sweep", folder), ("jobs", _arrays(jobs)))


def _arrays(jobs: Jobs) -> str:
    return ", ".join(sorted({job.partition("_")[0] for _, job in jobs.values()}))


def _wait(sweep: Sweep, jobs: Jobs, screen: Screen) -> SweepState:
    """Wait until the SLURM jobs of all points have ended, and return the state of the sweep.

    Ctrl-C ends the waiting, not the jobs, and is stored in the state's `stopped`.
    """
    plan = sweep.plan
    state = SweepState(sweep.find_runs())
    point_of = {folder: plan.points[number - 1] for number, (folder, _) in jobs.items()}
    done = len(plan.points) - len(jobs)
    progress = SweepProgress(plan, screen, state, len(plan.points), done)
    try:
        with progress.drawn():
            for ended in watch_jobs(dict(jobs.values())):
                for folder, code in ended.items():
                    point = point_of[folder]
                    run = sweep.find_run_of_point(point)
                    if run is not None and run.is_finished:
                        state.runs[point.number] = run
                        progress.end(point, "done")
                        continue
                    how = "left SLURM's queue" if code is None else "ended"
                    why = f"job {jobs[point.number][1]} {how} without a result"
                    state.failed[point.number] = (run and run.record.error) or why
                    progress.end(point, "FAILED")
    except Interrupted as stop:
        screen.note(f"the jobs continue; `scancel {_arrays(jobs)}` ends them")
        state.stopped = stop
    state.runs = sweep.find_runs()
    return state
