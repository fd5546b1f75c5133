"""`dlrun sweep`: plan many runs, execute them on this machine or on SLURM, and summarise them."""

import contextlib
import secrets
from collections.abc import Iterator, Sequence

from dlrun.errors import DlrunError, Stopped
from dlrun.runs.find import find_sweep
from dlrun.runs.folder import SWEEP_LOCK, OutputFolder, check_runs_folder_writable
from dlrun.runs.options import RunOptions, resolve_runs_dir
from dlrun.slurm.submit import require_slurm
from dlrun.sweeps.child_processes import preload_fork_server
from dlrun.sweeps.execute import Executor, execute_sweep, submit_sweep
from dlrun.sweeps.place import Place, ThisMachine
from dlrun.sweeps.planner import ChosenExperiment, make_sweep_plan
from dlrun.sweeps.processes import Processes
from dlrun.sweeps.results import SweepResults
from dlrun.sweeps.results_output import print_results_as_json, show_sweep_results, write_results
from dlrun.sweeps.search_space import SearchSpace
from dlrun.sweeps.slurm_jobs import SlurmJobs
from dlrun.sweeps.sweep_plan import SweepPlan, read_sweep_plan
from dlrun.sweeps.sweep_runs import Sweep, SweepState
from dlrun.system.console import Screen
from dlrun.system.text import pluralize


def start_sweep(
    chosen: Sequence[ChosenExperiment], options: RunOptions, search: SearchSpace, place: Place
) -> tuple[int, SweepResults | None]:
    """Run a new sweep of experiments, show its summary; return the exit code and the results.

    The code is 1 if a point failed or the table cannot be written; there are no results of a dry
    run, or if nobody waits for SLURM's jobs. Raises ConfigError with every error before anything
    begins; InterruptedByUser or Terminated after all runs have ended.
    """
    screen = options.console()
    if not place.is_local:
        require_slurm()
    runs_dir = resolve_runs_dir(options.runs_dir)
    check_runs_folder_writable(runs_dir)
    name = options.name or secrets.token_hex(4)
    plan = make_sweep_plan(name, chosen, options, search, screen, place)
    plan.check_can_run(place)
    if options.dry_run:
        _show_points(plan, screen, json=options.json)
        if plan.note_on_rows:
            screen.warn(plan.note_on_rows)
        checked = "points" if plan.points else "ends of spaces"
        folders = ", ".join(str(runs_dir / name) for name in plan.experiment_names)
        screen.note(f"dry run: all {checked} are valid; the runs would go into {folders}")
        return 0, None
    folder = OutputFolder.claim_sweep(runs_dir, plan.name).path
    return _run_sweep(Sweep(plan, folder, options.data_dir), options, place)


def continue_sweep(
    name: str, options: RunOptions, place: Place, by: str | None = None
) -> tuple[int, SweepResults | None]:
    """Run the points of an earlier sweep that have not finished; return what `start_sweep` does.

    by: another validation metric that is to choose the best config. Raises DlrunError if the sweep
    cannot be continued.
    """
    if not place.is_local:
        require_slurm()
    folder = find_sweep(name, resolve_runs_dir(options.runs_dir))
    plan = read_sweep_plan(folder, force=options.force)
    plan.check_data_unchanged(folder, options.data_dir)
    plan.check_can_run(place)
    if by is not None:
        plan = plan.choosing_by(by)
    return _run_sweep(Sweep(plan, folder, options.data_dir), options, place)


def _run_sweep(sweep: Sweep, options: RunOptions, place: Place) -> tuple[int, SweepResults | None]:
    """Run what has not finished of a sweep; return what `start_sweep` does."""
    screen = options.console()
    again = sweep.resume_command + ("" if place.is_local else " --slurm ... --wait")
    with OutputFolder(sweep.folder).locked(SWEEP_LOCK), telling_how_to_continue(again, screen):
        sweep.write_plan()
        screen.note(f"sweep folder: {sweep.folder}")
        if sweep.plan.note_on_rows:
            screen.warn(sweep.plan.note_on_rows)
        state = SweepState(sweep.find_runs())
        executor: Executor
        if isinstance(place, ThisMachine):
            preload_fork_server(swept.experiment for swept in sweep.plan.experiments)
            executor = Processes(sweep, screen, place.jobs, options.force)
        else:
            executor = SlurmJobs(sweep, screen, place.options, options)
            if not place.wait:
                submit_sweep(sweep, state, executor, screen)
                if executor.job_ids:
                    executor.show_submission(again, json=options.json)
                    return 1 if state.failed else 0, None
        execute_sweep(sweep, state, executor, screen)
        return _finish(sweep, state, options, screen)


def _show_points(plan: SweepPlan, screen: Screen, *, json: bool) -> None:
    """Print the planned runs of a sweep, except those that a search will choose."""
    if json:
        screen.print_json(plan.model_dump(include={"experiments", "points", "search"}))
        return
    lines = [f"{point.number:5} {plan.label(point)}" for point in plan.points]
    screen.print_lines([*lines, pluralize(plan.most_runs, "run")])


@contextlib.contextmanager
def telling_how_to_continue(command: str, screen: Screen) -> Iterator[None]:
    """Show the command that continues the work, if an error or a signal ends the `with` block."""
    try:
        yield
    except (Stopped, DlrunError):
        screen.warn(f"not done; continue with: {command}")
        raise


def _finish(
    sweep: Sweep, state: SweepState, options: RunOptions, screen: Screen
) -> tuple[int, SweepResults]:
    """Write and show the results of a sweep; return them, and 1 if they are not complete."""
    results = SweepResults(sweep, state)
    files = write_results(results, screen)
    is_whole = "table" in files and not state.failed
    if options.json:
        print_results_as_json(results, "finished" if is_whole else "failed", files, screen)
    else:
        show_sweep_results(results, files, screen)
    return 0 if is_whole else 1, results
