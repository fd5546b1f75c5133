"""`dlrun sweep`: plan, check, do, show; or go on with a sweep that was ended."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rich.text import Text

from dlrun import run_context
from dlrun.config.sections import ExperimentConfig
from dlrun.errors import ConfigError, Stopped
from dlrun.run_folder.folder import to_json
from dlrun.run_folder.sweep_folder import find_sweep, held_sweep, new_sweep
from dlrun.runs import console_summary as run_ending
from dlrun.runs.distributed import find_process_group
from dlrun.runs.settings import RunSettings
from dlrun.runs.start import validate_config
from dlrun.slurm.options import SlurmOptions as SlurmAsked
from dlrun.sweeps import plan as plans
from dlrun.sweeps import slurm_runner, state
from dlrun.sweeps.console_summary import print_json, show, write
from dlrun.sweeps.cpu_sharing import share_cores
from dlrun.sweeps.halving import rungs
from dlrun.sweeps.plan import EPOCHS, Plan, Rung, Sweep
from dlrun.sweeps.planning import distinct, plan_points
from dlrun.sweeps.runner import SweepRunner, SweepSettings, SweepState
from dlrun.sweeps.search import SEED, SearchSpace, Settings
from dlrun.system.console import Screen, pluralize, printable

SHOWN = 200  # points of a dry run


@dataclass(frozen=True)
class SweepRequest:
    """What is asked for beside what a single run takes.

    asked: what varies. jobs: runs at once; None: as many as fill the machine. eta: of successive
    halving; None without it. slurm: what is asked of SLURM, where that does the runs; wait: for it.
    """

    asked: SearchSpace = field(default_factory=SearchSpace)
    jobs: int | None = None
    eta: int | None = None
    fail_fast: bool = False
    slurm: SlurmAsked | None = None
    wait: bool = False


def sweep(experiment: str, wanted: SweepRequest, options: RunSettings) -> int:
    """Run an experiment at many points; the exit code: 1 where a point failed.

    Raises ConfigError with every fault before anything begins; Interrupted or Terminated once all
    runs have ended, and what there is was printed where JSON is wanted.
    """
    screen = _screen(options)
    with run_ending.errors_as_json(screen, wanted=options.json):
        _check(wanted)
        asked = plan_points(experiment, wanted.asked, options, here=wanted.slurm is None)
        configs, settings = distinct(*asked)
        if (given := len(asked[0])) > len(configs):
            screen.note(f"{len(configs)} of {given} points are distinct; equal ones are run once")
        steps = _rungs(configs, settings, wanted.eta)
        runs_dir = run_context.runs_dir(options.runs_dir)
        dumps = [config.model_dump(mode="json") for config in configs]
        if options.dry_run:
            made = plans.make_plan(options.name or "NAME", experiment, dumps, settings, steps)
            _show_points(made, screen, json=options.json)
            screen.note(
                f"dry run: all points are valid; they would go into {runs_dir / experiment}"
            )
            return 0
        folder = new_sweep(runs_dir, options.name)
        with held_sweep(folder.path, screen):
            made = plans.make_plan(folder.path.name, experiment, dumps, settings, steps)
            there = replace(plans.write_plan(made, folder), data_dir=options.data_dir)
            screen.note(f"sweep folder: {folder.path}")
            return _go(there, configs, wanted, options, screen)


def resume(name: str, wanted: SweepRequest, options: RunSettings) -> int:
    """Do what is missing of a sweep, and go on with what is half done; the exit code.

    Raises ConfigError where there is no such sweep, DlrunError where another process works at it,
    or code and packages are others than when it began.
    """
    screen = _screen(options)
    with run_ending.errors_as_json(screen, wanted=options.json):
        _check(wanted)
        found = plans.read_plan(find_sweep(name, run_context.runs_dir(options.runs_dir)))
        there = replace(found, data_dir=options.data_dir)
        if not options.force:
            plans.check_causes(there)
        configs = [
            validate_config(there.plan.experiment, there.plan.values(p)) for p in there.plan.points
        ]
        with held_sweep(there.folder, screen):
            screen.note(f"sweep folder: {there.folder}")
            return _go(there, configs, wanted, options, screen)


def _go(
    there: Sweep,
    configs: Sequence[ExperimentConfig],
    wanted: SweepRequest,
    options: RunSettings,
    screen: Screen,
) -> int:
    done = SweepState()
    try:
        if wanted.slurm is None:
            _do(there, configs, wanted, options, screen, done)
        else:
            if there.plan.rungs:
                raise ConfigError("--slurm: a sweep by --halving is done here", "leave --slurm out")
            state.clear_leftovers(there, screen)
            watched = slurm_runner.submit(there, configs, wanted.slurm, options, screen)
            if watched and not wanted.wait:
                slurm_runner.show(there, watched, screen, json=options.json)
                return 0
            slurm_runner.wait(there, watched, screen, done)
        written = write(there, done, screen)
    except Stopped:
        if options.json:
            done.runs = state.runs_by_point(there)
            with contextlib.suppress(OSError):  # a closed pipe changes nothing of how it ended
                print_json(there, done, screen, "interrupted")
        raise
    return show(there, done, written, screen, json=options.json)


def _do(
    there: Sweep,
    configs: Sequence[ExperimentConfig],
    wanted: SweepRequest,
    options: RunSettings,
    screen: Screen,
    done: SweepState,
) -> None:
    """Do the points here, by workers."""
    share = share_cores(configs, wanted.jobs)
    if share.note:
        screen.note(share.note)
    state.clear_leftovers(there, screen)
    how = SweepSettings(share, screen, options.data_dir, wanted.fail_fast, options.force)
    try:
        SweepRunner(there, how, done).run()
    except BaseException:
        screen.warn(f"not done; go on with: {there.go_on}")
        raise


def _check(wanted: SweepRequest) -> None:
    """Raises ConfigError where no run can be started from here."""
    if wanted.slurm is not None:
        slurm_runner.check(wanted.slurm)
    elif started := find_process_group():
        raise ConfigError(f"{started}, each of which would sweep", f"leave {started.by} out")


def _screen(options: RunSettings) -> Screen:
    return Screen(quiet=options.quiet, results=options.results and not options.json)


def _rungs(
    configs: Sequence[ExperimentConfig], settings: Sequence[Settings], eta: int | None
) -> list[Rung]:
    """Of successive halving. Raises ConfigError where the experiment has no epochs to halve."""
    if eta is None:
        return []
    epochs = {getattr(getattr(one, "trainer", None), "max_epochs", None) for one in configs}
    number = epochs.pop()
    if number is None:
        raise ConfigError("--halving: this experiment has no epochs", "leave it out")
    if epochs:
        raise ConfigError(f"--halving: {EPOCHS} varies itself", "leave one out")
    own = {repr({k: v for k, v in one.items() if k != SEED}) for one in settings}
    return rungs(len(own), number, eta)


def _show_points(plan: Plan, screen: Screen, *, json: bool) -> None:
    """What would be run."""
    if json:
        about = plan.model_dump(include={"experiment", "base", "points", "rungs"})
        screen.out.file.write(to_json(about))
        return
    width = len(str(len(plan.points)))
    for point in plan.points[:SHOWN]:
        screen.show(Text(f"{point.number:{width}} {printable(point.label)}"))
    if len(plan.points) > SHOWN:
        screen.show(Text(f"... {pluralize(len(plan.points) - SHOWN, 'point')} more"))
    for place, rung in enumerate(plan.rungs, start=1):
        names = pluralize(rung.configs, "config")
        screen.show(Text(f"rung {place}: {names} to {pluralize(rung.epochs, 'epoch')}"))
    screen.show(Text(pluralize(len(plan.points), "run")))
