"""The command `dlrun sweep`: plan many runs, execute them here or on SLURM, summarise them."""

import contextlib
import time
from dataclasses import replace
from pathlib import Path

from rich.text import Text

from dlrun import run_context
from dlrun.errors import ConfigError, DlrunError, Interrupted, Stopped
from dlrun.run_context import RunSettings, errors_as_json
from dlrun.run_folder.find import find_sweep
from dlrun.run_folder.folder import PLAN, SWEEP_LOCK, RunFolder, to_json
from dlrun.run_folder.record import checksummed_json
from dlrun.runs.distributed import find_process_group
from dlrun.slurm.job import NUMBER, SLURM_FOLDER, TICK, SlurmQueue, job_exit_code, job_has_started
from dlrun.slurm.submit import (
    RunToSubmit,
    SlurmOptions,
    check_slurm_available,
    submit_runs_to_slurm,
)
from dlrun.sweeps import summary
from dlrun.sweeps.plan import Sweep, SweepPlan, check_code_unchanged, make_sweep_plan, read_sweep
from dlrun.sweeps.processes import preload_fork_server
from dlrun.sweeps.runner import format_point_line, run_sweep_points
from dlrun.sweeps.search import SearchSpace
from dlrun.sweeps.state import (
    SweepState,
    clean_up_killed_sweep,
    find_run_of_point,
    find_runs_by_point,
    is_run_complete,
)
from dlrun.system.console import Screen, pluralize, printable

POINTS_SHOWN = 200  # of a dry run
Jobs = dict[int, tuple[Path, str]]  # a run's folder and the number of its job, by point


def run_sweep(
    experiment: str,
    options: RunSettings,
    search: SearchSpace,
    *,
    resume: str | None = None,
    eta: int | None = None,
    jobs: int | None = None,
    fail_fast: bool = False,
    slurm: SlurmOptions | None = None,
    wait: bool = False,
) -> int:
    """Run or continue a sweep of an experiment, show its summary, and return the exit code.

    Args:
        experiment: the name of the experiment; empty if a sweep is continued.
        options: the options of a single run.
        search: the search space.
        resume: the sweep to continue: its name, its folder or `latest`.
        eta: the factor of successive halving; None: no halving.
        jobs: the number of parallel runs; None: as many as the machine can hold.
        fail_fast: stop all runs once one has failed.
        slurm: options of the jobs; None: run on this machine.
        wait: wait until the jobs have ended.

    Returns 1 if a point failed. Raises ConfigError with every error before anything begins;
    DlrunError if another process runs this sweep, or code or packages have changed since it began;
    Interrupted or Terminated after all runs have ended and the JSON, if requested, was printed.
    """
    screen = Screen(quiet=options.quiet, results=options.results and not options.json)
    with errors_as_json(screen, wanted=options.json):
        if slurm is not None:
            check_slurm_available()
            if {slurm.nodes, slurm.tasks} - {None, 1}:
                raise ConfigError("--slurm nodes, tasks: a point is one process", "leave them out")
        elif group := find_process_group():
            raise ConfigError(f"{group}, each of which would sweep", f"leave {group.by} out")
        runs_dir = run_context.resolve_runs_dir(options.runs_dir)
        if resume is not None:
            there = read_sweep(find_sweep(resume, runs_dir))
            if not options.force:
                check_code_unchanged(there)
            plan, folder = there.plan, there.folder
        else:
            plan = make_sweep_plan(
                "NAME", experiment, options, search, screen, eta=eta, here=not slurm
            )
            if options.dry_run:
                _show_points(plan, screen, json=options.json)
                place = runs_dir / experiment
                screen.note(f"dry run: all points are valid; they would go into {place}")
                return 0
            folder = RunFolder.claim_sweep(runs_dir, options.name).path
            plan = plan.model_copy(update={"name": folder.name})
        if slurm is not None and plan.rungs:
            raise ConfigError("--slurm: a sweep by --halving runs here", "leave it out")
        there = Sweep(plan, folder, options.data_dir)
        with RunFolder(folder).locked(SWEEP_LOCK):
            if resume is None:
                RunFolder(folder).write_text(PLAN, checksummed_json(plan))
            screen.note(f"sweep folder: {folder}")
            if slurm is None:
                state = _run_here(there, options, screen, jobs, fail_fast=fail_fast)
            else:
                clean_up_killed_sweep(there, screen)
                submitted = _submit(there, slurm, options, screen)
                if submitted and not wait:
                    _show_jobs(there, submitted, screen, json=options.json)
                    return 0
                state = _wait(there, submitted, screen)
            return _finish(there, state, options, screen)


def _show_points(plan: SweepPlan, screen: Screen, *, json: bool) -> None:
    """Print the points of a plan, for a dry run."""
    if json:
        about = plan.model_dump(include={"experiment", "base", "points", "rungs"})
        screen.out.file.write(to_json(about))
        return
    lines = [f"{point.number:5} {printable(point.label)}" for point in plan.points[:POINTS_SHOWN]]
    if len(plan.points) > POINTS_SHOWN:
        lines.append(f"  ... {len(plan.points) - POINTS_SHOWN} more")
    for place, rung in enumerate(plan.rungs, start=1):
        configs = pluralize(rung.configs, "config")
        lines.append(f"rung {place}: {configs} to {pluralize(rung.epochs, 'epoch')}")
    for line in [*lines, pluralize(len(plan.points), "run")]:
        screen.show(Text(line))


def _run_here(
    there: Sweep, options: RunSettings, screen: Screen, jobs: int | None, *, fail_fast: bool
) -> SweepState:
    preload_fork_server([there.plan.experiment])
    state = None
    try:
        state = run_sweep_points(there, screen, jobs=jobs, fail_fast=fail_fast, force=options.force)
    finally:
        if state is None or state.stopped:
            screen.warn(f"not done; continue with: {there.resume_command}")
    return state


def _finish(there: Sweep, state: SweepState, options: RunSettings, screen: Screen) -> int:
    """Write and show the results of a sweep, and return its exit code.

    Raises the exception of the signal that stopped the sweep.
    """
    try:
        if state.stopped:
            raise state.stopped
        files = summary.write_sweep_files(there, state, screen)
    except Stopped:
        if options.json:
            with contextlib.suppress(OSError):  # a closed pipe does not change how it ended
                summary.print_sweep_json(there, state, screen, "interrupted")
        raise
    if options.json:
        summary.print_sweep_json(there, state, screen, "failed" if state.failed else "finished")
    else:
        summary.show_sweep_summary(there, state, files, screen)
    return 1 if state.failed else 0


def _submit(there: Sweep, slurm: SlurmOptions, options: RunSettings, screen: Screen) -> Jobs:
    """Submit all points that are neither finished nor queued; return all unfinished jobs.

    Raises ConfigError if SLURM refuses them; then all new runs are removed.
    """
    plan, runs, queue = there.plan, find_runs_by_point(there), SlurmQueue()
    common = replace(options, runs_dir=there.runs_dir)
    jobs: Jobs = {}
    planned: dict[int, RunToSubmit] = {}
    for point, config in zip(plan.points, plan.validate_points(), strict=True):
        run = runs.get(point.number)
        if is_run_complete(run):
            continue
        if run is not None:
            with contextlib.suppress(OSError):  # it was not submitted
                number = (run.folder / SLURM_FOLDER / NUMBER).read_text(encoding="utf-8").strip()
                if queue.may_have(number):
                    jobs[point.number] = run.folder, number
                    continue
        settings = plan.run_settings(point, common)
        planned[point.number] = RunToSubmit(config, settings, run.folder if run else None)
    if planned:
        name, folder = f"{plan.experiment} {plan.name}", there.folder.absolute()
        submitted = submit_runs_to_slurm(
            plan.experiment, [*planned.values()], slurm, name, screen, folder
        )
        queued = f"; {len(jobs)} are in the queue" if jobs else ""
        jobs |= dict(zip(planned, submitted, strict=True))
        array = submitted[0][1].partition("_")[0]
        screen.note(f"submitted {pluralize(len(planned), 'point')} as job {array}{queued}")
    return jobs


def _show_jobs(there: Sweep, jobs: Jobs, screen: Screen, *, json: bool) -> None:
    """Print the submitted jobs of a sweep and how to continue it later."""
    name, folder = there.plan.name, str(there.folder)
    if json:
        numbers = {str(point): job for point, (_, job) in sorted(jobs.items())}
        about = {"status": "waiting", "sweep": name, "folder": folder, "jobs": numbers}
        screen.out.file.write(to_json(about))
        return
    again = f"dlrun sweep --resume {name} --slurm ... --wait"
    screen.note(f"`{again}` submits what is missing by then, and shows the table")
    for label, text in (("sweep", folder), ("jobs", _arrays(jobs))):
        screen.show(Text(f"{label:<7}", style="bold") + Text(text))


def _arrays(jobs: Jobs) -> str:
    return ", ".join(sorted({job.partition("_")[0] for _, job in jobs.values()}))


def _wait(there: Sweep, jobs: Jobs, screen: Screen) -> SweepState:
    """Wait until the SLURM jobs of all points have ended, and return the state of the sweep.

    Ctrl-C ends the waiting, not the jobs, and is stored in the state's `stopped`.
    """
    plan, state, queue = there.plan, SweepState({}), SlurmQueue()
    begun, waiting = set[int](), dict(jobs)
    try:
        with screen.progress("sweep", len(plan.points), "runs") as bar:
            while waiting:
                for number, (folder, job) in list(waiting.items()):
                    point = plan.points[number - 1]
                    if number not in begun and job_has_started(folder):
                        begun.add(number)
                        screen.note(format_point_line(plan, point, "begun"))
                    why = "its job ended without a result"
                    try:
                        if job_exit_code(folder, job, queue) is None:
                            continue
                    except DlrunError as gone:
                        why = gone.message
                    del waiting[number]
                    run = find_run_of_point(there, point, known=None)
                    if run is not None and is_run_complete(run):
                        screen.note(format_point_line(plan, point, "done", run.record))
                    else:
                        state.failed[number] = (run and run.record.error) or why
                        screen.note(format_point_line(plan, point, "FAILED"))
                bar.to(len(plan.points) - len(waiting))
                time.sleep(TICK if waiting else 0)
    except Interrupted as stop:
        screen.note(f"the jobs continue; `scancel {_arrays(jobs)}` ends them")
        state.stopped = stop
    state.runs = find_runs_by_point(there)
    return state
