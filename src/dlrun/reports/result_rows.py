"""Compare each metric of a group of runs with the published numbers, as rows of tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, Self

from dlrun.config.yaml_loader import format_settings_briefly
from dlrun.runs.descriptions import describe_data
from dlrun.runs.groups import Group, Interval, Spread, division_of
from dlrun.runs.published import EDITIONS, published_metrics
from dlrun.runs.record import ACCURACY
from dlrun.runs.shown_results import interval_of_test_accuracy

# Where a published number lies: beside the range of runs, or a fit that depends on no seed.
Position = Literal["within", "above", "below", "equal"]


@dataclass(frozen=True)
class MetricComparisonRow:
    """Says what is known of a metric of a group of runs, beside the published numbers.

    data: in words. settings: those that tell the group from others, by dotted keys. count: the
    number of values, of which the next fields are the statistics. published: the published number,
    by edition of the book. positions: where each lies beside the runs, or None. note: why nothing
    is said about the metric, if nothing is. runs: the folders of the runs that count.
    """

    experiment: str
    data: str
    settings: Mapping[str, object]
    metric: str
    count: int
    mean: float
    sd: float | None
    min: float
    max: float
    interval_of_mean: Interval | None
    range_of_runs: Interval | None
    interval_of_test_set: Interval | None
    note: str
    runs: Sequence[str]
    published: Mapping[str, float]
    positions: Mapping[str, Position | None]

    @classmethod
    def of_group(cls, group: Group, spread: Spread, *, with_published: bool = False) -> Self:
        """Describe a metric by its spread over the runs of a group.

        with_published: whether published numbers are shown that do not judge the runs.
        """
        metric = spread.metric.name
        return cls(
            experiment=group.record.experiment,
            data=describe_data_of_group(group),
            settings=group.settings,
            metric=metric,
            count=len(spread.values),
            mean=spread.mean,
            sd=spread.sd,
            min=min(spread.values),
            max=max(spread.values),
            interval_of_mean=spread.interval_of_mean,
            range_of_runs=spread.range_of_runs,
            interval_of_test_set=interval_of_test_set(group, spread),
            note="; ".join(filter(None, (spread.metric.not_ranked, group.shortage(spread)))),
            runs=[str(run.folder) for run in group.counted.values()],
            published=published_values(group, metric, with_published=with_published),
            positions={name: judge_published_number(group, spread, name) for name in EDITIONS},
        )

    def as_object(self) -> dict[str, object]:
        """The object has the keys of the JSON output, of CSV files and of GROUP_COLUMNS."""
        values: dict[str, object] = {
            "experiment": self.experiment,
            "data": self.data,
            "config": format_settings_briefly(self.settings),
        }
        values |= vars(self)
        del values["published"], values["positions"]
        for edition, position in self.positions.items():
            values[edition] = self.published.get(edition)
            values[f"{edition}_is"] = position
        return values


def describe_data_of_group(group: Group) -> str:
    """The split is named if all runs have the same."""
    record = next((run.record for run in group.runs if run.record.data), None)
    if record is None:
        return f"{group.record.experiment}, {group.record.source or 'its data'}"
    divisions = {division_of(run) for run in group.runs} - {None}
    if len(divisions) == 1:
        return describe_data(record)
    return f"{record.data}, {group.fold_count} folds" if group.fold_count else record.data


def published_values(
    group: Group, metric: str, *, with_published: bool = False
) -> dict[str, float]:
    """Each edition of the book that has published the metric has a value.

    with_published: whether numbers count too that do not judge the runs.
    """
    editions = published_metrics(group.record, ignoring_differences=with_published)
    return {edition: values[metric] for edition, values in editions.items() if metric in values}


def judge_published_number(group: Group, spread: Spread, edition: str) -> Position | None:
    """Say where a published number lies: `within`, `above` or `below` the range of runs.

    A fit that depends on no seed has `equal` in place of `within`. None means that nothing is
    judged.
    """
    value = published_values(group, spread.metric.name).get(edition)
    if value is None or group.shortage(spread):
        return None
    if group.depends_on_chance and spread.range_of_runs:
        return place_beside_interval(value, spread.range_of_runs)
    position = place_beside_interval(value, (spread.mean, spread.mean))
    return "equal" if position == "within" else position


def place_beside_interval(published: float, interval: Interval) -> Position:
    """A published number counts as rounded: 0.88 stands for 0.875 to 0.885."""
    # Half a unit of its last decimal digit, such as 0.005 for 0.88.
    half = 0.5 * 10.0 ** int(Decimal(repr(published)).as_tuple().exponent)
    low, high = interval
    if high < published - half:
        return "above"
    return "below" if low > published + half else "within"


def interval_of_test_set(group: Group, spread: Spread) -> Interval | None:
    """Only the test accuracy of a single run has an interval."""
    is_shown = len(group.counted) == 1 and spread.metric.name == ACCURACY
    return interval_of_test_accuracy(group.record) if is_shown else None
