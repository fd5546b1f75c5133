"""Draw the configs of a sweep beside each other: the metric that chooses, by run."""

from dlrun.metrics import TESTED, VALID, without_stage
from dlrun.sweeps.results import SweepResults
from dlrun.sweeps.selection import Ranking, RunsOfConfig
from dlrun.system.text import pluralize

MOST_ROWS = 20
Rows = list[tuple[str, dict[str, list[float]]]]


def comparison_rows(ranking: Ranking) -> tuple[str, Rows]:
    """Return a metric, and its values by config and split of the data, in the order of the ranking.

    The metric is the one that chooses a config, or else the one that judges it. There are no rows
    if there is nothing to compare: a single config, or configs on different rows.
    """
    groups = list(ranking.groups)
    if len(groups) < 2 or not ranking.are_on_same_rows:
        return "", []
    metric = without_stage(groups[0].chosen_by or groups[0].judged_by)
    rows = [(group.label, _values_by_split(group, metric)) for group in groups[-MOST_ROWS:]]
    known = [(label, values) for label, values in rows if values]
    return metric, known if len(known) > 1 else []


def _values_by_split(group: RunsOfConfig, metric: str) -> dict[str, list[float]]:
    by_split = {
        "valid": group.values(f"{VALID}{metric}"),
        "test": group.values(f"{TESTED}{metric}"),
    }
    return {split: list(values.values()) for split, values in by_split.items() if values}


def draw_comparison(results: SweepResults) -> bytes | None:
    """Draw the configs as a PNG; None: there is nothing to compare, or no run draws figures."""
    metric, rows = comparison_rows(results.ranking)
    if not rows or not any(run.settings.get("figures", True) for run in results.runs):
        return None
    from dlrun.plots import draw_configs, figure_to_png  # slow: matplotlib

    groups = results.ranking.groups
    last = groups[-1]
    runs = pluralize(len(last.runs_by_unit), last.unit)
    title = f"Sweep {results.plan.name}: {metric} over {runs}"
    if direction := last.record.metric(metric).direction:
        title += f", {direction}"
    if len(groups) > len(rows):
        title += f"; the last {len(rows)} of {len(groups)} configs"
    valid_is_test = last.record.validates_on_test
    return figure_to_png(draw_configs(rows, metric, title=title, valid_is_test=valid_is_test))
