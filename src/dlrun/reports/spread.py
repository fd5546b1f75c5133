"""Say how a metric varies over runs, where a published number lies, and which of two is better."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

from dlrun import stats
from dlrun.run_folder.recorded_metrics import is_plottable, metric_direction

Interval = tuple[float, float]


@dataclass(frozen=True)
class MetricSpread:
    """Holds the values of one metric over the finished runs of one config."""

    metric: str
    values: list[float]

    @property
    def mean(self) -> float:
        """Return the mean of the metric over the runs."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """Return the sample standard deviation over the runs; None for a single run."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def interval(self) -> Interval | None:
        """Return the 95 % interval of the mean over the runs; None for a single run.

        It is cut at 0 and 1 if the metric cannot be beyond them.
        """
        return self._cut(stats.mean_interval(self.values))

    @cached_property
    def range(self) -> Interval | None:
        """Return the 95 % prediction interval of one more run, cut likewise, or None."""
        return self._cut(stats.prediction_interval(self.values))

    def _cut(self, ends: Interval | None) -> Interval | None:
        if ends is None:
            return None
        is_r2 = self.metric.endswith("r2")  # at most 1, but it may be negative
        least = 0.0 if min(self.values) >= 0 and not is_r2 else ends[0]  # a share, or a loss
        is_share = self.metric.endswith(("accuracy", "f1")) and max(self.values) <= 1
        most = 1.0 if is_share or is_r2 else ends[1]
        return max(least, ends[0]), min(most, ends[1])


def metric_spread(
    metric: str, metrics: Iterable[Mapping[str, float | None]], folds: Sequence[object] = ()
) -> MetricSpread | None:
    """Return the spread of a metric over runs; None if any run lacks the metric.

    folds: of each run the number of its fold, or None; empty if no run has one. Runs of one fold,
    with several seeds, count as one value, their mean.
    """
    values = [one.get(metric) for one in metrics]
    known = [float(value) for value in values if value is not None and is_plottable(value)]
    if not known or len(known) < len(values):
        return None
    by_fold: dict[object, list[float]] = {}
    for place, value in enumerate(known):
        fold = folds[place] if folds else None
        by_fold.setdefault(f"run {place}" if fold is None else fold, []).append(value)
    return MetricSpread(metric, [statistics.fmean(one) for one in by_fold.values()])


@dataclass(frozen=True)
class PairedComparison:
    """Holds a metric of two models or configs, from what both have: test rows, seeds or folds.

    value, baseline: the means. difference: the mean difference. interval: its 95 % interval; None
    of fewer than two pairs.
    """

    metric: str
    pairs: int
    value: float
    baseline: float
    difference: float
    interval: Interval | None

    @property
    def verdict(self) -> str:
        """Return `better` or `worse` if the interval does not contain 0."""
        if self.interval is None:
            return "no interval"
        side = (self.interval[0] > 0) - (self.interval[1] < 0)
        verdicts = {1: "better", -1: "worse", 0: "no clear difference"}
        return verdicts[side * metric_direction(self.metric)]


def compare_pairs(
    metric: str, values: Sequence[float], baseline: Sequence[float]
) -> PairedComparison:
    """Compare the values of a metric with those of a baseline, in pairs; there is at least one.

    The interval is Student's t of the differences, of Booleans (whether a row is right) that of
    paired proportions.
    """
    pairs = zip(values, baseline, strict=True)
    gaps = [stats.without_rounding(value - other, other) for value, other in pairs]
    interval = (
        stats.paired_difference_interval(gaps.count(1), gaps.count(-1), len(gaps))
        if isinstance(values[0], bool)
        else stats.mean_interval(gaps)
    )
    value, other = statistics.fmean(values), statistics.fmean(baseline)
    gap = stats.without_rounding(statistics.fmean(gaps), other)
    return PairedComparison(metric, len(gaps), value, other, gap, interval)


def place_in_range(published: float, interval: Interval | None) -> str | None:
    """Return whether a published number lies inside an interval (`yes`), `above` or `below` it.

    `yes`: the interval contains the number, which may be rounded. None without an interval.
    """
    if interval is None:
        return None
    half = half_unit_of_last_digit(published)
    if interval[1] < published - half:
        return "above"
    return "below" if interval[0] > published + half else "yes"


def half_unit_of_last_digit(value: float) -> float:
    """Return half a unit of the last decimal digit of a number, such as 0.005 for 0.88."""
    return 0.5 * 10.0 ** int(Decimal(repr(value)).as_tuple().exponent)
