"""`dlrun sweep`: plan, check, do, show; or go on with a sweep that was ended."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rich.text import Text

from dlrun import session
from dlrun.config.sections import ExperimentConfig
from dlrun.declaration import registry
from dlrun.errors import ConfigError, Stopped
from dlrun.runs import ending as run_ending
from dlrun.runs.execute import valid
from dlrun.runs.options import Options
from dlrun.runs.ranks import several
from dlrun.screen import Screen, counted, printable
from dlrun.slurm.asked import Asked as SlurmAsked
from dlrun.store.folder import to_json
from dlrun.store.sweep_folder import find_sweep, held_sweep, new_sweep
from dlrun.sweeps import on_slurm, reached
from dlrun.sweeps import plan as plans
from dlrun.sweeps.ending import print_json, show, write
from dlrun.sweeps.engine import Done, Engine, How
from dlrun.sweeps.halving import rungs
from dlrun.sweeps.plan import EPOCHS, Plan, Planned, Rung
from dlrun.sweeps.planning import distinct, planned
from dlrun.sweeps.points import SEED, Asked, Settings
from dlrun.sweeps.sharing import shared

SHOWN = 200  # points of a dry run


@dataclass(frozen=True)
class Wanted:
    """What is asked for beside what a single run takes.

    asked: what varies. jobs: runs at once; None: as many as fill the machine. eta: of successive
    halving; None without it. slurm: what is asked of SLURM, where that does the runs; wait: for it.
    """

    asked: Asked = field(default_factory=Asked)
    jobs: int | None = None
    eta: int | None = None
    fail_fast: bool = False
    slurm: SlurmAsked | None = None
    wait: bool = False


def sweep(experiment: str, wanted: Wanted, options: Options) -> int:
    """Run an experiment at many points; the exit code: 1 where a point failed.

    Raises ConfigError with every fault before anything begins; Interrupted or Terminated once all
    runs have ended, and what there is was printed where JSON is wanted.
    """
    screen = _screen(options)
    with run_ending.errors_as_json(screen, wanted=options.json):
        _check(wanted)
        asked = planned(experiment, wanted.asked, options, here=wanted.slurm is None)
        configs, settings = distinct(*asked)
        if (given := len(asked[0])) > len(configs):
            screen.note(f"{len(configs)} of {given} points are distinct; equal ones are run once")
        steps = _rungs(configs, settings, wanted.eta)
        runs_dir = session.runs_dir(options.runs_dir)
        dumps = [config.model_dump(mode="json") for config in configs]
        if options.dry_run:
            made = plans.make(options.name or "NAME", experiment, dumps, settings, steps)
            _show_points(made, screen, json=options.json)
            screen.note(
                f"dry run: all points are valid; they would go into {runs_dir / experiment}"
            )
            return 0
        folder = new_sweep(runs_dir, options.name)
        with held_sweep(folder.path, screen):
            made = plans.make(folder.path.name, experiment, dumps, settings, steps)
            there = replace(plans.write(made, folder), data_dir=options.data_dir)
            screen.note(f"sweep folder: {folder.path}")
            return _go(there, configs, wanted, options, screen)


def resume(name: str, wanted: Wanted, options: Options) -> int:
    """Do what is missing of a sweep, and go on with what is half done; the exit code.

    Raises ConfigError where there is no such sweep, DlrunError where another process works at it,
    or code and packages are others than when it began.
    """
    screen = _screen(options)
    with run_ending.errors_as_json(screen, wanted=options.json):
        _check(wanted)
        found = plans.read(find_sweep(name, session.runs_dir(options.runs_dir)))
        there = replace(found, data_dir=options.data_dir)
        if not options.force:
            plans.check_causes(there)
        configs = [valid(there.plan.experiment, there.plan.values(p)) for p in there.plan.points]
        with held_sweep(there.folder, screen):
            screen.note(f"sweep folder: {there.folder}")
            return _go(there, configs, wanted, options, screen)


def _go(
    there: Planned,
    configs: Sequence[ExperimentConfig],
    wanted: Wanted,
    options: Options,
    screen: Screen,
) -> int:
    done = Done()
    try:
        if wanted.slurm is None:
            _do(there, configs, wanted, options, screen, done)
        else:
            if there.plan.rungs:
                raise ConfigError("--slurm: a sweep by --halving is done here", "leave --slurm out")
            reached.clear(there, screen)
            watched = on_slurm.submit(there, configs, wanted.slurm, options, screen)
            if watched and not wanted.wait:
                on_slurm.show(there, watched, screen, json=options.json)
                return 0
            on_slurm.wait(there, watched, screen, done)
        written = write(there, done, screen)
    except Stopped:
        if options.json:
            done.runs = reached.runs_of(there)
            with contextlib.suppress(OSError):  # a closed pipe changes nothing of how it ended
                print_json(there, done, screen, "interrupted")
        raise
    return show(there, done, written, screen, json=options.json)


def _do(
    there: Planned,
    configs: Sequence[ExperimentConfig],
    wanted: Wanted,
    options: Options,
    screen: Screen,
    done: Done,
) -> None:
    """Do the points here, by workers."""
    share = shared(registry.load(there.plan.experiment), configs, wanted.jobs)
    if share.note:
        screen.note(share.note)
    reached.clear(there, screen)
    how = How(share, screen, options.data_dir, wanted.fail_fast, options.force)
    try:
        Engine(there, how, done).run()
    except BaseException:
        screen.warn(f"not done; go on with: {there.go_on}")
        raise


def _check(wanted: Wanted) -> None:
    """Raises ConfigError where no run can be started from here."""
    if wanted.slurm is not None:
        on_slurm.check(wanted.slurm)
    elif started := several():
        raise ConfigError(f"{started}, each of which would sweep", f"leave {started.by} out")


def _screen(options: Options) -> Screen:
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
        screen.show(Text(f"... {counted(len(plan.points) - SHOWN, 'point')} more"))
    for place, rung in enumerate(plan.rungs, start=1):
        names = counted(rung.configs, "config")
        screen.show(Text(f"rung {place}: {names} to {counted(rung.epochs, 'epoch')}"))
    screen.show(Text(counted(len(plan.points), "run")))
