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
from dlrun.runs.copies import CopyOrder, find_copies
from dlrun.runs.ranked_metrics import main_metric, selection_metric
from dlrun.runs.record import RunRecord
from dlrun.runs.run import Run

FEWEST = 5  # seeds, folds or test rows, below which dlrun says nothing about them
Interval = tuple[float, float]


class Repeat(NamedTuple):
    """Says in what runs of one config differ: in the seed, or the name of a run without, and fold.

    Of several runs with the same ones, one counts.
    """

    seed: int | str
    fold: int | None

    @classmethod
    def of(cls, run: Run) -> "Repeat":
        """Return the seed, or else the name, and the fold of a run."""
        seed = run.name if run.record.seed is None else run.record.seed
        return cls(seed, run.settings.get(FOLD))


def describe_too_few_runs(count: int, unit: str) -> str:
    """Return a sentence that seeds or folds are too few for a conclusion, or an empty string."""
    return "" if count >= FEWEST else f"too few {unit}s to say ({count} of {FEWEST})"


@dataclass(frozen=True)
class Spread:
    """Holds the values of a metric over the seeds or folds of a group."""

    metric: Metric
    values: list[float]

    @property
    def mean(self) -> float:
        """Return the mean of the values."""
        return statistics.fmean(self.values)

    @property
    def sd(self) -> float | None:
        """Return the sample standard deviation; None of a single value."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @cached_property
    def interval_of_mean(self) -> Interval | None:
        """Return the 95 % interval of the mean of many seeds; None of a single value."""
        return self._within_bounds(stats.mean_interval(self.values))

    @cached_property
    def range_of_runs(self) -> Interval | None:
        """Return the range that holds 95 % of single runs; None of a single value."""
        return self._within_bounds(stats.prediction_interval(self.values))

    def _within_bounds(self, ends: Interval | None) -> Interval | None:
        """Return an interval that ends where the metric's possible values end."""
        if ends is None:
            return None
        low, high = ends
        least, most = self.metric.bounds
        # A measured value may lie outside the bounds: the interval may reach as far.
        low = low if least is None else max(low, min(least, *self.values))
        high = high if most is None else min(high, max(most, *self.values))
        return low, high


def mean_of_runs(runs: Iterable[Run], metric: str) -> float:
    """Return the mean of a metric of runs that have the metric."""
    return statistics.fmean(float(run.record.metrics[metric] or 0) for run in runs)


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
        """Return the record of the first run that counts, or of the first run."""
        return next(iter(self.counted.values()), self.runs[0]).record

    @property
    def name(self) -> str:
        """Return the name of the experiment, and the settings that tell the config from others."""
        return name_with_settings(self.record.experiment, self.settings)

    def rows_by_division(self, metric: str) -> dict[Division | None, str]:
        """Return what identifies the rows on which the runs computed a metric, by their division.

        Runs that have not read their data are left out.
        """
        known = {division_of(run): run.record.rows_of(metric) for run in self.runs}
        return {division: rows for division, rows in known.items() if rows is not None}

    def mean_over(self, divisions: Iterable[Division | None], metric: str) -> float | None:
        """Return the mean of a metric over the runs on these divisions of the rows, or None."""
        chosen = set(divisions)
        values = [
            run.record.metrics.get(metric)
            for run in self.counted.values()
            if division_of(run) in chosen
        ]
        finite = [value for value in values if value is not None and is_plottable(value)]
        return statistics.fmean(finite) if finite else None

    @property
    def fold_count(self) -> int:
        """Return how many folds there are among the counted runs; 0 of one fold, or none."""
        folds = {repeat.fold for repeat in self.counted}
        return len(folds) if len(folds) > 1 else 0

    @property
    def unit(self) -> str:
        """Return what the counted runs differ in: `seed` or `fold`."""
        return "fold" if self.fold_count else "seed"

    @cached_property
    def depends_on_chance(self) -> bool:
        """Return whether runs of the config differ in their numbers, as the config says."""
        return bool(self.fold_count) or self.record.depends_on_seed

    @property
    def is_single_fit(self) -> bool:
        """Return whether one run counts, in which a seed divides the rows at most."""
        return len(self.counted) == 1 and not self.record.is_stochastic

    def shortage(self, spread: Spread) -> str:
        """Return that there are too few seeds or folds to judge a metric; empty if enough."""
        if not self.depends_on_chance:
            return ""
        return describe_too_few_runs(len(spread.values), self.unit)

    @cached_property
    def runs_by_unit(self) -> dict[int | str, list[Run]]:
        """Return the counted runs by seed, or by fold if there are several.

        A fold may have runs of several seeds. Of runs that depend on no seed there is only the
        first.
        """
        by_unit: dict[int | str, list[Run]] = {}
        for repeat, run in self.counted.items():
            key = repeat.seed if repeat.fold is None or not self.fold_count else repeat.fold
            by_unit.setdefault(key, []).append(run)
        return by_unit if self.depends_on_chance else dict(list(by_unit.items())[:1])

    def values(self, metric: str) -> dict[int | str, float]:
        """Return the values of a metric by seed, or by fold; empty if any counted run lacks it.

        Runs of one fold, with several seeds, count as one value, their mean. Runs that depend on no
        seed have one value.
        """
        for run in self.counted.values():
            value = run.record.metrics.get(metric)
            if value is None or not is_plottable(value):
                return {}
        return {key: mean_of_runs(runs, metric) for key, runs in self.runs_by_unit.items()}

    @cached_property
    def spreads(self) -> dict[str, Spread]:
        """Return the spread of each metric that all counted runs have, by name."""
        return {
            name: Spread(self.record.metric(name), list(values.values()))
            for name in self.record.metrics
            if (values := self.values(name))
        }

    @property
    def main_spread(self) -> Spread | None:
        """Return the spread of the test metric by which the runs are judged, or None."""
        return self.spreads.get(main_metric(self.record) or "")

    @property
    def validation_spread(self) -> Spread | None:
        """Return the spread of the metric by which a sweep selects a config, or None."""
        metric = selection_metric(self.record, self.spreads)
        return self.spreads[metric.name] if metric else None

    @property
    def test_spreads(self) -> list[Spread]:
        """Return the spreads of the test metrics, the main one first."""
        spreads = [spread for name, spread in self.spreads.items() if name.startswith(TESTED)]
        main_metric = self.main_spread and self.main_spread.metric
        return sorted(spreads, key=lambda spread: spread.metric != main_metric)

    @property
    def median_run(self) -> Run | None:
        """Return the counted run with the median of the main metric, or None."""
        runs = list(self.counted.values())
        if self.main_spread is not None:
            main_metric = self.main_spread.metric.name
            runs.sort(key=lambda run: run.record.metrics[main_metric] or 0)
        return runs[(len(runs) - 1) // 2] if runs else None


def group_runs(runs: Iterable[Run]) -> list[Group]:
    """Group runs by config and data, in the order of the first run of each group."""
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
        """Add what a run says of its data, unless that differs; return whether it is added."""
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
    """Return what divided the rows of a run; None if that is not known."""
    return run.record.split.division if run.record.split else None


def _divide_by_config_and_data(runs: Sequence[Run]) -> list[list[Run]]:
    """Return lists of the runs with the same config and data, in the order of their first runs."""
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
    """Return the settings of a run that all runs of the same config share, by dotted keys.

    Such runs may differ in seed, fold, device, threads, loggers and in where their data are.
    """
    ignored = CHANCE | DATA_PLACES
    return {key: value for key, value in run.settings.items() if key not in ignored}


def _newest_by_repeat(runs: Sequence[Run], copies: Mapping[Path, str]) -> dict[Repeat, Run]:
    """Return the finished runs without copies, in the order of `runs`; the last repeat counts."""
    finished = [run for run in runs if run.is_finished and run.folder not in copies]
    finished.sort(key=lambda run: run.record.started or "")
    newest = {Repeat.of(run): run for run in finished}
    # The start decides which run counts, `runs` decides the order.
    return {Repeat.of(run): run for run in runs if newest.get(Repeat.of(run)) is run}


def name_by_varied_settings(groups: Sequence[Group]) -> list[Group]:
    """Return the groups with the settings that tell each from the others of its experiment."""
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
    """Return the keys that do not have the same value in all configs, or that some of them lack."""
    keys = dict.fromkeys(key for config in configs for key in config)
    # `...` stands for a missing key.
    return [key for key in keys if len({repr(config.get(key, ...)) for config in configs}) > 1]
