"""Make a report's result rows: each compares a metric of a group of runs with published values."""

from decimal import Decimal

from dlrun.config.yaml_loader import Values, format_settings_briefly
from dlrun.runs.descriptions import describe_data
from dlrun.runs.groups import Group, Interval, Spread, division_of
from dlrun.runs.published import EDITIONS, published_metrics
from dlrun.runs.record import ACCURACY
from dlrun.runs.shown_results import interval_of_test_accuracy


def group_row(group: Group, spread: Spread, *, with_published: bool = False) -> Values:
    """Return what is known of a metric of a group of runs, as screen, JSON, CSV and page have it.

    with_published: whether to show published numbers that do not judge the runs. The row's `note`
    says why nothing is said about the metric, if nothing is.
    """
    published = published_values(group, spread.metric.name, with_published=with_published)
    row: Values = {
        "experiment": group.record.experiment,
        "data": describe_data_of_group(group),
        "config": format_settings_briefly(group.settings),
        "settings": group.settings,
        "metric": spread.metric.name,
        "count": len(spread.values),
        "mean": spread.mean,
        "sd": spread.sd,
        "min": min(spread.values),
        "max": max(spread.values),
        "interval_of_mean": spread.interval_of_mean,
        "range_of_runs": spread.range_of_runs,
        "interval_of_test_set": interval_of_test_set(group, spread),
        "note": "; ".join(filter(None, (spread.metric.not_ranked, group.shortage(spread)))),
        "runs": [str(run.folder) for run in group.counted.values()],
    }
    for edition in EDITIONS:
        row[edition] = published.get(edition)
        row[f"{edition}_is"] = judge_published_number(group, spread, edition)
    return row


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


def judge_published_number(group: Group, spread: Spread, edition: str) -> str | None:
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


def place_beside_interval(published: float, interval: Interval) -> str:
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
