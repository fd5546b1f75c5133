"""Compare a metric of two groups of runs by differences: seed by seed, fold by fold, row by row."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dlrun import stats
from dlrun.metrics import VALID, Metric, format_interval, format_metric, without_stage
from dlrun.runs.groups import Group, Interval, describe_too_few_runs, mean_of_runs
from dlrun.runs.predictions_csv import read_predictions
from dlrun.runs.record import RunRecord
from dlrun.runs.run import Run
from dlrun.system.text import pluralize

BLOCK_ROWS = 21  # rows of a block of a series: the trading days of a month, roughly
# The units of a comparison, besides seed and fold.
ROW = "test row"
BLOCK = "block"
Differences = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """Holds the means of a metric in two groups of runs, and their mean paired difference.

    unit: what is paired: `seed`, `fold`, `test row`, or a `block` of a series. count: the number of
    pairs; 0 if rows are to be paired, but are not known. rows: in words, on which rows the metric
    was computed. mean, other_mean: the means over the pairs. difference: the mean difference.
    interval_of_difference: its 95 % interval; None if there are fewer than two pairs.
    """

    metric: Metric
    unit: str
    count: int
    rows: str
    mean: float
    other_mean: float
    difference: float
    interval_of_difference: Interval | None

    @property
    def shortage(self) -> str:
        return describe_too_few_runs(self.count, self.unit)

    @property
    def verdict(self) -> str:
        """The verdict says whether the difference is reliable, or why nothing is said.

        It is `better`, `worse` or, of a metric without a direction, `different` if the interval
        does not contain 0; `equal` if there is no difference at all; else `no clear difference`.
        """
        if not self.count:
            return "not judged: the errors of each row are not known"
        if self.shortage or self.interval_of_difference is None:
            return self.shortage
        low, high = self.interval_of_difference
        if low == high == 0:
            return "equal"
        is_larger = low > 0
        is_smaller = high < 0
        if not (is_larger or is_smaller):
            return "no clear difference"
        if not self.metric.sign:
            return "different"
        return "better" if is_larger == (self.metric.sign > 0) else "worse"

    def as_object(self) -> dict[str, object]:
        return {**vars(self), "metric": self.metric.name, "verdict": self.verdict}

    def describe(self, name: str, other: str) -> str:
        text = f"{name}: {self.metric.name} {format_metric(self.mean)}, "
        text += f"{format_metric(self.other_mean)} by {other}"
        if self.interval_of_difference:
            ends = format_interval(self.interval_of_difference)
            text += f", 95 % interval of the mean difference {ends}"
        text += f": {self.verdict}"
        if self.interval_of_difference and not self.shortage:
            text += f" ({self.metric.direction or self.metric.not_ranked})"
        if self.unit not in (ROW, BLOCK):
            text += f", over {pluralize(self.count, self.unit)}"
        return f"{text}, {self.rows}"


@dataclass(frozen=True)
class _Pair:
    """Holds the runs of two groups that are compared, such as those of the same seed or fold."""

    ours: list[Run]
    theirs: list[Run]

    def have_same_rows(self, metric: str) -> bool:
        first = self.ours[0].record
        return all(first.has_rows_of(run.record, metric) for run in (*self.ours, *self.theirs))


def why_not_comparable(group: Group, other: Group, metric: str) -> str:
    """The reason is empty if the metric of the two groups can be compared."""
    if not (group.values(metric) and other.values(metric)):
        return f"not all runs have {metric}"
    pairs = _pair_groups(group, other)
    if not pairs:
        return "no seed or fold in common"
    if not all(pair.have_same_rows(metric) for pair in pairs):
        return f"not on the same {_kind_of_rows(metric)} rows"
    return ""


def compare_groups(group: Group, other: Group, metric: str) -> Comparison | None:
    """Compare a metric of two groups of runs, paired by seed or fold; None if that is impossible.

    `why_not_comparable` says why. A group that depends on no seed has one value, which is paired
    with each of the other. Two such groups, or single fits that only differ by how a seed divides
    the rows, are compared by their errors, row by row.
    """
    if why_not_comparable(group, other, metric):
        return None
    pairs = _pair_groups(group, other)
    if all(each.is_single_fit or not each.depends_on_chance for each in (group, other)):
        return _compare_fits(pairs[0].ours[0], pairs[0].theirs[0], metric)
    unit = group.unit if group.depends_on_chance else other.unit
    ours = [mean_of_runs(pair.ours, metric) for pair in pairs]
    theirs = [mean_of_runs(pair.theirs, metric) for pair in pairs]
    differences = [
        stats.zero_if_rounding_error(value - other_value, other_value)
        for value, other_value in zip(ours, theirs, strict=True)
    ]
    other_mean = statistics.fmean(theirs)
    return Comparison(
        metric=group.record.metric(metric),
        unit=unit,
        count=len(differences),
        rows=_describe_rows([pair.ours[0].record for pair in pairs], metric, unit),
        mean=statistics.fmean(ours),
        other_mean=other_mean,
        difference=stats.zero_if_rounding_error(statistics.fmean(differences), other_mean),
        interval_of_difference=stats.mean_interval(differences),  # Student's t of the differences
    )


def _pair_groups(group: Group, other: Group) -> list[_Pair]:
    """Runs of the same seed or fold form a pair; a single fit is paired with every other run."""
    ours = group.runs_by_unit
    theirs = other.runs_by_unit
    if not other.depends_on_chance:
        ((_, only),) = theirs.items()
        return [_Pair(runs, only) for runs in ours.values()]
    if not group.depends_on_chance:
        ((_, only),) = ours.items()
        return [_Pair(only, runs) for runs in theirs.values()]
    if group.unit != other.unit:
        return []
    return [_Pair(ours[key], theirs[key]) for key in ours if key in theirs]


def _kind_of_rows(metric: str) -> str:
    return "validation" if metric.startswith(VALID) else "test"


def _describe_rows(records: Sequence[RunRecord], metric: str, unit: str) -> str:
    kind = _kind_of_rows(metric)
    digests = {record.split.digest_for(metric) for record in records if record.split}
    if len(digests) > 1:
        return f"on the {kind} rows of each {unit}"
    count = records[0].test_rows
    if kind != "test" or count is None:
        return f"on these {kind} rows"
    return f"on these {pluralize(count, 'test row')}"


def _compare_fits(run: Run, other: Run, metric: str) -> Comparison:
    """Compare two runs that depend on no seed by the differences of their errors, row by row.

    The interval is Student's of these differences. Neighbouring rows of a series are alike, so
    that the differences of a series are averaged in blocks first.
    """
    value, other_value = (each.record.metrics[metric] or 0.0 for each in (run, other))
    difference = stats.zero_if_rounding_error(value - other_value, other_value)
    unit = ROW
    count = 0
    interval = None
    differences = _differences_by_row(run, other, metric)
    if differences is not None:
        if run.record.split is not None and run.record.split.is_series:
            unit = BLOCK
            differences = average_in_blocks(differences)
        count = len(differences)
        interval = interval_around(difference, differences)
    return Comparison(
        metric=run.record.metric(metric),
        unit=unit,
        count=count,
        rows=_describe_rows([run.record], metric, unit),
        mean=value,
        other_mean=other_value,
        difference=difference,
        interval_of_difference=interval,
    )


def _differences_by_row(run: Run, other: Run, metric: str) -> Differences | None:
    """The mean of these differences (n_rows,) is that of a test metric; None if none exist.

    A run may have kept no predictions, and some metrics are no means over rows. Raises DataError if
    a predictions.csv is damaged.
    """
    if _kind_of_rows(metric) != "test":
        return None
    parts = []
    for each in (run, other):
        predictions = read_predictions(each)
        if predictions is None:
            return None
        part = predictions.contributions(without_stage(metric))
        if part is None:
            return None
        parts.append(part)
    ours, theirs = parts
    differences: Differences = ours - theirs
    differences[np.abs(differences) <= stats.ROUNDING * np.abs(theirs).max()] = 0
    return differences


def average_in_blocks(differences: Differences) -> Differences:
    """Each block is BLOCK_ROWS neighbouring rows or more; a shorter series is one block."""
    blocks = np.array_split(differences, max(1, len(differences) // BLOCK_ROWS))
    return np.array([block.mean() for block in blocks])


def interval_around(difference: float, values: Differences) -> Interval | None:
    """The interval is Student's 95 % interval of the mean of the values, around the difference."""
    ends = stats.mean_interval(values.tolist())
    if ends is None:
        return None
    half = (ends[1] - ends[0]) / 2  # blocks of unequal length have nearly the mean of the rows
    return difference - half, difference + half
