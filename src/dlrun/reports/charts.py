"""Define the charts of the HTML report: their curves, and how values become SVG coordinates.

parts.html writes the SVG, and curves.js shows the values under the pointer.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from dlrun import stats
from dlrun.run_folder.record import RunRecord
from dlrun.run_folder.recorded_metrics import (
    LR,
    STEP,
    is_plottable,
    published_metrics,
)

WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 64, 394, 12, 208  # edges of the panel, in SVG units
COLOURS, DASHES = 8, 5  # numbers of classes in report.css
TICKS = 5
STRIP_LEFT, STRIP_RIGHT = 6.0, 214.0  # ends of the picture of a result, in SVG units
LEAST_WIDTH = 0.005  # of the axis of such a picture, as a share: rounding must not fill it
PARTS = {"train": "training", "valid": "validation", "test": "test"}

Table = Mapping[str, Sequence[float]]  # metrics.csv: columns by name, the first counts steps


@dataclass(frozen=True)
class ChartCurve:
    """Holds a curve of a chart: its name, points and CSS class.

    Values of y that are not finite are gaps. low, high: of a mean, the lowest and the highest of
    the values; they are the ends of the band around it.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    look: str
    low: Sequence[float] = ()
    high: Sequence[float] = ()

    @property
    def is_drawable(self) -> bool:
        """Return whether the curve has at least one point, and every x is a finite number."""
        return any(map(is_plottable, self.y)) and all(map(is_plottable, self.x))


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
    whole: bool = False  # ticks are whole numbers

    def at(self, value: float) -> float:
        """Return the SVG coordinate of a value, rounded to a tenth of a unit."""
        scale = math.log if self.logarithmic else float
        start, end = scale(self.start), scale(self.end)
        share = (scale(value) - start) / (end - start)
        return round(self.first + share * (self.last - self.first), 1)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Return the coordinates and texts of the axis labels."""
        low, high = sorted((self.start, self.end))
        texts = _powers(low, high) if self.logarithmic else _multiples(low, high, self.whole)
        return [(self.at(float(text)), text) for text in dict.fromkeys(texts)]


@dataclass(frozen=True)
class Chart:
    """Holds a chart: curves over one x axis, horizontal reference lines, and a vertical line."""

    title: str
    x_name: str
    y_name: str
    lines: Sequence[ChartCurve]
    levels: Sequence[ReferenceLine] = ()
    mark: ReferenceLine | None = None  # vertical line at an x
    dots: Sequence[tuple[float, float]] = ()  # points in the curves' range; their axes are linear

    @property
    def bands(self) -> list[ChartCurve]:
        """Return the curves that have a band around them."""
        return [line for line in self.lines if line.low]

    @cached_property
    def x(self) -> Axis:
        """Return the x axis; it is logarithmic if the values are fractions over a wide range.

        It descends if the longest curve does.
        """
        longest = max((line.x for line in self.lines), key=len)
        values = [value for line in self.lines for value in line.x]
        whole = all(float(value).is_integer() for value in values)
        low, high = min(values), max(values)
        logarithmic = not (whole or self.dots) and stats.spans_magnitudes(low, high)
        if not logarithmic:
            low, high = padded_range(values, 0.02)
        if longest[0] > longest[-1]:
            low, high = high, low
        return Axis(low, high, LEFT, RIGHT, logarithmic, whole)

    @cached_property
    def y(self) -> Axis:
        """Return the y axis, which holds the values of the curves and bands with a small margin."""
        found = [column for line in self.lines for column in (line.y, line.low, line.high)]
        values = [value for column in found for value in column if is_plottable(value)]
        return Axis(*padded_range(values + [one.value for one in self.levels], 0.05), BOTTOM, TOP)

    def value_in_legend(self, line: ChartCurve) -> float:
        """Return the value of a curve at the vertical line; without one, its last value."""
        mark = self.mark and self.mark.value
        return line.y[line.x.index(mark) if mark in line.x else -1]

    @property
    def dot_places(self) -> list[tuple[float, float]]:
        """Return the SVG coordinates of the dots, each place once."""
        return list(dict.fromkeys((self.x.at(x), self.y.at(y)) for x, y in self.dots))

    def points(self, line: ChartCurve) -> list[list[tuple[float, float]]]:
        """Return the SVG coordinates of a curve's points; after each gap a new list begins."""
        pieces: list[list[tuple[float, float]]] = [[]]
        for x, y in zip(line.x, line.y, strict=True):
            if is_plottable(y):
                pieces[-1].append((self.x.at(x), self.y.at(y)))
            elif pieces[-1]:
                pieces.append([])
        return [piece for piece in pieces if piece]

    @staticmethod
    def svg_points(places: Sequence[tuple[float, float]]) -> str:
        """Return SVG coordinates as the text of a path or a polyline."""
        return " ".join(f"{x:g},{y:g}" for x, y in places)

    def outline(self, band: ChartCurve) -> str:
        """Return the SVG path around the band of a curve."""
        there = [(self.x.at(x), self.y.at(y)) for x, y in zip(band.x, band.high, strict=True)]
        back = [(self.x.at(x), self.y.at(y)) for x, y in zip(band.x, band.low, strict=True)]
        return f"M{self.svg_points(there + back[::-1])}Z"


@dataclass(frozen=True)
class Strip:
    """Holds the small picture of a config's result: a bar for the interval, dots and ticks in it.

    label: what it shows, in words. bar: a range of runs, or the interval of a test set. ticks: the
    published number by its edition. dots: the runs, if they are too few for a range.
    """

    label: str
    mean: float
    bar: tuple[float, float] | None
    ticks: Mapping[str, float]
    dots: Sequence[float]

    @cached_property
    def axis(self) -> Axis:
        """Return the picture's axis; it is wider than the rounding error of a published number."""
        values = [(1 + sign * LEAST_WIDTH / 2) * self.mean for sign in (-1, 1)]
        values += [*self.dots, *(self.bar or ()), *self.ticks.values()]
        return Axis(*padded_range(values, 0.2), STRIP_LEFT, STRIP_RIGHT)


def name_part(part: str, record: RunRecord) -> str:
    """Return what a chart calls a part of a run's data, such as `validation = test`."""
    is_both = part == "valid" and record.validates_on_test
    return "validation = test" if is_both else PARTS.get(part, part)


def measured_curve(name: str, x: Sequence[float], y: Sequence[float], look: str) -> ChartCurve:
    """Return a chart's curve of only the steps that have a value (no NaN)."""
    points = [(step, value) for step, value in zip(x, y, strict=True) if not math.isnan(value)]
    return ChartCurve(name, [step for step, _ in points], [value for _, value in points], look)


def mean_curve(name: str, curves: Sequence[ChartCurve]) -> ChartCurve | None:
    """Return the mean of curves at their common steps; None for fewer than two such steps."""
    values = [
        {x: y for x, y in zip(curve.x, curve.y, strict=True) if is_plottable(y)} for curve in curves
    ]
    steps = [x for x in curves[0].x if all(x in one for one in values)]
    if len(steps) < 2:
        return None
    columns = [[one[x] for one in values] for x in steps]
    means = [fmean(column) for column in columns]
    return ChartCurve(name, steps, means, "", low=[*map(min, columns)], high=[*map(max, columns)])


def curve_css_classes(number: int) -> str:
    """Return the CSS classes for the colour and dashes of a run's curve, given the run's index."""
    return f"run{number % COLOURS} dash{number % DASHES}"


def metric_names_without_split(table: Table) -> list[str]:
    """Return a table's metric names without train, valid or test: `loss` for `train_loss`."""
    parts = (name.partition("_") for name in table)
    return list(dict.fromkeys(metric for part, _, metric in parts if part in PARTS and metric))


def thin_out_table(table: Table, cells: int) -> dict[str, list[float]]:
    """Reduce a table to about `cells` cells: evenly spaced rows, the first and last included.

    If the table has empty cells (NaN), such as epochs without validation, as many of the full rows
    are kept too.
    """
    rows = range(min(map(len, table.values()), default=0))
    full = [row for row in rows if not any(math.isnan(values[row]) for values in table.values())]
    kept = {*rows[-1:]}
    for some in (rows, full):
        kept.update(some[:: math.ceil(len(some) * len(table) / cells) or 1])
    return {name: [values[row] for row in sorted(kept)] for name, values in table.items()}


def charts_of_run(table: Table, record: RunRecord) -> list[Chart]:
    """Return the charts of one run: one for each metric, and for each other column of results."""
    step = next(iter(table), "")
    metrics = metric_names_without_split(table)
    # The metrics of a user's own module have any name; other steps, such as images, are counts.
    if not (metrics or step == STEP) or len(table[step]) < 2:
        return []
    columns = {metric: {f"{part}_{metric}": part for part in PARTS} for metric in metrics}
    in_parts = {name for group in columns.values() for name in group}
    others = [one for one in record.metrics if one in table and one not in {step, *in_parts}]
    columns |= {name: {name: "other"} for name in others}
    chosen = record.metrics.get(step, record.earlier_epoch)
    # metrics.csv has nine digits.
    near = [x for x in table[step] if chosen is not None and math.isclose(x, chosen, rel_tol=1e-8)]
    mark = ReferenceLine(f"chosen {step}", near[0], "mark") if near else None
    charts = []
    for metric, group in columns.items():
        lines = [
            measured_curve(
                name if part == "other" else name_part(part, record), table[step], table[name], part
            )
            for name, part in group.items()
            if name in table
        ]
        levels = published_value_lines(record, metric)
        final = record.metrics.get(f"test_{metric}")
        if final is not None and is_plottable(final) and f"test_{metric}" not in table:
            levels.insert(0, ReferenceLine("test, at the end", float(final), "test"))
        if lines := [line for line in lines if line.is_drawable]:
            charts.append(Chart(metric, step, metric, lines, levels, mark))
    if len(set(table.get(LR, ()))) > 1:
        rate = measured_curve("learning rate", table[step], table[LR], "other")
        charts.append(Chart("learning rate", step, LR, [rate], mark=mark))
    return charts


def published_value_lines(record: RunRecord, metric: str) -> list[ReferenceLine]:
    """Return a chart's lines at a metric's published test values, one per edition of ISLP."""
    return [
        ReferenceLine(f"{edition}'s test", values[f"test_{metric}"], edition)
        for edition, values in published_metrics(record).items()
        if f"test_{metric}" in values
    ]


def padded_range(values: Sequence[float], share: float) -> tuple[float, float]:
    """Return the ends of an axis: the range of the values, widened by `share` at both ends."""
    low, high = min(values), max(values)
    margin = share * (high - low) or 0.05 * abs(high) or 0.5
    return low - margin, high + margin


def _multiples(low: float, high: float, whole: bool) -> list[str]:
    """Return about TICKS labels for an axis: multiples of 1, 2 or 5 times a power of ten."""
    power = math.floor(math.log10((high - low) / TICKS))
    enough = (f for f in (1, 2, 5, 10) if (high - low) / (f * 10**power) <= TICKS + 2)
    step = max(next(enough) * 10**power, 1 if whole else 0)
    multiples = [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
    if max(abs(low), abs(high)) >= 1e5 or power < -5:
        return [re.sub(r"e\+?(-?)0*", r"e\1", f"{value:.6g}") for value in multiples]
    return [f"{value:.{max(0, -math.floor(math.log10(step)))}f}" for value in multiples]


def _powers(low: float, high: float) -> list[str]:
    """Return the powers of ten for a logarithmic axis; only every second or third if many."""
    first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
    return [f"{10.0**n:g}" for n in range(first, last + 1, 1 + (last - first) // TICKS)]
