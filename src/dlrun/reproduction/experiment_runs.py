"""One experiment of a reproduction: its data, and its runs over the seeds."""

import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from dlrun import run_context
from dlrun.config.sections import ExperimentConfig
from dlrun.config.yaml_loader import flatten, format_override
from dlrun.errors import DlrunError
from dlrun.experiments import registry
from dlrun.experiments.run import Run
from dlrun.reports.run_section import RunSection
from dlrun.run_context import RunSettings
from dlrun.run_folder.folder import PLAN, SWEEP_LOCK, SWEEPS, RunFolder
from dlrun.runs.start import load_config
from dlrun.sweeps.plan import (
    Plan,
    Point,
    Sweep,
    check_unchanged,
    make_plan,
    plan_points,
    read_plan,
    write_plan,
)
from dlrun.sweeps.runner import run_points
from dlrun.sweeps.search import SEED, Settings
from dlrun.sweeps.state import SweepState, runs_by_point
from dlrun.sweeps.summary import format_ranges
from dlrun.system.console import Screen, pluralize
from dlrun.system.files import file_digest

# Of a run on the page: characters of its pictures, numbers of its curves.
PICTURE_CHARACTERS, CURVE_NUMBERS = 250_000, 1_500


@dataclass
class ExperimentRuns:
    """An experiment and its runs, which are those of the sweep `reproduce-EXPERIMENT`.

    settings: what differs from the shipped config, by dotted keys. data: SHA-256 of its files.
    missing: why it cannot be run. runs: the finished ones, in the order of the seeds. failed: why
    others are not, by seed.
    """

    name: str
    options: RunSettings
    seeds: list[int]
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""
    runs: list[Run] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)

    @cached_property
    def planned(self) -> tuple[list[ExperimentConfig], list[Settings]]:
        """The configs of its runs, and their own settings. Raises ConfigError with every error."""
        sets = [format_override(key, value) for key, value in self.settings.items()]
        options = RunSettings(
            overrides=[*self.options.overrides, *sets], runs_dir=self.options.runs_dir
        )
        return plan_points(self.name, options, seeds=format_ranges(self.seeds))

    def run(self, screen: Screen) -> None:
        """Run the seeds that are missing, one at a time: each has the machine to itself.

        Raises DlrunError if another process is running them; Interrupted or Terminated once the
        run has ended.
        """
        runs_dir, name = run_context.runs_dir(self.options.runs_dir), f"reproduce-{self.name}"
        folder = RunFolder(runs_dir / SWEEPS / name)
        if not (folder.path / PLAN).exists():
            folder = RunFolder.claim_sweep(runs_dir, name)
        configs, _ = self.planned
        with folder.locked(screen, SWEEP_LOCK):
            plan = self._plan(folder, screen)
            write_plan(plan, folder)
            sweep = Sweep(plan, folder.path, self.options.data_dir)
            points = [one for one in plan.points if one.settings[SEED] in self.seeds]
            state = SweepState({})
            try:
                state = run_points(sweep, configs, screen, points=points, jobs=1)
            finally:  # the other seeds are there too
                self._take(plan, runs_by_point(sweep), state.failed)
        if state.stopped:
            raise state.stopped

    def _plan(self, folder: RunFolder, screen: Screen) -> Plan:
        """Return the folder's plan with the seeds that it lacks, or a new one, and say why.

        Raises DlrunError if the folder's plan is not a reproduction's.
        """
        new = make_plan(folder.path.name, self.name, *self.planned, data=self.data)
        if not (folder.path / PLAN).exists():
            return new
        try:
            sweep = read_plan(folder.path)
            why = _difference(sweep, new)
        except DlrunError as error:  # damaged, or code or packages have changed
            why = error.message
        else:
            if sweep.plan.keys or sweep.plan.rungs or (self.data and not sweep.plan.data):
                raise DlrunError(
                    f"{folder.path}: a sweep of your own has the name of a reproduction",
                    "give its folder another name",
                )
        if why:
            screen.note(f"all seeds are run again: {why}")
            return new
        plan = sweep.plan
        known = {point.settings[SEED] for point in plan.points}
        added = [seed for seed in self.seeds if seed not in known]
        points = [
            Point(number=number, settings={SEED: seed})
            for number, seed in enumerate(added, start=len(plan.points) + 1)
        ]
        return plan.model_copy(update={"points": [*plan.points, *points]})

    def _take(self, plan: Plan, runs: Mapping[int, Run], failed: Mapping[int, str]) -> None:
        """Take the finished runs and the errors of the wanted seeds."""
        seed_of = {one.number: one.settings[SEED] for one in plan.points}
        self.failed = {seed_of[number]: why for number, why in failed.items()}
        finished = {
            seed_of[number]: run for number, run in runs.items() if run.record.status == "finished"
        }
        self.runs = [finished[seed] for seed in self.seeds if seed in finished]

    @cached_property
    def sections(self) -> list[RunSection]:
        """Its runs as sections of a page."""
        return [
            RunSection(place, run, room=PICTURE_CHARACTERS, cells=CURVE_NUMBERS)
            for place, run in enumerate(self.runs)
        ]

    @property
    def reference(self) -> dict[str, Any]:
        """What is published about it."""
        return self.runs[0].record.reference

    @property
    def reserved(self) -> str:
        """Why the published numbers are not quite comparable; empty if they are."""
        return (self.runs[0].record.reference_differs or "") if self.runs else ""

    @property
    def seconds(self) -> float:
        """The median run's; of a resumed one only a part is known."""
        whole = [run for run in self.runs if not run.record.resumed]
        return statistics.median(run.record.seconds.get("total", 0.0) for run in whole or self.runs)

    @property
    def unfinished(self) -> str:
        """How many of its runs are not done; empty if all are."""
        left = len(self.seeds) - len(self.runs) - len(self.failed)
        return f"{left} of {pluralize(len(self.seeds), 'run')}" if left and not self.missing else ""

    def command(self, seed: int | None = None) -> str:
        """Return the command that gives the numbers of all seeds, or of one."""
        words, settings = ["dlrun", self.name], dict(self.settings)
        if seed is not None:
            settings[SEED] = seed
        elif len(self.seeds) > 1:
            words = ["dlrun", "sweep", self.name, "--seeds", format_ranges(self.seeds)]
        sets = [*self.options.overrides, *(format_override(*one) for one in settings.items())]
        words += [word for one in sets for word in ("--set", one)]
        if self.options.data_dir is not None:
            words += ["--data-dir", str(self.options.data_dir)]
        return shlex.join(words)


def find_data(
    name: str,
    seeds: Sequence[int],
    options: RunSettings,
    failures: dict[str, str],
    screen: Screen,
) -> ExperimentRuns:
    """Return an experiment with its data, which are downloaded if they are missing.

    If that fails, `missing` says why; `failures` keeps it by data set, so that it is tried once.
    """
    made, source = ExperimentRuns(name, options, list(seeds)), name
    try:
        experiment, config = registry.load(name), load_config(name, options)
        if not config.stochastic:
            made.seeds = [config.seed]
        if (dataset := registry.dataset(name)) is not None:
            source = dataset.name
        made.missing = failures.get(source, "")
        if not made.missing:
            folder = run_context.data_dir(options.data_dir)
            lab = experiment.lab_setup(config, folder, screen)
            made.settings = lab.settings
            made.data = {path.name: file_digest(path) for path in lab.files if path.is_file()}
    except OSError as error:
        made.missing = f"its data: {error.strerror}"
    except DlrunError as error:
        made.missing = error.message
        failures[source] = error.message
    return made


def _difference(sweep: Sweep, new: Plan) -> str:
    """Return why a sweep's runs cannot stand beside those of a new plan; empty if they can.

    Raises DlrunError if code or packages have changed.
    """
    check_unchanged(sweep)
    if sweep.plan.data != new.data:
        return f"{sweep.folder}: its data were others"
    same = _without_seed(sweep.plan.base) == _without_seed(new.base)
    return "" if same else f"{sweep.folder}: its config was another"


def _without_seed(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in flatten(values).items() if key != SEED}
