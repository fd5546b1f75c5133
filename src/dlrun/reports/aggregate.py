"""Runs whose configs are equal but for what is chance: grouped, with their mean and spread."""

import json
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from dlrun import stats
from dlrun.experiments.base import CHANCE
from dlrun.runs.key_metric import is_plottable

T = TypeVar("T")


@dataclass(frozen=True)
class MetricSpread:
    """A metric of one finished run, or several, of one config."""

    metric: str
    values: list[float]

    @property
    def mean(self) -> float:
        """Their mean."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """Their sample standard deviation; None for a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the mean over seeds; None for a single one."""
        return stats.mean_interval(self.values)


def group_by_config(
    runs: Iterable[T],
    values: Callable[[T], Mapping[str, Any]],
    experiment: Callable[[T], str],
    *,
    chance: Iterable[str] = CHANCE,
) -> list[list[T]]:
    """The runs by experiment and config, in their order.

    Args:
        runs: to group.
        values: a run's config, by dotted keys.
        experiment: a run's.
        chance: keys that do not count.
    """
    left_out = set(chance)
    groups: dict[str, list[T]] = {}
    for run in runs:
        own = {key: value for key, value in values(run).items() if key not in left_out}
        key = json.dumps([experiment(run), own], sort_keys=True, default=str)
        groups.setdefault(key, []).append(run)
    return list(groups.values())


def metric_spread(
    metric: str, metrics: Iterable[Mapping[str, float | None]]
) -> MetricSpread | None:
    """A metric over runs; None where one of them has it not."""
    values = [one.get(metric) for one in metrics]
    there = [float(value) for value in values if value is not None and is_plottable(value)]
    return MetricSpread(metric, there) if there and len(there) == len(values) else None
