"""Runs side by side: equal configs with mean and spread of their metrics, runs on the same data."""

import json
import statistics
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dlrun import stats
from dlrun.config.yaml_loader import Values
from dlrun.experiments.base import CHANCE
from dlrun.reports.charts import LEFT, RIGHT, Axis, Chart, NumberedRun, overlay_charts, padded
from dlrun.reports.run_section import RunSection
from dlrun.run_folder.metrics import ACCURACY, TESTED, is_plottable

T = TypeVar("T")


@dataclass(frozen=True)
class MetricSpread:
    """A metric's values over the finished runs of one config."""

    metric: str
    values: list[float]

    @property
    def mean(self) -> float:
        """Return the mean of the values."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """Return the sample standard deviation; None for a single run."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Return the 95 % interval of the mean over seeds; None for a single run."""
        return stats.mean_interval(self.values)


def metric_spread(
    metric: str, metrics: Iterable[Mapping[str, float | None]]
) -> MetricSpread | None:
    """Return a metric's spread over runs; None if any run lacks the metric."""
    values = [one.get(metric) for one in metrics]
    known = [float(value) for value in values if value is not None and is_plottable(value)]
    return MetricSpread(metric, known) if known and len(known) == len(values) else None


def group_by_config(
    runs: Iterable[T],
    config: Callable[[T], Mapping[str, object]],
    *,
    ignored: Collection[str] = CHANCE,
) -> list[list[T]]:
    """Group runs by config, in their order.

    Args:
        runs: to group.
        config: returns a run's config by dotted keys.
        ignored: keys that do not count, such as the seed.
    """
    groups: dict[str, list[T]] = {}
    for run in runs:
        compared = {key: value for key, value in config(run).items() if key not in ignored}
        groups.setdefault(json.dumps(compared, sort_keys=True, default=str), []).append(run)
    return list(groups.values())


@dataclass(frozen=True)
class EqualConfigs:
    """Several finished runs of one experiment whose configs differ by the seed at most.

    sections: the runs; the first stands for what all have in common.
    settings: those of the common config that are not the default.
    spreads: of each test metric that all runs have.
    """

    sections: list[RunSection]
    settings: Values
    spreads: list[MetricSpread]


@dataclass(frozen=True)
class SameData:
    """Several runs on the same data: their curves, and a chart of their 95 % intervals.

    measured: the runs with an interval, if there are several.
    axis: of the intervals and the published accuracies.
    """

    data: str
    charts: list[Chart]
    measured: list[RunSection]
    axis: Axis | None


def test_metrics(sections: Sequence[RunSection]) -> list[str]:
    """Return the test metrics of the runs, the accuracy first."""
    names = dict.fromkeys(name for one in sections for name in one.record.metrics)
    return sorted((name for name in names if name.startswith(TESTED)), key=ACCURACY.__ne__)


def find_equal_configs(sections: Sequence[RunSection]) -> list[EqualConfigs]:
    """Group the finished runs whose configs are equal but for chance; each seed counts once."""
    finished = [one for one in sections if one.state == "finished" and one.values]
    equal = []
    for group in group_by_config(
        finished, lambda one: {"experiment": one.record.experiment, **one.values}
    ):
        # A run that was repeated says nothing about the spread over seeds.
        by_seed = {
            one.run.name if one.record.seed is None else one.record.seed: one for one in group
        }
        runs = list(by_seed.values())
        if len(runs) > 1:
            changed = runs[0].differing or {}
            settings = {key: value for key, value in changed.items() if key not in CHANCE}
            metrics = [one.record.metrics for one in runs]
            spreads = [metric_spread(name, metrics) for name in test_metrics(runs[:1])]
            equal.append(EqualConfigs(runs, settings, [one for one in spreads if one]))
    return equal


def compare_on_data(sections: Sequence[RunSection]) -> list[SameData]:
    """Compare the runs that are on the same data, if there are several."""
    groups: dict[str, list[RunSection]] = {}
    for one in sections:
        groups.setdefault(_data_name(one, sections), []).append(one)
    compared = []
    for data, group in groups.items():
        charts = overlay_charts(
            [
                NumberedRun(one.number, f"No. {one.number} {one.title}", one.record, one.table)
                for one in group
                if one.table
            ]
        )
        measured = [one for one in group if one.interval]
        if len(measured) > 1:
            values = [end for one in measured for end in one.interval or ()]
            values += [value for one in measured for value in one.published_accuracies.values()]
            axis = Axis(*padded(values, 0.04), LEFT, RIGHT)
            compared.append(SameData(data, charts, measured, axis))
        elif charts:
            compared.append(SameData(data, charts, [], None))
    return compared


def _data_name(section: RunSection, others: Sequence[RunSection]) -> str:
    """Return the name of a run's data, without the seed by which runs of one config differ.

    A run that is not finished has no name of its data; it takes that of a run with its config.
    """

    def config(one: RunSection) -> Values:
        return {key: value for key, value in one.values.items() if key.startswith("data.")}

    experiment = section.record.experiment
    for one in (section, *others):
        is_same = one.record.experiment == experiment and config(one) == config(section)
        if is_same and one.record.data:
            seeded = one.values.get("data.split_seed") is None
            return one.record.data.replace(f", seed {one.record.seed}" if seeded else "", "")
    return f"{experiment}, {section.record.source or 'its data'}"
