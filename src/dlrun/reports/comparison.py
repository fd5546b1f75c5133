"""Compare the configs of a page on the same data: an axis for each metric, and their curves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from dlrun.reports import charts
from dlrun.reports.charts import Axis, Chart, ChartCurve
from dlrun.reports.groups import ConfigGroup
from dlrun.reports.run_data import RunSection
from dlrun.reports.spread import MetricSpread
from dlrun.run_folder.recorded_metrics import EDITIONS

COLOURED = 5  # curves of a chart; the others are not drawn
FEWEST_FOR_MEAN = 3  # runs of one config that a chart shows as their mean
STRIP_LEFT, STRIP_RIGHT = 6.0, 214.0  # ends of the picture of a config's results, in SVG units
LEAST_WIDTH = 0.005  # of the axis of a picture, as a share: rounding must not fill it


@dataclass(frozen=True)
class DataComparison:
    """Holds what compares the runs on the same data: configs, charts, an axis for each metric."""

    data: str
    groups: list[ConfigGroup]
    charts: list[Chart]

    @property
    def rows(self) -> list[tuple[ConfigGroup, MetricSpread]]:
        """Return what is compared: the main metric of each config, of several runs each metric."""
        return [
            (group, spread)
            for group in self.groups
            for spread in group.spreads
            if spread is group.main or len(group.counted) > 1
        ]

    @cached_property
    def marks(self) -> set[str]:
        """Return what the pictures show: `range`, `interval` (of one run), editions, `rerun`."""
        found = set[str]()
        for group, spread in self.rows:
            if group.interval(spread):
                found.add("range" if spread.range else "interval")
            found.update(group.published_values(spread.metric.name))
            if group.rerun_values(spread.metric.name):
                found.add("rerun")
        return found

    @property
    def editions(self) -> list[str]:
        """Return the editions of the book that have numbers of any of the rows."""
        return [one for one in EDITIONS if one in self.marks]

    @cached_property
    def axes(self) -> dict[str, Axis]:
        """Return by test metric the axis of its values, intervals and published numbers."""
        values: dict[str, list[float]] = {}
        for group in self.groups:
            for spread in group.spreads:
                shown = values.setdefault(spread.metric.name, [])
                shown += [*spread.values, *(group.interval(spread) or ())]
                shown += [(1 + sign * LEAST_WIDTH / 2) * spread.mean for sign in (-1, 1)]
                shown += group.published_values(spread.metric.name).values()
                shown += [value for _, value in group.rerun_values(spread.metric.name)]
        ends = {metric: charts.padded_range(shown, 0.02) for metric, shown in values.items()}
        return {metric: Axis(*both, STRIP_LEFT, STRIP_RIGHT) for metric, both in ends.items()}


def compare_by_data(groups: Sequence[ConfigGroup]) -> list[DataComparison]:
    """Compare the configs on the same data, the best first; leave out data with a single run."""
    by_data: dict[str, list[ConfigGroup]] = {}
    for group in sorted(groups, key=lambda one: one.rank):
        by_data.setdefault(group.data, []).append(group)
    return [
        DataComparison(data, found, _charts_of_several_runs(found))
        for data, found in by_data.items()
        if sum(len(group.sections) for group in found) > 1
    ]


def _charts_of_several_runs(groups: Sequence[ConfigGroup]) -> list[Chart]:
    """Return a chart for each metric that two or more runs recorded by epoch or by penalty.

    groups: the best first, for the first have colours.
    """
    panels = dict.fromkeys(
        (next(iter(run.table)), metric)
        for group in groups
        for run in group.sections
        for metric in charts.metric_names_without_split(run.table)
    )
    drawn = (_chart_of_several_runs(groups, step, metric) for step, metric in panels)
    return [chart for chart in drawn if chart]


def _chart_of_several_runs(groups: Sequence[ConfigGroup], step: str, metric: str) -> Chart | None:
    """Return the chart of one metric, with the means of configs; None of fewer than two curves."""
    curves: list[ChartCurve] = []
    drawn: list[RunSection] = []
    for group in groups:
        lines: dict[int, ChartCurve] = {}
        part = ""
        for run in group.sections:
            if not run.is_left_out and (found := _run_line(run, step, metric)):
                part, lines[run.number] = found
                drawn.append(run)
        counted = [run.number for run in group.counted if run.number in lines]
        if len(counted) >= FEWEST_FOR_MEAN:
            name = f"mean of {len(counted)} runs ({charts.PARTS[part]})"
            name = f"{group.name}, {name}" if len(groups) > 1 else name
            if mean := charts.mean_curve(name, [lines[number] for number in counted]):
                curves.append(mean)
                lines = {number: lines[number] for number in lines if number not in counted}
        curves += lines.values()
    if len(drawn) < 2:
        return None
    coloured = [
        replace(line, look=charts.curve_css_classes(place))
        for place, line in enumerate(curves[:COLOURED])
    ]
    levels = dict.fromkeys(
        replace(level, name=f"{level.name} of {run.record.experiment}")
        for run in drawn
        for level in charts.published_levels(run.record, metric)
    )
    return Chart(f"{metric} by {step}", step, metric, coloured, list(levels))


def _run_line(run: RunSection, step: str, metric: str) -> tuple[str, ChartCurve] | None:
    """Return the part (`valid`, ...) and the curve of a run in a chart of several runs, or None."""
    if len(run.steps) < 2 or next(iter(run.table)) != step:
        return None
    for part in ("valid", "test", "train"):  # the first that has a value is drawn
        if values := run.table.get(f"{part}_{metric}"):
            name, record = f"No. {run.number} {run.title} ({charts.PARTS[part]})", run.record
            if record.stopped_epoch:
                name += f", stopped after epoch {record.stopped_epoch}"
            if record.earlier_epoch:
                name += f", kept epoch {record.earlier_epoch}"
            line = charts.measured_curve(name, run.steps, values, "", str(run.number))
            if line.is_drawable:
                return part, line
    return None
