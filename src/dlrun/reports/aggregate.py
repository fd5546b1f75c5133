"""Groups of runs whose configs are equal but for chance, with mean and spread of their metrics."""

import json
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from dlrun import stats
from dlrun.experiments.base import CHANCE
from dlrun.run_folder.metrics import is_plottable

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


def group_by_config(
    runs: Iterable[T],
    values: Callable[[T], Mapping[str, Any]],
    experiment: Callable[[T], str],
    *,
    chance: Iterable[str] = CHANCE,
) -> list[list[T]]:
    """Group runs by experiment and config, in their order.

    Args:
        runs: to group.
        values: returns a run's config by dotted keys.
        experiment: returns a run's experiment.
        chance: keys that do not count, such as the seed.
    """
    left_out = set(chance)
    groups: dict[str, list[T]] = {}
    for run in runs:
        config = {key: value for key, value in values(run).items() if key not in left_out}
        key = json.dumps([experiment(run), config], sort_keys=True, default=str)
        groups.setdefault(key, []).append(run)
    return list(groups.values())


def metric_spread(
    metric: str, metrics: Iterable[Mapping[str, float | None]]
) -> MetricSpread | None:
    """Return a metric's spread over runs; None if any run lacks the metric."""
    values = [one.get(metric) for one in metrics]
    known = [float(value) for value in values if value is not None and is_plottable(value)]
    return MetricSpread(metric, known) if known and len(known) == len(values) else None
