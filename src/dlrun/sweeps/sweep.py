"""Plan, check, run and show a sweep, or continue one: what `dlrun sweep` does."""

import contextlib
from collections.abc import Sequence
from typing import Unpack

from rich.text import Text

from dlrun import run_context
from dlrun.config.sections import ExperimentConfig
from dlrun.errors import ConfigError, Stopped
from dlrun.run_context import RunSettings, errors_as_json
from dlrun.run_folder.find import find_sweep
from dlrun.run_folder.folder import SWEEP_LOCK, RunFolder, to_json
from dlrun.runs.distributed import find_process_group
from dlrun.runs.start import validate_config
from dlrun.slurm.options import SlurmOptions
from dlrun.sweeps import output, slurm_runner
from dlrun.sweeps.halving import rungs
from dlrun.sweeps.plan import (
    EPOCHS,
    Plan,
    Rung,
    Sweep,
    check_unchanged,
    distinct,
    make_plan,
    plan_points,
    read_plan,
    write_plan,
)
from dlrun.sweeps.processes import preload
from dlrun.sweeps.runner import run_points
from dlrun.sweeps.search import SEED, Settings, Varied
from dlrun.sweeps.state import SweepState, clear_leftovers
from dlrun.system.console import Screen, pluralize, printable

POINTS_SHOWN = 200  # of a dry run


def sweep(
    experiment: str | None,
    options: RunSettings,
    *,
    resume: str | None = None,
    eta: int | None = None,
    jobs: int | None = None,
    fail_fast: bool = False,
    slurm: SlurmOptions | None = None,
    wait: bool = False,
    **varied: Unpack[Varied],
) -> int:
    """Run an experiment at many points, or what is missing of a sweep; return the exit code.

    Args:
        experiment: its name; None if a sweep is continued.
        options: as of a single run.
        resume: the sweep that is continued: name, folder or `latest`.
        eta: of successive halving; None: without it.
        jobs: runs at once; None: as many as the machine holds.
        fail_fast: end all runs once one has failed.
        slurm: options of the jobs; None: run on this machine.
        wait: for the jobs.
        varied: what varies.

    Returns 1 if a point failed. Raises ConfigError with every error before anything begins;
    DlrunError if another process runs this sweep, or code or packages have changed since it began;
    Interrupted or Terminated once all runs have ended, and the JSON was printed if it is wanted.
    """
    screen = Screen(quiet=options.quiet, results=options.results and not options.json)
    with errors_as_json(screen, wanted=options.json):
        if slurm is not None:
            slurm_runner.check(slurm)
        elif started := find_process_group():
            raise ConfigError(f"{started}, each of which would sweep", f"leave {started.by} out")
        runs_dir = run_context.runs_dir(options.runs_dir)
        if resume is not None:
            there = read_plan(find_sweep(resume, runs_dir))
            if not options.force:
                check_unchanged(there)
            plan, folder = there.plan, there.folder
            configs = [validate_config(plan.experiment, plan.values(one)) for one in plan.points]
        else:
            assert experiment is not None
            planned = plan_points(experiment, options, here=slurm is None, **varied)
            configs, settings = distinct(*planned)
            if (given := len(planned[0])) > len(configs):
                screen.note(
                    f"{len(configs)} of {given} points are distinct; equal ones are run once"
                )
            steps = [] if eta is None else _rungs(configs, settings, eta)
            name = options.name or "NAME"
            plan = make_plan(name, experiment, configs, settings, steps)
            if options.dry_run:
                _show_points(plan, screen, json=options.json)
                place = runs_dir / experiment
                screen.note(f"dry run: all points are valid; they would go into {place}")
                return 0
            folder = RunFolder.claim_sweep(runs_dir, options.name).path
        with RunFolder(folder).locked(screen, SWEEP_LOCK):
            if resume is None:
                plan = plan.model_copy(update={"name": folder.name})
                write_plan(plan, RunFolder(folder))
            there = Sweep(plan, folder, options.data_dir)
            screen.note(f"sweep folder: {folder}")
            if slurm is None:
                preload({plan.experiment: configs[0]})
                state = _run_here(there, configs, options, screen, jobs, fail_fast=fail_fast)
            else:
                if plan.rungs:
                    raise ConfigError("--slurm: a sweep by --halving runs here", "leave it out")
                clear_leftovers(there, screen)
                watched = slurm_runner.submit(there, configs, slurm, options, screen)
                if watched and not wait:
                    slurm_runner.show(there, watched, screen, json=options.json)
                    return 0
                state = slurm_runner.wait(there, watched, screen)
            return _finish(there, state, options, screen)


def _run_here(
    there: Sweep,
    configs: Sequence[ExperimentConfig],
    options: RunSettings,
    screen: Screen,
    jobs: int | None,
    *,
    fail_fast: bool,
) -> SweepState:
    state, force = None, options.force
    try:
        state = run_points(there, configs, screen, jobs=jobs, fail_fast=fail_fast, force=force)
    finally:
        if state is None or state.stopped:
            screen.warn(f"not done; continue with: {there.resume_command}")
    return state


def _finish(there: Sweep, state: SweepState, options: RunSettings, screen: Screen) -> int:
    """Write and show the results; return the exit code. Raises what stopped the sweep."""
    try:
        if state.stopped:
            raise state.stopped
        written = output.write(there, state, screen)
    except Stopped:
        if options.json:
            with contextlib.suppress(OSError):  # a closed pipe does not change how it ended
                output.print_json(there, state, screen, "interrupted")
        raise
    if options.json:
        output.print_json(there, state, screen, "failed" if state.failed else "finished")
    else:
        output.show(there, state, written, screen)
    return 1 if state.failed else 0


def _rungs(
    configs: Sequence[ExperimentConfig], settings: Sequence[Settings], eta: int
) -> list[Rung]:
    """Return the rungs of halving. Raises ConfigError if the experiment has no epochs to halve."""
    epochs = {getattr(getattr(one, "trainer", None), "max_epochs", None) for one in configs}
    number = epochs.pop()
    if number is None:
        raise ConfigError("--halving: this experiment has no epochs", "leave it out")
    if epochs:
        raise ConfigError(f"--halving: {EPOCHS} varies itself", "leave one out")
    own = {repr({k: v for k, v in one.items() if k != SEED}) for one in settings}
    return rungs(len(own), number, eta)


def _show_points(plan: Plan, screen: Screen, *, json: bool) -> None:
    """Show what would be run."""
    if json:
        about = plan.model_dump(include={"experiment", "base", "points", "rungs"})
        screen.out.file.write(to_json(about))
        return
    width = len(str(len(plan.points)))
    for point in plan.points[:POINTS_SHOWN]:
        screen.show(Text(f"{point.number:{width}} {printable(point.label)}"))
    if len(plan.points) > POINTS_SHOWN:
        screen.show(Text(f"... {pluralize(len(plan.points) - POINTS_SHOWN, 'point')} more"))
    for place, rung in enumerate(plan.rungs, start=1):
        configs = pluralize(rung.configs, "config")
        screen.show(Text(f"rung {place}: {configs} to {pluralize(rung.epochs, 'epoch')}"))
    screen.show(Text(pluralize(len(plan.points), "run")))
