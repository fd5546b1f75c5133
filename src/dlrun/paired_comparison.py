"""Compare a metric of two groups of runs by their differences on the same seeds or folds."""

import statistics
from dataclasses import dataclass

from dlrun import stats
from dlrun.groups import Group, Interval, describe_too_few_runs
from dlrun.metrics import Metric
from dlrun.run_folder.recorded_metrics import format_interval, format_metric
from dlrun.system.console import pluralize


@dataclass(frozen=True)
class Comparison:
    """Holds the means of a metric in two groups of runs, and their mean paired difference.

    unit: what is paired; empty if neither fit depends on a seed. count: of pairs. mean, other_mean:
    the means over the pairs. difference: the mean difference. interval_of_difference: its 95 %
    interval; None if there is one pair.
    """

    metric: Metric
    unit: str
    count: int
    mean: float
    other_mean: float
    difference: float
    interval_of_difference: Interval | None

    @property
    def shortage(self) -> str:
        """Return a sentence on too few pairs to say anything; empty if there are enough."""
        return describe_too_few_runs(self.count, self.unit) if self.unit else ""

    @property
    def verdict(self) -> str:
        """Return whether the difference is reliable, or why nothing is said.

        `better`, `worse` or, of a metric without a direction, `different` if the interval does not
        contain 0; else `no clear difference`, or `equal` if no seed matters.
        """
        if self.shortage:
            return self.shortage
        low, high = self.interval_of_difference or (self.difference, self.difference)
        side = (low > 0) - (high < 0)
        if not side:
            return "no clear difference" if self.unit else "equal"
        return {1: "better", -1: "worse", 0: "different"}[side * self.metric.sign]

    def as_object(self) -> dict[str, object]:
        """Return the comparison as an object for the JSON output."""
        return {**vars(self), "metric": self.metric.name, "verdict": self.verdict}

    def describe(self, name: str, other: str) -> str:
        """Return the comparison of two named groups in words."""
        over = f" over {pluralize(self.count, self.unit)}" if self.unit else ""
        text = f"{name}: {self.metric.name} {format_metric(self.mean)}{over}, "
        text += f"{format_metric(self.other_mean)} by {other}"
        if self.interval_of_difference:
            ends = format_interval(self.interval_of_difference)
            text += f", 95 % interval of the mean difference {ends}"
        direction = f" ({self.metric.direction or self.metric.not_ranked})"
        return f"{text}: {self.verdict}{'' if self.shortage else direction}"


def compare_groups(group: Group, other: Group, metric: str) -> Comparison | None:
    """Compare a metric of two groups of runs, paired by seed or fold; None if there are no pairs.

    A group that depends on no seed has one value, which is paired with each of the other.
    """
    ours, theirs = group.values(metric), other.values(metric)
    if not (ours and theirs):
        return None
    unit = group.unit
    if not (group.depends_on_chance or other.depends_on_chance):
        unit = ""
        ours, theirs = {0: next(iter(ours.values()))}, {0: next(iter(theirs.values()))}
    elif not other.depends_on_chance:
        theirs = dict.fromkeys(ours, next(iter(theirs.values())))
    elif not group.depends_on_chance:
        unit = other.unit
        ours = dict.fromkeys(theirs, next(iter(ours.values())))
    elif group.unit != other.unit:
        return None
    common = [repeat for repeat in ours if repeat in theirs]
    if not common:
        return None
    differences = [
        stats.zero_if_rounding_error(ours[repeat] - theirs[repeat], theirs[repeat])
        for repeat in common
    ]
    mean = statistics.fmean(ours[repeat] for repeat in common)
    other_mean = statistics.fmean(theirs[repeat] for repeat in common)
    mean_difference = stats.zero_if_rounding_error(statistics.fmean(differences), other_mean)
    return Comparison(
        group.record.metric(metric),
        unit,
        len(differences),
        mean,
        other_mean,
        mean_difference,
        stats.mean_interval(differences),  # Student's t of the differences
    )
