"""Make the table of a sweep's configs on the screen."""

from collections.abc import Iterable
from dataclasses import replace

from dlrun.config.yaml_loader import Values, format_settings_briefly
from dlrun.metrics import shorten_metric
from dlrun.reports.result_rows import MetricComparisonRow
from dlrun.runs.groups import Spread
from dlrun.runs.run_tables import INTERVAL_OF_MEAN, MEAN, SD, Column, table_lines
from dlrun.sweeps.selection import Ranking, RunsOfConfig
from dlrun.system.console import Screen


def results_table_lines(ranking: Ranking, screen: Screen) -> list[str]:
    """Make the lines of the table: a row for each config, in the order of the ranking.

    The column `validated` has the metric that chooses a config, and the next columns have the
    metric that judges it. Both are named as in the last config that has them: the best config, if
    the configs are ranked.
    """
    columns = [
        Column("config"),
        Column("n", is_number=True),
        Column.number("validated", _name_last_metric(map(_choosing_spread, ranking.groups))),
        replace(MEAN, title=_name_last_metric(map(_judging_spread, ranking.groups))),
        SD,
        INTERVAL_OF_MEAN,
        Column.number("book"),
    ]
    return table_lines(columns, [_row(group) for group in ranking.groups], screen)


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


def _row(group: RunsOfConfig) -> Values:
    row: Values = {}
    judging = _judging_spread(group)
    if judging is not None:
        row = MetricComparisonRow.of_group(group, judging).as_object()
    row["config"] = format_settings_briefly(group.settings)
    row["n"] = group.finished_of_planned or str(row.get("count", ""))
    choosing = _choosing_spread(group)
    if choosing is not None:
        row["validated"] = choosing.mean
    return row
