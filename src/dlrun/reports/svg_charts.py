"""Define the charts of the HTML report: their curves, and how values become SVG coordinates.

parts.html writes the SVG, and curves.js shows the values under the pointer.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from dlrun import stats
from dlrun.metrics import PARTS, STAGES, TESTED, is_plottable, without_stage
from dlrun.runs.metrics_csv import LR, STEP
from dlrun.runs.published import published_metrics
from dlrun.runs.record import RunRecord

# The size of a chart, and the edges of the panel in it, in SVG units.
WIDTH = 420
HEIGHT = 250
LEFT = 64
RIGHT = 394
TOP = 12
BOTTOM = 208
TICKS = 5
# The ends of the picture of a result, in SVG units.
STRIP_LEFT = 6.0
STRIP_RIGHT = 214.0
LEAST_WIDTH = 0.005  # share of the mean that the axis of a picture spans: rounding must not fill it
# The edges of the panel of a dot plot, in SVG units; the height of a row, and of what is below all.
DOTS_WIDTH = 640
DOTS_LEFT = 236
DOTS_RIGHT = 628
DOTS_ROW = 34
DOTS_BOTTOM = 44
DOTS_LANE = 10

ColumnsByName = Mapping[str, Sequence[float]]  # metrics.csv, whose first column counts steps


@dataclass(frozen=True)
class ChartCurve:
    """Holds a curve of a chart: its name, points and CSS class.

    All values can be plotted. low, high: the lowest and the highest of the values of which a curve
    is the mean; they are the ends of the band around it.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    look: str
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(frozen=True)
class ReferenceLine:
    """Holds a straight line of a chart at one value, such as a published metric."""

    name: str
    value: float
    look: str


@dataclass(frozen=True)
class Axis:
    """Maps the values `start` to `end` of a chart axis to SVG coordinates `first` to `last`."""

    start: float
    end: float
    first: float
    last: float
    logarithmic: bool = False
    whole: bool = False  # whether the ticks are whole numbers

    def at(self, value: float) -> float:
        """The SVG coordinate is rounded to a tenth of a unit."""
        scale = math.log if self.logarithmic else float
        start = scale(self.start)
        end = scale(self.end)
        share = (scale(value) - start) / (end - start)
        return round(self.first + share * (self.last - self.first), 1)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Each label of the axis has a coordinate and a text."""
        low, high = sorted((self.start, self.end))
        texts = (
            _logarithmic_tick_labels(low, high)
            if self.logarithmic
            else _linear_tick_labels(low, high, self.whole)
        )
        return [(self.at(float(text)), text) for text in dict.fromkeys(texts)]


@dataclass(frozen=True)
class Chart:
    """Holds a chart: curves over one x axis, horizontal reference lines, and a vertical line."""

    title: str
    x_name: str
    y_name: str
    lines: Sequence[ChartCurve]
    levels: Sequence[ReferenceLine] = ()
    mark: ReferenceLine | None = None  # a vertical line at an x

    @property
    def bands(self) -> list[ChartCurve]:
        """The curve of a mean has a band around it."""
        return [line for line in self.lines if line.low]

    @cached_property
    def x(self) -> Axis:
        """The x axis is logarithmic if the values are fractions over a wide range.

        The axis descends if the longest curve does.
        """
        longest = max((line.x for line in self.lines), key=len)
        values = [value for line in self.lines for value in line.x]
        whole = all(float(value).is_integer() for value in values)
        low = min(values)
        high = max(values)
        logarithmic = not whole and stats.spans_magnitudes(low, high)
        if not logarithmic:
            low, high = padded_range(values, 0.02)
        if longest[0] > longest[-1]:
            low, high = high, low
        return Axis(low, high, LEFT, RIGHT, logarithmic, whole)

    @cached_property
    def y(self) -> Axis:
        """The y axis holds the values of the curves and bands, with a small margin."""
        values = [level.value for level in self.levels]
        for line in self.lines:
            values += [*line.y, *line.low, *line.high]
        return Axis(*padded_range(values, 0.05), BOTTOM, TOP)

    def value_in_legend(self, line: ChartCurve) -> float:
        """The legend has a curve's value at the vertical line, or else the last value."""
        mark = self.mark and self.mark.value
        return line.y[line.x.index(mark) if mark in line.x else -1]

    def points(self, x: Sequence[float], y: Sequence[float]) -> list[tuple[float, float]]:
        return [(self.x.at(left), self.y.at(up)) for left, up in zip(x, y, strict=True)]

    def outline(self, band: ChartCurve) -> str:
        """The SVG path goes along the upper edge of a band, and back along the lower edge."""
        there = self.points(band.x, band.high)
        back = self.points(band.x, band.low)
        return f"M{points_as_svg(there + back[::-1])}Z"


@dataclass(frozen=True)
class Strip:
    """Holds the small picture of a config's result: a bar for the interval, dots and ticks in it.

    label: what it shows, in words. bar: a range of runs, or the interval of a test set. ticks: the
    published number by its edition. dots: the runs, if there are several. scale: values that the
    axis holds too, those of other strips.
    """

    label: str
    mean: float
    bar: tuple[float, float] | None
    ticks: Mapping[str, float]
    dots: Sequence[float]
    scale: Sequence[float] = ()

    @property
    def values(self) -> list[float]:
        """All values that are shown."""
        return [self.mean, *self.dots, *(self.bar or ()), *self.ticks.values()]

    @cached_property
    def axis(self) -> Axis:
        """The axis is wider than the rounding error of a published number."""
        widened = [(1 + sign * LEAST_WIDTH / 2) * self.mean for sign in (-1, 1)]
        return Axis(
            *padded_range([*widened, *self.values, *self.scale], 0.1), STRIP_LEFT, STRIP_RIGHT
        )


@dataclass(frozen=True)
class DotPlot:
    """Holds a dot plot: a row for each config, with a dot for each run and part of the data.

    rows: for each config its name, and its values by part of the data. labels: the names of the
    parts.
    """

    title: str
    x_name: str
    rows: Sequence[tuple[str, Mapping[str, Sequence[float]]]]
    labels: Mapping[str, str]

    @cached_property
    def x(self) -> Axis:
        values = [value for _, parts in self.rows for dots in parts.values() for value in dots]
        return Axis(*padded_range(values, 0.04), DOTS_LEFT, DOTS_RIGHT)

    @property
    def bottom(self) -> int:
        return TOP + DOTS_ROW * len(self.rows)

    def y(self, row: int, part: str) -> float:
        """The parts of the data have a lane each, the first one above."""
        lane = list(self.labels).index(part) - (len(self.labels) - 1) / 2
        return TOP + DOTS_ROW * (row + 0.5) + DOTS_LANE * lane

    def mean_at(self, dots: Sequence[float]) -> float:
        return self.x.at(fmean(dots))


def points_as_svg(places: Sequence[tuple[float, float]]) -> str:
    """The text is for a path or a polyline."""
    return " ".join(f"{x:g},{y:g}" for x, y in places)


def label_of_data_part(part: str, record: RunRecord) -> str:
    """Validation data that are the test data are labelled `validation = test`."""
    is_both = part == "valid" and record.validates_on_test
    return "validation = test" if is_both else PARTS.get(part, part)


def curve_without_gaps(name: str, x: Sequence[float], y: Sequence[float], look: str) -> ChartCurve:
    """Leave out values that cannot be plotted, such as NaN; the curve may have no point."""
    points = [
        (step, value)
        for step, value in zip(x, y, strict=True)
        if is_plottable(step) and is_plottable(value)
    ]
    return ChartCurve(name, [step for step, _ in points], [value for _, value in points], look)


def mean_curve(name: str, curves: Sequence[ChartCurve]) -> ChartCurve | None:
    """The mean is taken at each x that all curves have.

    None means that fewer than two such x exist.
    """
    values_by_step = [dict(zip(curve.x, curve.y, strict=True)) for curve in curves]
    steps = [step for step in curves[0].x if all(step in values for values in values_by_step)]
    if len(steps) < 2:
        return None
    columns = [[values[step] for values in values_by_step] for step in steps]
    return curve_of_means(name, steps, columns, "")


def curve_of_means(
    name: str, x: Sequence[float], values: Sequence[Sequence[float]], look: str
) -> ChartCurve:
    """A band reaches from the lowest to the highest value at each x."""
    means = [fmean(values_at_x) for values_at_x in values]
    return ChartCurve(name, x, means, look, low=list(map(min, values)), high=list(map(max, values)))


def metric_names_without_stage(table: ColumnsByName) -> list[str]:
    """The columns `train_loss` and `valid_loss` have one name, `loss`."""
    return list(dict.fromkeys(without_stage(name) for name in table if name.startswith(STAGES)))


def thin_out_table(table: ColumnsByName, cells: int) -> dict[str, list[float]]:
    """Reduce a table to about `cells` cells: evenly spaced rows, the first and last included.

    If the table has empty cells (NaN), such as epochs without validation, as many of the full rows
    are kept too.
    """
    rows = range(min(map(len, table.values()), default=0))
    full = [row for row in rows if not any(math.isnan(values[row]) for values in table.values())]
    kept_rows = set(rows[-1:])
    for some in (rows, full):
        kept_rows.update(some[:: math.ceil(len(some) * len(table) / cells) or 1])
    return {name: [values[row] for row in sorted(kept_rows)] for name, values in table.items()}


def charts_of_run(table: ColumnsByName, record: RunRecord) -> list[Chart]:
    """Each metric or other result has a chart, such as accuracy by epoch."""
    step = next(iter(table), "")
    metrics = metric_names_without_stage(table)
    # The metrics of a user's own module have any name; other steps, such as images, are counts.
    if not (metrics or step == STEP) or len(table[step]) < 2:
        return []
    # For each chart its columns of the table, with their CSS classes.
    looks = {metric: {f"{part}_{metric}": part for part in PARTS} for metric in metrics}
    others = [name for name in record.metrics if name in table and name != step]
    looks |= {name: {name: "other"} for name in others if not name.startswith(STAGES)}
    if len(set(table.get(LR, ()))) > 1:
        looks[LR] = {LR: "other"}
    mark = _mark_of_chosen_step(table[step], step, record)
    charts = []
    for metric, look_by_column in looks.items():
        lines = [
            curve_without_gaps(
                name if look == "other" else label_of_data_part(look, record),
                table[step],
                table[name],
                look,
            )
            for name, look in look_by_column.items()
            if name in table
        ]
        drawable = [line for line in lines if line.x]
        if drawable:
            levels = _levels_of_metric(table, record, metric)
            title = "learning rate" if metric == LR else metric
            charts.append(Chart(title, step, metric, drawable, levels, mark))
    return charts


def _mark_of_chosen_step(
    steps: Sequence[float], name: str, record: RunRecord
) -> ReferenceLine | None:
    """A vertical line shows the epoch or penalty that a run has chosen, such as the best."""
    chosen = record.metrics.get(name, record.earlier_epoch)
    for step in steps:
        # metrics.csv has nine digits.
        if chosen is not None and math.isclose(step, chosen, rel_tol=1e-8):
            return ReferenceLine(f"chosen {name}", step, "mark")
    return None


def _levels_of_metric(table: ColumnsByName, record: RunRecord, metric: str) -> list[ReferenceLine]:
    """Horizontal lines show the published values, and the run's own at the end."""
    levels = published_value_lines(record, metric)
    name = f"{TESTED}{metric}"
    final = record.metrics.get(name)
    if final is not None and is_plottable(final) and name not in table:
        levels.insert(0, ReferenceLine("test, at the end", float(final), "test"))
    return levels


def published_value_lines(record: RunRecord, metric: str) -> list[ReferenceLine]:
    """Each edition of the book ISLP that has published the test metric has a line."""
    return [
        ReferenceLine(f"{edition}'s test", values[f"test_{metric}"], edition)
        for edition, values in published_metrics(record).items()
        if f"test_{metric}" in values
    ]


def padded_range(values: Sequence[float], share: float) -> tuple[float, float]:
    """The range of the values is widened by `share` at both ends."""
    low = min(values)
    high = max(values)
    margin = share * (high - low) or 0.05 * abs(high) or 0.5
    return low - margin, high + margin


def _linear_tick_labels(low: float, high: float, whole: bool) -> list[str]:
    """About TICKS labels are multiples of 1, 2 or 5 times a power of ten."""
    power = math.floor(math.log10((high - low) / TICKS))
    few_enough = (
        factor for factor in (1, 2, 5, 10) if (high - low) / (factor * 10**power) <= TICKS + 2
    )
    step = next(few_enough) * 10**power
    if whole:
        step = max(step, 1)
    multiples = [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
    return [f"{value:.6g}".replace("e+", "e") for value in multiples]


def _logarithmic_tick_labels(low: float, high: float) -> list[str]:
    """The labels are powers of ten; of many powers, only every second or third."""
    first = math.ceil(math.log10(low))
    last = math.floor(math.log10(high))
    every = 1 + (last - first) // TICKS
    return [f"{10.0**n:g}" for n in range(first, last + 1, every)]
