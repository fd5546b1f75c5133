"""Say how a metric varies over runs, where a published number lies, and which of two is better."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property

from dlrun import stats
from dlrun.errors import DlrunError
from dlrun.experiments.saved_run import Run
from dlrun.metrics import Metric
from dlrun.run_folder.record import ACCURACY
from dlrun.run_folder.recorded_metrics import (
    is_plottable,
    published_metrics,
    published_reruns,
)

Interval = tuple[float, float]


@dataclass(frozen=True)
class MetricSpread:
    """Holds the values of one metric over the finished runs of one config."""

    metric: Metric
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

        It ends where the possible values of the metric end.
        """
        return self._cut(stats.mean_interval(self.values))

    @cached_property
    def range(self) -> Interval | None:
        """Return the 95 % prediction interval of one more run, cut likewise, or None."""
        return self._cut(stats.prediction_interval(self.values))

    def _cut(self, ends: Interval | None) -> Interval | None:
        if ends is None:
            return None
        least, most = self.metric.least, self.metric.most
        low = ends[0] if least is None else max(ends[0], min(least, *self.values))
        high = ends[1] if most is None else min(ends[1], max(most, *self.values))
        return low, high


@dataclass(frozen=True)
class RunGroup:
    """Holds the finished runs of one config, by seed and by fold, which is None without folds.

    with_published: whether published numbers are shown that the runs are not judged by.
    """

    repeats: Mapping[tuple[int | str | None, int | None], Run]
    with_published: bool = field(default=False, kw_only=True)

    @property
    def runs(self) -> list[Run]:
        """Return the runs in their order."""
        return list(self.repeats.values())

    def metric(self, name: str) -> Metric:
        """Return what is known of a metric of the runs."""
        return self.runs[0].record.metric(name)

    def values(self, metric: str) -> dict[int | str | None, float]:
        """Return the values of a metric by seed, or by fold; empty if any run lacks the metric.

        Runs of one fold, with several seeds, count as one value, their mean.
        """
        values = [run.record.metrics.get(metric) for run in self.runs]
        known = [float(value) for value in values if value is not None and is_plottable(value)]
        if len(known) < len(values):
            return {}
        by_repeat: dict[int | str | None, list[float]] = {}
        for (seed, fold), value in zip(self.repeats, known, strict=True):
            by_repeat.setdefault(seed if fold is None else fold, []).append(value)
        return {repeat: statistics.fmean(values) for repeat, values in by_repeat.items()}

    def spread(self, metric: str) -> MetricSpread | None:
        """Return the spread of a metric over the runs; None if any lacks it."""
        values = self.values(metric)
        return MetricSpread(self.metric(metric), [*values.values()]) if values else None

    def published_values(self, metric: str) -> dict[str, float]:
        """Return the published values of a metric by edition of the book."""
        record = self.runs[0].record
        editions = published_metrics(record, ignoring_differences=self.with_published).items()
        return {edition: values[metric] for edition, values in editions if metric in values}

    def rerun_values(self, metric: str) -> list[tuple[str, float]]:
        """Return the values of a metric in the authors' earlier runs with their sources."""
        record = self.runs[0].record
        is_shown = self.with_published or not record.reference_differs
        reruns = published_reruns(record) if is_shown else []
        return [(source, values[metric]) for source, values in reruns if metric in values]

    def interval(self, spread: MetricSpread) -> Interval | None:
        """Return where 95 % of runs lie; of a single run, the interval of its test accuracy."""
        if len(self.repeats) == 1 and spread.metric.name == ACCURACY:
            return self.runs[0].record.interval
        return spread.range

    def depends_on_seed(self, spread: MetricSpread) -> bool:
        """Return whether the seed changes a metric: its values say so, or of one run the config."""
        if len(self.repeats) > 1:
            return len(set(spread.values)) > 1
        try:
            return self.runs[0].config.depends_on_seed
        except DlrunError:  # the experiment is not installed
            return True

    def place(self, spread: MetricSpread, edition: str) -> str | None:
        """Return where a published number lies: `yes` (in the interval), `above` or `below`.

        If the metric depends on no seed, `yes` is `equal`. None if it is not to be judged.
        """
        value = self.published_values(spread.metric.name).get(edition)
        if value is None or self.runs[0].record.reference_differs:
            return None
        if self.depends_on_seed(spread):
            return place_in_range(value, self.interval(spread))
        place = place_in_range(value, (spread.mean, spread.mean))
        return "equal" if place == "yes" else place


@dataclass(frozen=True)
class PairedComparison:
    """Holds a metric of two models or configs, from what both have: test rows, seeds or folds.

    value, baseline: the means. difference: the mean difference. interval: its 95 % interval; None
    of fewer than two pairs.
    """

    metric: Metric
    pairs: int
    value: float
    baseline: float
    difference: float
    interval: Interval | None

    @property
    def verdict(self) -> str:
        """Return `better` or `worse` if the interval does not contain 0, or `different`."""
        if self.interval is None:
            return "no interval"
        side = (self.interval[0] > 0) - (self.interval[1] < 0)
        if side and not self.metric.sign:
            return "different"
        verdicts = {1: "better", -1: "worse", 0: "no clear difference"}
        return verdicts[side * self.metric.sign]


def compare_pairs(
    metric: Metric, values: Sequence[float], baseline: Sequence[float]
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
    """Return whether a published, rounded number is in an interval (`yes`), `above` or `below`."""
    if interval is None:
        return None
    # Half a unit of its last decimal digit, such as 0.005 for 0.88.
    half = 0.5 * 10.0 ** int(Decimal(repr(published)).as_tuple().exponent)
    if interval[1] < published - half:
        return "above"
    return "below" if interval[0] > published + half else "yes"
