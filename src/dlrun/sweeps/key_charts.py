"""Draw the chart of a sweep's metric by the values of one of its keys."""

from collections.abc import Sequence

from dlrun.metrics import without_stage
from dlrun.reports import svg_charts
from dlrun.runs.groups import Group


def chart_of_key(
    groups: Sequence[Group], best: Group | None, key: str, title: str = ""
) -> svg_charts.Chart | None:
    """The chart has a metric of the sweep by the values of a key; None: these are no numbers.

    groups: the configs of an experiment, the best last. best: the chosen one, which a vertical line
    marks if it is among them. title: what comes before the metric in the title.
    """
    spreads = (group.main_spread or group.validation_spread for group in reversed(groups))
    # The configs without a value, such as those that diverged, come first.
    spread = next(filter(None, spreads), None)
    are_numbers = all(type(group.settings.get(key)) in (int, float) for group in groups)
    if spread is None or not are_numbers:
        return None
    metric = without_stage(spread.metric.name)
    record = groups[-1].record
    curves = []
    for part in ("valid", "test"):
        by_value = _metric_by_value(groups, f"{part}_{metric}", key)
        if len(by_value) > 1:
            name = svg_charts.label_of_data_part(part, record)
            curves.append(svg_charts.curve_of_means(name, [*by_value], [*by_value.values()], part))
    if not curves:
        return None
    levels = svg_charts.published_value_lines(record, metric)
    chosen = None
    if best is not None and best in groups:
        chosen = svg_charts.ReferenceLine("chosen", best.settings[key], "mark")
    return svg_charts.Chart(f"{title}{metric} by {key}", key, metric, curves, levels, chosen)


def _metric_by_value(groups: Sequence[Group], metric: str, key: str) -> dict[float, list[float]]:
    """The metric of the configs stands by the value that they have for the key, sorted."""
    by_value: dict[float, list[float]] = {}
    for group in sorted(groups, key=lambda group: group.settings[key]):
        if spread := group.spreads.get(metric):
            by_value.setdefault(group.settings[key], []).extend(spread.values)
    return by_value
