"""Make the table of a sweep's configs on the screen and on its page."""

from collections.abc import Iterable
from dataclasses import replace

from dlrun.config.yaml_loader import Values
from dlrun.metrics import format_interval, format_metric, shorten_metric
from dlrun.reports.result_rows import MetricComparisonRow
from dlrun.runs.compare import Comparison
from dlrun.runs.groups import Spread
from dlrun.runs.run_tables import INTERVAL_OF_MEAN, MEAN, SD, SECONDS, Column, table_lines
from dlrun.sweeps.selection import Ranking, RunsOfConfig
from dlrun.system.console import Screen


def results_table_lines(ranking: Ranking, screen: Screen) -> list[str]:
    """Make the lines of the table: a row for each config, in the order of the ranking."""
    return table_lines(results_columns(ranking), results_rows(ranking), screen)


def results_columns(ranking: Ranking) -> list[Column]:
    """The column `validated` has the metric that chooses a config, `mean` the one that judges it.

    Of several experiments there are the difference to the best config by the metric that chooses,
    and the seconds of a fit.
    """
    judging = replace(MEAN, title=_name_last_metric(map(_judging_spread, ranking.groups)))
    choosing = _name_last_metric(map(_choosing_spread, ranking.groups))
    columns = [
        Column("config"),
        Column("n", is_number=True),
        Column.number("validated", choosing),
    ]
    if ranking.has_several_experiments:
        difference = Column("compared", "minus the best", is_number=True)
        columns += [difference, judging, SD, replace(SECONDS, title="fit sec")]
    else:
        columns += [judging, SD, INTERVAL_OF_MEAN]
    return [*columns, Column.number("book")]


def results_rows(ranking: Ranking) -> list[Values]:
    return [_row(group, ranking) for group in ranking.groups]


def difference_fields(comparison: Comparison | None) -> Values:
    """The fields say how a config differs from the best one; None: there is no comparison."""
    if comparison is None:
        return {"difference": None, "interval_of_difference": None}
    return {
        "difference": comparison.difference,
        "interval_of_difference": comparison.interval_of_difference,
    }


def _judging_spread(group: RunsOfConfig) -> Spread | None:
    """A config is judged by its test metric, or else by its validation metric."""
    return group.main_spread or group.validation_spread


def _choosing_spread(group: RunsOfConfig) -> Spread | None:
    """The validation metric is None if it is the only metric, and so the one that judges."""
    return group.validation_spread if group.main_spread else None


def _name_last_metric(spreads: Iterable[Spread | None]) -> str:
    """Shorten the name of the last metric; the text is empty if there is none."""
    names = [spread.metric.name for spread in spreads if spread is not None]
    return shorten_metric(names[-1]) if names else ""


def _row(group: RunsOfConfig, ranking: Ranking) -> Values:
    row: Values = {}
    judging = _judging_spread(group)
    if judging is not None:
        row = MetricComparisonRow.of_group(group, judging).as_object()
    row["config"] = group.label
    row["n"] = group.finished_of_planned or str(row.get("count", ""))
    row["seconds"] = group.seconds
    choosing = _choosing_spread(group)
    if choosing is not None:
        row["validated"] = choosing.mean
    comparison = ranking.compare_with_best(group)
    if group is ranking.best:
        row["compared"] = "best"
    elif comparison is not None:
        row["compared"] = _describe_difference(comparison)
    return row


def _describe_difference(comparison: Comparison) -> str:
    """The text is such as `-0.012 (-0.02 to -0.004)`."""
    text = format_metric(comparison.difference)
    if comparison.interval_of_difference is None:
        return text
    return f"{text} ({format_interval(comparison.interval_of_difference)})"
