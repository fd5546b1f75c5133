"""One experiment of a reproduction: its data, its runs over the seeds."""

import itertools
import shlex
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from dlrun import run_context
from dlrun.config.sections import ExperimentConfig
from dlrun.config.yaml_loader import flatten, format_override
from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments import registry
from dlrun.reports.run_section import RunSection
from dlrun.run_folder.sweep_folder import held_sweep, new_sweep, sweeps_in
from dlrun.runs.run import Run
from dlrun.runs.settings import RunSettings
from dlrun.runs.start import load_config
from dlrun.sweeps import plan as plans
from dlrun.sweeps import state
from dlrun.sweeps.cpu_sharing import share_cores
from dlrun.sweeps.plan import Sweep
from dlrun.sweeps.planning import plan_points
from dlrun.sweeps.runner import SweepRunner, SweepSettings, SweepState
from dlrun.sweeps.search import SEED, SearchSpace, Settings
from dlrun.sweeps.summary import format_ranges
from dlrun.system.console import Screen, pluralize
from dlrun.system.files import file_digest

PREFIX = "reproduce"  # of its sweeps' names
ROOM, CELLS = 250_000, 1_500  # of a run on the page: characters of pictures, numbers of curves


@dataclass
class ExperimentRuns:
    """An experiment, and what came of it.

    settings: what of the shipped config is else, by dotted keys. data: the SHA-256 of its files.
    missing: why it cannot be run.
    runs: the finished ones, in the order of the seeds. failed: why others are not, by seed.
    """

    name: str
    options: RunSettings
    seeds: list[int]
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""
    runs: list[Run] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        name: str,
        seeds: Sequence[int],
        options: RunSettings,
        known: dict[str, str],
        screen: Screen,
    ) -> "ExperimentRuns":
        """The experiment with its data, which are downloaded where they are missing.

        Where that fails, the part says why; `known` takes it by the data set, for others to know.
        """
        made, source = cls(name, options, list(seeds)), name
        try:
            experiment, config = registry.load(name), load_config(name, options)
            if not config.stochastic:
                made.seeds = [config.seed]
            if (dataset := registry.dataset(name)) is not None:
                source = dataset.name
            made.missing = known.get(source, "")
            if not made.missing:
                folder = run_context.data_dir(options.data_dir)
                lab = experiment.lab_setup(config, folder, screen)
                made.settings = lab.settings
                made.data = {path.name: file_digest(path) for path in lab.files if path.is_file()}
        except OSError as error:
            made.missing = f"its data: {error.strerror}"
        except DlrunError as error:
            made.missing = error.message
            known[source] = error.message
        return made

    @cached_property
    def planned(self) -> tuple[list[ExperimentConfig], list[Settings]]:
        """Its runs' configs, and what of each is its own. Raises ConfigError with every fault."""
        sets = [format_override(key, value) for key, value in self.settings.items()]
        options = RunSettings(
            overrides=[*self.options.overrides, *sets], runs_dir=self.options.runs_dir
        )
        return plan_points(self.name, SearchSpace(seeds=format_ranges(self.seeds)), options)

    def do(self, screen: Screen) -> None:
        """Do those of its runs that are missing, one at a time: each has the machine to itself.

        Raises DlrunError where another process is at it; Interrupted or Terminated once its run has
        ended.
        """
        configs, settings = self.planned
        share = share_cores(configs, jobs=1)
        for there in self._sweeps(configs, settings, screen):
            done = SweepState()
            wanted = [one for one in there.plan.points if one.settings[SEED] in self.seeds]
            try:
                with held_sweep(there.folder, screen):
                    state.clear_leftovers(there, screen)
                    how = SweepSettings(share, screen, self.options.data_dir)
                    SweepRunner(there, how, done, wanted).run()
            finally:  # after a signal, what there is by then
                done.runs = state.runs_by_point(there)
                self._take(there, done)

    def _take(self, there: Sweep, done: SweepState) -> None:
        """Take what came of a sweep."""
        seed_of = {one.number: one.settings[SEED] for one in there.plan.points}
        self.failed |= {seed_of[number]: why for number, why in done.failed.items()}
        finished = {run.record.seed: run for run in self.runs}
        for number, run in done.runs.items():
            if run.record.status == "finished":
                finished[seed_of[number]] = Run(run.folder, run.record)
        self.runs = [finished[seed] for seed in self.seeds if seed in finished]

    def _sweeps(
        self,
        configs: Sequence[ExperimentConfig],
        settings: Sequence[Settings],
        screen: Screen,
    ) -> Iterator[Sweep]:
        """Earlier ones of the same config, code and packages; one more of seeds that they lack."""
        runs_dir = run_context.runs_dir(self.options.runs_dir)
        values = [config.model_dump(mode="json") for config in configs]
        left = dict(zip(self.seeds, zip(values, settings, strict=True), strict=True))
        there = sweeps_in(runs_dir)
        for folder in reversed(there):
            found = self._earlier(folder, values[0], screen) if left else None
            if found and left.keys() & (seeds := {one.settings[SEED] for one in found.plan.points}):
                left = {seed: one for seed, one in left.items() if seed not in seeds}
                yield found
        if left:
            taken, first = {one.name for one in there}, f"{PREFIX}-{self.name}"
            others = (f"{first}-{number}" for number in itertools.count(2))
            name = next(one for one in itertools.chain([first], others) if one not in taken)
            yield self._new(name, list(left.values()), runs_dir, screen)

    def _new(
        self,
        name: str,
        points: Sequence[tuple[dict[str, Any], Settings]],
        runs_dir: Path,
        screen: Screen,
    ) -> Sweep:
        """A new sweep. Raises DlrunError where another process has just made it."""
        values, settings = zip(*points, strict=True)
        plan = plans.make_plan(name, self.name, values, settings, data=self.data)
        try:
            folder = new_sweep(runs_dir, name)
            with held_sweep(folder.path, screen):
                return plans.write_plan(plan, folder)
        except ConfigError as error:
            raise DlrunError(
                f"{error.message}: is another process at it?", "wait for it, or end it"
            ) from None

    def _earlier(self, folder: Path, values: Mapping[str, Any], screen: Screen) -> Sweep | None:
        """An earlier sweep of the same; None where it is of something else, or damaged."""
        if not folder.name.startswith(f"{PREFIX}-{self.name}"):
            return None
        try:
            found = plans.read_plan(folder)
            plans.check_causes(found)
        except DlrunError as error:  # other code or packages, or damaged
            screen.note(f"not used again: {error.message}")
            return None
        plan = found.plan
        if plan.data != self.data:
            screen.note(f"not used again: {folder}: its data were others")
            return None
        same = plan.experiment == self.name and not (plan.keys or plan.rungs)
        seeds = all(SEED in point.settings for point in plan.points)
        alike = _without_seed(plan.base) == _without_seed(values)
        return found if same and seeds and alike else None

    @cached_property
    def chapters(self) -> list[RunSection]:
        """Its runs as a page tells them."""
        return [
            RunSection(place, run, room=ROOM, cells=CELLS) for place, run in enumerate(self.runs)
        ]

    @property
    def reference(self) -> dict[str, Any]:
        """What is published of it."""
        return self.runs[0].record.reference

    @property
    def reserved(self) -> str:
        """Why the published numbers are not quite of the same; empty where they are."""
        return (self.runs[0].record.reference_differs or "") if self.runs else ""

    @property
    def seconds(self) -> float:
        """The median run's; of one that was resumed only a part is known."""
        whole = [run for run in self.runs if not run.record.resumed]
        return statistics.median(run.record.seconds.get("total", 0.0) for run in whole or self.runs)

    @property
    def unfinished(self) -> str:
        """How many of its runs are not done; empty if all are."""
        left = len(self.seeds) - len(self.runs) - len(self.failed)
        return f"{left} of {pluralize(len(self.seeds), 'run')}" if left and not self.missing else ""

    def command(self, seed: int | None = None) -> str:
        """What gives the numbers of all seeds, or of one."""
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


def _without_seed(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in flatten(values).items() if key != SEED}
