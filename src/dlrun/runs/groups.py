"""Group the runs of one config over seeds and folds, and say how a metric spreads over them."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from dlrun import stats
from dlrun.config.data_sections import CHANCE, FOLD
from dlrun.config.sections import DATA_PLACES
from dlrun.config.yaml_loader import Values, name_with_settings
from dlrun.data.split import Division, Split
from dlrun.metrics import TESTED, Metric, is_plottable
from dlrun.runs.damage_and_copies import CopyOrder, find_copies
from dlrun.runs.ranked_metrics import main_metric, selection_metric
from dlrun.runs.record import RunRecord
from dlrun.runs.run import Run

FEWEST = 5  # seeds, folds or test rows, below which dlrun says nothing about them
Interval = tuple[float, float]


class Repeat(NamedTuple):
    """Says in what the runs of one config differ: in their seed and their fold.

    The name of a run stands for a missing seed. Of several runs with the same seed and fold, one
    counts.
    """

    seed: int | str
    fold: int | None

    @classmethod
    def of(cls, run: Run) -> "Repeat":
        seed = run.name if run.record.seed is None else run.record.seed
        return cls(seed, run.settings.get(FOLD))


def describe_too_few_runs(count: int, unit: str) -> str:
    """The sentence says that nothing can be concluded; it is empty if there are enough runs."""
    return "" if count >= FEWEST else f"too few {unit}s to say ({count} of {FEWEST})"


@dataclass(frozen=True)
class Spread:
    """Holds the values of a metric over the seeds or folds of a group."""

    metric: Metric
    values: list[float]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values)

    @property
    def sd(self) -> float | None:
        """A single value has no standard deviation."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @cached_property
    def interval_of_mean(self) -> Interval | None:
        """In 95 % of samples the mean of many seeds lies in this interval."""
        return self._within_bounds(stats.mean_interval(self.values))

    @cached_property
    def range_of_runs(self) -> Interval | None:
        """The range holds 95 % of single runs."""
        return self._within_bounds(stats.prediction_interval(self.values))

    def _within_bounds(self, ends: Interval | None) -> Interval | None:
        """The interval ends where the metric's possible values end."""
        if ends is None:
            return None
        low, high = ends
        least, most = self.metric.bounds
        # A measured value may lie outside the bounds: the interval may reach as far.
        low = low if least is None else max(low, min(least, *self.values))
        high = high if most is None else min(high, max(most, *self.values))
        return low, high


def finite_metric(run: Run, metric: str) -> float | None:
    """A metric that the run lacks, or that is NaN, infinite or too large to draw, is None."""
    value = run.record.metrics.get(metric)
    return value if value is not None and is_plottable(value) else None


def finite_metrics(runs: Iterable[Run], metric: str) -> list[float]:
    """Runs without a finite value of the metric are left out."""
    values = [finite_metric(run, metric) for run in runs]
    return [value for value in values if value is not None]


def mean_of_runs(runs: Iterable[Run], metric: str) -> float:
    """All runs must have the metric: `Group.values` and `Group.spreads` have no others."""
    return statistics.fmean(finite_metrics(runs, metric))


def mean_seconds(runs: Iterable[Run], part: str) -> float | None:
    """Return the mean time of a part of the runs; None if not all runs know theirs."""
    seconds = [run.record.seconds.get(part) for run in runs]
    known = [value for value in seconds if value is not None]
    return statistics.fmean(known) if known and len(known) == len(seconds) else None


@dataclass(frozen=True)
class Group:
    """Holds the runs of one config on the same data."""

    runs: list[Run]  # in any state
    # The finished runs without copies; of those with the same seed and fold, the one begun last.
    counted: Mapping[Repeat, Run]
    copies: Mapping[Path, str]  # of which other run a run is a copy, in words, by folder
    # The settings that tell the config from others beside it.
    settings: Values = field(default_factory=dict)

    @property
    def record(self) -> RunRecord:
        """All runs share a config; the record is that of the first run that counts, if any does."""
        return next(iter(self.counted.values()), self.runs[0]).record

    @property
    def name(self) -> str:
        """The experiment's name is followed by the settings that tell this config from others."""
        return name_with_settings(self.record.experiment, self.settings)

    def rows_by_division(self, metric: str) -> dict[Division | None, str]:
        """By division, the text identifies the rows on which the runs computed a metric.

        A run that has not read its data yet is left out.
        """
        known = {division_of(run): run.record.rows_of(metric) for run in self.runs}
        return {division: rows for division, rows in known.items() if rows is not None}

    def mean_over(self, divisions: Iterable[Division | None], metric: str) -> float | None:
        chosen = set(divisions)
        runs = [run for run in self.counted.values() if division_of(run) in chosen]
        values = finite_metrics(runs, metric)
        return statistics.fmean(values) if values else None

    @property
    def fold_count(self) -> int:
        """Runs of a single fold, or of none, count no folds."""
        folds = {repeat.fold for repeat in self.counted}
        return len(folds) if len(folds) > 1 else 0

    @property
    def unit(self) -> str:
        return "fold" if self.fold_count else "seed"

    @cached_property
    def depends_on_chance(self) -> bool:
        """Folds differ in their rows, and seeds in whatever the config says they change."""
        return bool(self.fold_count) or self.record.depends_on_seed

    @property
    def is_single_fit(self) -> bool:
        """A seed may divide the rows of this fit, but changes nothing else."""
        return len(self.counted) == 1 and not self.record.is_stochastic

    def shortage(self, spread: Spread) -> str:
        """The sentence is empty if there are enough seeds or folds, or chance plays no part."""
        if not self.depends_on_chance:
            return ""
        return describe_too_few_runs(len(spread.values), self.unit)

    @cached_property
    def runs_by_unit(self) -> dict[int | str, list[Run]]:
        """The counted runs stand by seed, or by fold if there are several folds.

        A fold may have runs of several seeds. Of runs that depend on no seed only the first is
        given.
        """
        by_unit: dict[int | str, list[Run]] = {}
        for repeat, run in self.counted.items():
            key = repeat.seed if repeat.fold is None or not self.fold_count else repeat.fold
            by_unit.setdefault(key, []).append(run)
        return by_unit if self.depends_on_chance else dict(list(by_unit.items())[:1])

    def values(self, metric: str) -> dict[int | str, float]:
        """The values of a metric stand by seed or by fold; there are none if any run lacks it.

        The runs of one fold, with several seeds, count as one value, their mean. Runs that depend
        on no seed have one value.
        """
        if any(finite_metric(run, metric) is None for run in self.counted.values()):
            return {}
        return {key: mean_of_runs(runs, metric) for key, runs in self.runs_by_unit.items()}

    @cached_property
    def spreads(self) -> dict[str, Spread]:
        """A metric that one of the counted runs lacks has no spread."""
        return {
            name: Spread(self.record.metric(name), list(values.values()))
            for name in self.record.metrics
            if (values := self.values(name))
        }

    @property
    def main_spread(self) -> Spread | None:
        """The main metric is the test metric by which the runs are judged."""
        return self.spreads.get(main_metric(self.record) or "")

    @property
    def validation_spread(self) -> Spread | None:
        """A sweep selects its best config by this spread."""
        metric = selection_metric(self.record, self.spreads)
        return self.spreads[metric.name] if metric else None

    @property
    def test_spreads(self) -> list[Spread]:
        """The main test metric comes first."""
        spreads = [spread for name, spread in self.spreads.items() if name.startswith(TESTED)]
        main_metric = self.main_spread and self.main_spread.metric
        return sorted(spreads, key=lambda spread: spread.metric != main_metric)

    @property
    def median_run(self) -> Run | None:
        """The median run is the one whose main metric is the median."""
        runs = list(self.counted.values())
        if self.main_spread is not None:
            main_metric = self.main_spread.metric.name
            runs.sort(key=lambda run: finite_metric(run, main_metric) or 0)
        return runs[(len(runs) - 1) // 2] if runs else None


def group_runs(runs: Iterable[Run]) -> list[Group]:
    """The groups stand in the order of their first runs."""
    all_runs = list(runs)
    copies = find_copies(map(CopyOrder.of_run, all_runs))
    groups = [
        Group(
            members,
            _newest_by_repeat(members, copies),
            {run.folder: copies[run.folder] for run in members if run.folder in copies},
        )
        for members in _divide_by_config_and_data(all_runs)
    ]
    return name_by_varied_settings(groups)


@dataclass
class _SameData:
    """Holds what the runs of one config on the same data say of the data.

    A run that has not finished says nothing.
    """

    all_rows: str | None = None  # see `RunRecord.all_rows`
    splits: dict[Division, Split] = field(default_factory=dict)

    def add_if_same(self, record: RunRecord) -> bool:
        """The run is added unless its data differ; the answer says whether it was."""
        split = record.split
        if record.all_rows is None:
            return True
        if self.all_rows not in (None, record.all_rows):
            return False
        if split is not None and self.splits.setdefault(split.division, split) != split:
            return False
        self.all_rows = record.all_rows
        return True


def division_of(run: Run) -> Division | None:
    return run.record.split.division if run.record.split else None


def _divide_by_config_and_data(runs: Sequence[Run]) -> list[list[Run]]:
    divided: list[list[Run]] = []
    same_config: dict[str, list[tuple[_SameData, list[Run]]]] = {}
    for run in runs:
        config = _config_without_chance(run)
        config_key = json.dumps([run.record.experiment, config], sort_keys=True, default=str)
        for same_data, members in same_config.setdefault(config_key, []):
            if same_data.add_if_same(run.record):
                members.append(run)
                break
        else:  # the first run of the config on these data
            same_data = _SameData()
            same_data.add_if_same(run.record)
            members = [run]
            same_config[config_key].append((same_data, members))
            divided.append(members)
    return divided


def _config_without_chance(run: Run) -> Values:
    """All runs of a config share these settings, by dotted keys.

    They may differ in seed, fold, device, threads, loggers and in where their data are.
    """
    ignored = CHANCE | DATA_PLACES
    return {key: value for key, value in run.settings.items() if key not in ignored}


def _newest_by_repeat(runs: Sequence[Run], copies: Mapping[Path, str]) -> dict[Repeat, Run]:
    """Copies do not count, and of several runs of a seed and fold only the one begun last does."""
    finished = [run for run in runs if run.is_finished and run.folder not in copies]
    finished.sort(key=lambda run: run.record.started or "")
    newest = {Repeat.of(run): run for run in finished}
    # The start decides which run counts, `runs` decides the order.
    return {Repeat.of(run): run for run in runs if newest.get(Repeat.of(run)) is run}


def name_by_varied_settings(groups: Sequence[Group]) -> list[Group]:
    """Each group gets the settings that tell it from the others of its experiment."""
    keys_of_experiment: dict[str, list[str]] = {}
    for experiment in dict.fromkeys(group.record.experiment for group in groups):
        configs = [
            _config_without_chance(group.runs[0])
            for group in groups
            if group.record.experiment == experiment
        ]
        keys_of_experiment[experiment] = varied_keys(configs)
    named = []
    for group in groups:
        config = _config_without_chance(group.runs[0])
        keys = keys_of_experiment[group.record.experiment]
        settings = {key: config[key] for key in keys if key in config}
        named.append(replace(group, settings=settings))
    return named


def varied_keys(configs: Sequence[Values]) -> list[str]:
    """A key varies if the configs have different values for it, or some lack it."""
    keys = dict.fromkeys(key for config in configs for key in config)
    # `...` stands for a missing key.
    return [key for key in keys if len({repr(config.get(key, ...)) for config in configs}) > 1]
