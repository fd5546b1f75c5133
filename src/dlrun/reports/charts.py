"""Charts as SVG: the geometry here, the drawing in parts.html, pointer and keys in curves.js."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from dlrun.runs.key_metric import is_plottable

WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 394, 12, 208  # of the panel, in the picture's units
COLOURS, DASHES = 8, 3  # in report.css
APART = 11  # between the labels at the curves' ends
TICKS = 5
NARROWEST = 1e-6  # margin, as a share of an axis' values: in a narrower one ticks look the same
LOG_FROM = 100  # an axis of fractions over this ratio and more is logarithmic


@dataclass(frozen=True)
class Line:
    """A curve: its name, x and y of equal length, its class in report.css.

    Values of y that have no place on an axis are gaps.

    end: what stands at its end.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    look: str
    end: str = ""


@dataclass(frozen=True)
class Level:
    """A published or a final value: a level line."""

    name: str
    value: float
    look: str


@dataclass(frozen=True)
class Mark:
    """An x that is set off, such as the lambda that was chosen."""

    name: str
    x: float


@dataclass(frozen=True)
class Tick:
    """A place on an axis, in the picture's units, with its label."""

    at: float
    text: str


@dataclass(frozen=True)
class End:
    """A label at a curve's end, in the picture's units."""

    x: float
    y: float
    text: str
    look: str


@dataclass(frozen=True)
class Axis:
    """From values to places: `start` lies at `first`, `end` at `last`.

    whole: of whole numbers.
    """

    start: float
    end: float
    first: float
    last: float
    logarithmic: bool = False
    whole: bool = False

    def at(self, value: float) -> float:
        """The place of a value, to a tenth of a unit."""
        start, end = self._scaled(self.start), self._scaled(self.end)
        share = (self._scaled(value) - start) / (end - start)
        return round(self.first + share * (self.last - self.first), 1)

    @property
    def ticks(self) -> list[Tick]:
        """The labelled places."""
        low, high = sorted((self.start, self.end))
        texts = _powers(low, high) if self.logarithmic else _steps(low, high, self.whole)
        return [Tick(self.at(float(text)), text) for text in dict.fromkeys(texts)]

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.logarithmic else value


@dataclass(frozen=True)
class Chart:
    """Curves over one x; levels and a mark where there are any."""

    title: str
    x_name: str
    y_name: str
    lines: Sequence[Line]
    levels: Sequence[Level] = ()
    mark: Mark | None = None

    @cached_property
    def x(self) -> Axis:
        """Of fractions over many powers of ten logarithmic; it descends where the values do."""
        longest = max(self.lines, key=lambda line: len(line.x)).x
        values = [value for line in self.lines for value in line.x]
        low, high = min(values), max(values)
        whole = all(float(value).is_integer() for value in values)
        logarithmic = not whole and low > 0 and high / low >= LOG_FROM
        if not logarithmic:
            margin = max(0.5 if low == high else 0.02 * (high - low), _least(low, high))
            low, high = low - margin, high + margin
        if longest[0] > longest[-1]:
            low, high = high, low
        return Axis(low, high, LEFT, RIGHT, logarithmic, whole)

    @cached_property
    def y(self) -> Axis:
        """It holds every value, with a little room."""
        values = [value for line in self.lines for value in line.y if is_plottable(value)]
        values += [level.value for level in self.levels]
        low, high = min(values), max(values)
        margin = max(0.05 * (high - low) or 0.05 * abs(high) or 0.5, _least(low, high))
        return Axis(low - margin, high + margin, BOTTOM, TOP)

    def points(self, line: Line) -> list[str]:
        """The line's pieces between its gaps, each as the points of a polyline."""
        pieces: list[list[str]] = [[]]
        for x, y in zip(line.x, line.y, strict=True):
            if is_plottable(y):
                pieces[-1].append(f"{self.x.at(x):g},{self.y.at(y):g}")
            elif pieces[-1]:
                pieces.append([])
        return [" ".join(piece) for piece in pieces if piece]

    @property
    def ends(self) -> list[End]:
        """The labels at the curves' ends, none over another."""
        found: list[End] = []
        for line in sorted(self.lines, key=self._last):
            at = self._last(line)
            y = max(at[0], found[-1].y + APART) if found else at[0]
            found.append(End(at[1], y, line.end, line.look))
        return [end for end in found if end.text]

    def _last(self, line: Line) -> tuple[float, float]:
        """Where a line's label would stand: y, x."""
        pairs = zip(line.x, line.y, strict=True)
        x, y = [(x, y) for x, y in pairs if is_plottable(y)][-1]
        return self.y.at(y) + 4, self.x.at(x) + 4


def can_be_drawn(line: Line) -> bool:
    """Whether it has a point, and all its x are numbers."""
    return any(map(is_plottable, line.y)) and all(map(is_plottable, line.x))


def look(number: int) -> str:
    """The class of a run's curve: of 24 none is alike, and neighbours differ in both."""
    return f"run{number % COLOURS} dash{number % DASHES}"


def _least(low: float, high: float) -> float:
    """The margin that an axis has at least."""
    return NARROWEST * max(abs(low), abs(high))


def _steps(low: float, high: float, whole: bool) -> list[str]:
    """Multiples of 1, 2 or 5 times a power of ten, about as many as TICKS."""
    power = math.floor(math.log10((high - low) / TICKS))
    enough = (f for f in (1, 2, 5, 10) if (high - low) / (f * 10**power) <= TICKS + 2)
    step = max(next(enough) * 10**power, 1 if whole else 0)
    multiples = [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
    if max(abs(low), abs(high)) >= 1e5 or power < -5:
        return [f"{value:.6g}" for value in multiples]
    return [f"{value:.{max(0, -math.floor(math.log10(step)))}f}" for value in multiples]


def _powers(low: float, high: float) -> list[str]:
    """Powers of ten, every second or third where there are many."""
    first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
    return [f"{10.0**n:g}" for n in range(first, last + 1, 1 + (last - first) // TICKS)]
