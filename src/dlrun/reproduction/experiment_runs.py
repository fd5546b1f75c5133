"""Run one experiment of a reproduction: get its data, and run its sweep over seeds."""

import contextlib
import re
import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from dlrun import run_context
from dlrun.config.sections import Baseline, Reference, Variant
from dlrun.config.yaml_loader import flatten_keys, format_override, format_settings_briefly
from dlrun.errors import DlrunError
from dlrun.experiments import registry
from dlrun.experiments.saved_run import Run
from dlrun.reports.groups import ConfigGroup
from dlrun.reports.run_data import RunSection
from dlrun.reports.spread import MetricSpread, PairedComparison, compare_pairs
from dlrun.run_context import RunSettings
from dlrun.run_folder.folder import PLAN, SWEEP_LOCK, SWEEPS, RunFolder
from dlrun.run_folder.record import checksummed_json
from dlrun.run_folder.recorded_metrics import (
    EDITIONS,
    describe_direction,
    format_interval,
    format_metric,
)
from dlrun.runs.start import load_experiment_config
from dlrun.sweeps.plan import (
    Sweep,
    SweepPlan,
    SweepPoint,
    is_run_complete,
    make_sweep_plan,
    read_sweep_plan,
)
from dlrun.sweeps.runner import run_sweep_points
from dlrun.sweeps.search_space import SEED, SearchSpace, Settings, format_seeds
from dlrun.system.console import Screen, pluralize
from dlrun.system.files import file_digest

FIRST_LABELS = "first labels"  # photographs whose most probable label is the book's


@dataclass(frozen=True)
class PublishedRow:
    """Holds a published number beside the numbers of the runs on this machine.

    published: by edition of the book. places: where it lies; None if it is not judged. reruns: of
    the authors, by source. photographs: of how many the row counts the labels; otherwise 0.
    """

    published: Mapping[str, float | None]
    here: MetricSpread
    places: Mapping[str, str | None]
    reruns: Mapping[str, float] = field(default_factory=dict)
    photographs: int = 0

    @property
    def metric(self) -> str:
        """Return the name of the metric."""
        return self.here.metric

    @property
    def cells(self) -> dict[str, str]:
        """Return the texts of a table's cells by column."""
        here = self.here
        cells = {
            "here": format_metric(here.mean),
            "sd": format_metric(here.deviation),
            "n": str(len(here.values)),
            "interval": format_interval(here.range) if here.range else "",
        }
        if self.photographs:
            cells["here"] = f"{here.values[0]:g} of {self.photographs}"
        for edition, value in self.published.items():
            cells[edition] = "" if value is None else f"{value!r}"
            cells[f"{edition} in range"] = self.places.get(edition) or ""
        return cells

    def as_object(self) -> dict[str, object]:
        """Return the row as an object for the JSON output."""
        here = self.here
        return {
            "metric": self.metric,
            **self.published,
            "reruns": self.reruns,
            "direction": describe_direction(self.metric),
            "values": here.values,
            "mean": here.mean,
            "sd": here.deviation,
            "n": len(here.values),
            "interval": here.range,
            "in_range": self.places,
        }

    def describe_reruns(self) -> str:
        """Return the metric in the authors' earlier runs, each with its source."""
        return ", ".join(f"{value!r} ({source})" for source, value in self.reruns.items())


@dataclass
class ReproducedExperiment:
    """Holds an experiment of a reproduction, or a variant of it, with its runs of one sweep.

    variant: the values to which the published numbers belong, by dotted keys; empty for those of
    the shipped config. settings: all values that differ from the shipped config. data: SHA-256 of
    its files. missing: why it cannot be run. stochastic: whether numbers depend on the seed.
    baseline: the simpler experiment that it should beat. runs: the finished ones, in the order of
    the seeds. failed: the errors of the others, by seed.
    """

    name: str
    options: RunSettings
    seeds: list[int]
    variant: Settings = field(default_factory=dict)
    settings: Settings = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""
    stochastic: bool = True
    baseline: Baseline | None = None
    runs: list[Run] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Return the name of the experiment, and the values of its variant."""
        return f"{self.name} {format_settings_briefly(self.variant)}".rstrip()

    @property
    def slug(self) -> str:
        """Return the title as a name of files, and of places on the page."""
        return re.sub("[^a-z0-9]+", "-", self.title.lower()).strip("-")

    @property
    def overrides(self) -> list[str]:
        """Return the `--set` texts of the experiment's runs."""
        settings = (format_override(key, value) for key, value in self.settings.items())
        return [*self.options.overrides, *settings]

    def make_plan(self, screen: Screen) -> SweepPlan:
        """Return the plan of the experiment's sweep. Raises ConfigError with every error."""
        options = replace(self.options, overrides=self.overrides)
        search = SearchSpace(seeds=format_seeds(self.seeds))
        name = f"reproduce-{self.slug}"
        plan = make_sweep_plan(name, self.name, options, search, screen)
        return plan.model_copy(update={"data": dict(self.data)})

    def run(self, plan: SweepPlan, screen: Screen, jobs: int | None) -> None:
        """Run the seeds without a finished run, at most `jobs` of them in parallel.

        If all runs of the sweep have finished, nothing is written.
        Raises DlrunError if another process is running them; Interrupted or Terminated once the
        current runs have ended.
        """
        runs_dir = run_context.resolve_runs_dir(self.options.runs_dir)
        folder = runs_dir / SWEEPS / plan.name
        if (finished := self._find_finished_runs(plan, folder)) is not None:
            self.runs = finished
            return
        if not (folder / PLAN).exists():
            RunFolder.claim_sweep(runs_dir, plan.name)
        with RunFolder(folder).locked(SWEEP_LOCK):
            plan = _with_earlier_points(plan, folder, screen)
            RunFolder(folder).write_text(PLAN, checksummed_json(plan))
            sweep = Sweep(plan, folder, self.options.data_dir)
            seed_of = {point.number: point.settings[SEED] for point in plan.points}
            points = [point for point in plan.points if seed_of[point.number] in self.seeds]
            try:
                state = run_sweep_points(sweep, screen, points=points, jobs=jobs)
                numbers = {point.number for point in points} & state.failed.keys()
                self.failed = {seed_of[one]: state.failed[one] for one in sorted(numbers)}
            finally:  # also the seeds that finished before an error
                by_seed = {seed_of[number]: run for number, run in sweep.find_runs().items()}
                runs = [by_seed[seed] for seed in self.seeds if seed in by_seed]
                self.runs = [run for run in runs if run.record.status == "finished"]
        if state.stopped:
            raise state.stopped

    def _find_finished_runs(self, plan: SweepPlan, folder: Path) -> list[Run] | None:
        """Return the run of each seed in an earlier sweep; None if one of them has not finished.

        The disk may be read-only.
        """
        if not (folder / PLAN).exists():
            return None
        plan = _with_earlier_points(plan, folder, Screen(quiet=True))
        runs = Sweep(plan, folder).find_runs()
        by_seed = {point.settings[SEED]: runs.get(point.number) for point in plan.points}
        found = [run for seed in self.seeds if (run := by_seed.get(seed)) and is_run_complete(run)]
        return found if len(found) == len(self.seeds) else None

    def command(self) -> str:
        """Return the shell command that runs the experiment with its seeds."""
        words, overrides = ["dlrun", self.name], self.overrides
        if len(self.seeds) > 1:
            words = ["dlrun", "sweep", self.name, "--seeds", format_seeds(self.seeds)]
        elif self.stochastic:
            overrides.append(f"{SEED}={self.seeds[0]}")
        words += [word for text in overrides for word in ("--set", text)]
        if self.options.data_dir is not None:
            words += ["--data-dir", str(self.options.data_dir)]
        return shlex.join(words)

    @property
    def seconds(self) -> float:
        """Return the median duration of the runs in seconds, without resumed runs if possible."""
        whole = [run for run in self.runs if not run.record.resumed]
        return statistics.median(run.record.seconds.get("total", 0.0) for run in whole or self.runs)

    @property
    def not_comparable(self) -> str:
        """Return why the published numbers cannot be compared with the runs; empty if they can."""
        return (self.runs[0].record.reference_differs or "") if self.runs else ""

    @property
    def notes(self) -> list[str]:
        """Return remarks for the reader: why numbers are not comparable, or missing."""
        left = len(self.seeds) - len(self.runs) - len(self.failed)
        notes = [f"(*) {self.title}: {self.not_comparable}"] if self.not_comparable else []
        if self.missing:
            notes.append(f"Not run: {self.title}: {self.missing}")
        elif left:
            notes.append(f"Not yet run: {self.title}: {left} of {len(self.seeds)} runs")
        return notes + [
            f"Failed: {self.title}, seed {one}: {why}" for one, why in self.failed.items()
        ]

    @cached_property
    def group(self) -> ConfigGroup:
        """Return the runs as the group of one config, with published numbers of other data too."""
        sections = [
            RunSection(number, run, room=0, cells=1, with_published=True)
            for number, run in enumerate(self.runs, start=1)
        ]
        return ConfigGroup("", "", sections, sections)

    @property
    def rows(self) -> list[PublishedRow]:
        """Return a row for each published metric that all runs have; none without runs."""
        if not self.runs:
            return []
        published = self.group.sections[0].published
        names = dict.fromkeys(name for values in published.values() for name in values)
        rows = [row for name in names if (row := self._row(name))]
        return rows or self._labels()

    def _row(self, metric: str) -> PublishedRow | None:
        here = self.group.spread(metric)
        if here is None:
            return None
        published = {edition: self.group.published_value(metric, edition) for edition in EDITIONS}
        places = dict[str, str | None]()
        if len(self.runs) > 1 or not self.stochastic:
            places = {edition: self.group.place(here, edition) for edition in EDITIONS}
        return PublishedRow(published, here, places, dict(self.group.rerun_values(metric)))

    def _labels(self) -> list[PublishedRow]:
        """Return the row that counts the photographs with the book's most probable label."""
        photographs = [
            one for one in self.group.sections[0].photographs if one.published.get("book")
        ]
        if not photographs:
            return []
        counts = {
            origin: sum(
                labels[0][0] == photograph.published["book"][0][0]
                for photograph in photographs
                if (labels := (photograph.published | {"here": photograph.labels}).get(origin, []))
            )
            for origin in (*EDITIONS, "here")
        }
        here = MetricSpread(FIRST_LABELS, [counts.pop("here")])
        return [PublishedRow(counts, here, {}, photographs=len(photographs))]

    @property
    def figures(self) -> dict[str, bytes]:
        """Return the figures of the first run as PNGs, by title and file name."""
        figures = {}
        for path in self.runs[0].figures if self.runs else ():
            with contextlib.suppress(DlrunError):  # it was removed, or changed
                figures[f"{self.title}, {path.name}"] = self.runs[0].read(path.name)
        return figures

    def compare_with_simpler_experiment(
        self, parts: "Sequence[ReproducedExperiment]"
    ) -> PairedComparison | None:
        """Compare the runs with those of the baseline among the parts, paired by seed.

        A baseline without chance has one value. None if there are no such pairs.
        """
        if self.baseline is None:
            return None
        wanted = self.baseline.experiment, self.baseline.set
        other = next((part for part in parts if (part.name, part.variant) == wanted), None)
        if other is None:
            return None
        metric = self.baseline.metric
        ours, theirs = self._values_by_seed(metric), other._values_by_seed(metric)
        if theirs and not other.stochastic:
            theirs = dict.fromkeys(ours, next(iter(theirs.values())))
        seeds = [seed for seed in ours if seed in theirs]
        if not seeds:
            return None
        return compare_pairs(metric, [ours[seed] for seed in seeds], [theirs[one] for one in seeds])

    def baseline_as_object(
        self, parts: "Sequence[ReproducedExperiment]"
    ) -> dict[str, object] | None:
        """Return the comparison with the baseline for the JSON output; None if there is none."""
        found = self.compare_with_simpler_experiment(parts)
        if found is None:
            return None
        return {
            "metric": found.metric,
            "n": found.pairs,
            "means": [found.value, found.baseline],
            "interval": found.interval,
            "verdict": found.verdict,
            "text": self.describe_baseline(parts),
        }

    def _values_by_seed(self, metric: str) -> dict[int | None, float]:
        """Return the values of a metric by the seed of the run; none if a run lacks it."""
        spread = self.group.spread(metric) if self.runs else None
        seeds = (run.record.seed for run in self.runs)
        return dict(zip(seeds, spread.values, strict=True)) if spread else {}

    def describe_baseline(self, parts: "Sequence[ReproducedExperiment]") -> str:
        """Return whether the runs are better than those of the baseline; empty without one."""
        if self.baseline is None or not self.runs:
            return ""
        other = " ".join([self.baseline.experiment, format_settings_briefly(self.baseline.set)])
        other = other.rstrip()
        found = self.compare_with_simpler_experiment(parts)
        if found is None:
            return f"{self.title}: not compared with {other}, which has no such runs here"
        text = f"{self.title}: mean {found.metric} {found.value:.4g} over "
        text += f"{pluralize(found.pairs, 'seed')}, {found.baseline:.4g} by {other}"
        if found.interval is None:
            return f"{text}: --seeds 10 says whether such a difference is reliable"
        low, high = (f"{end:.4g}" for end in found.interval)
        text += f", 95 % interval of the mean difference {low} to {high}: {found.verdict}"
        return f"{text} ({describe_direction(found.metric)})"


def prepare_reproduction(
    names: Sequence[str], seeds: Sequence[int], options: RunSettings, screen: Screen
) -> list[ReproducedExperiment]:
    """Prepare experiments for a reproduction, and download the data sets that are missing.

    If the download fails, `missing` says why; each data set is tried once. The variants of an
    experiment follow it.
    """
    parts, failures, looked_at = [], dict[str, str](), set[str]()
    for name in names:
        part, source = ReproducedExperiment(name, options, list(seeds)), name
        variants: list[Variant] = []
        try:
            experiment = registry.load_experiment(name)
            config = load_experiment_config(name, options)
            if isinstance(reference := config.reference_section, Reference):
                part.baseline, variants = reference.baseline, reference.variants
            part.stochastic = config.depends_on_seed
            if not part.stochastic:
                part.seeds = [config.seed]
            if (dataset := registry.experiment_dataset(name)) is not None:
                source = dataset.name
            if source not in failures:
                data_dir = run_context.resolve_data_dir(options.data_dir)
                if source not in looked_at:
                    screen.note(f"data of {name}")
                said = Screen(quiet=True) if source in looked_at else screen  # each note once
                looked_at.add(source)
                files, part.settings = experiment.lab_setup(config, data_dir, said)
                part.data = {path.name: file_digest(path) for path in files if path.is_file()}
        except OSError as error:
            failures[source] = f"its data: {error.strerror}"
        except DlrunError as error:
            failures[source] = error.message
        part.missing = failures.get(source, "")
        parts.append(part)
        for values in (variant.set for variant in variants):
            settings = part.settings | values
            parts.append(replace(part, variant=values, settings=settings, baseline=None))
    return parts


def _with_earlier_points(new: SweepPlan, folder: Path, screen: Screen) -> SweepPlan:
    """Return the plan in a folder with missing points added, or the new plan if they conflict."""
    if not (folder / PLAN).exists():
        return new
    try:
        earlier = read_sweep_plan(folder)
        before, now = (
            (plan.keys, plan.data, flatten_keys(plan.base) | {SEED: 0}) for plan in (earlier, new)
        )
        if before != now:
            raise DlrunError(f"{folder}: its data or config have changed")
    except DlrunError as error:  # also if damaged, or if code or packages have changed
        screen.note(f"all seeds are run again: {error.message}")
        return new
    points = list(earlier.points)
    known = {point.settings[SEED] for point in points}
    for point in new.points:
        if point.settings[SEED] not in known:
            points.append(SweepPoint(number=len(points) + 1, settings=point.settings))
    return earlier.model_copy(update={"points": points})
