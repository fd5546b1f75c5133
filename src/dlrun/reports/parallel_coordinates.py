"""Define the chart of a sweep's configs on its page, and the importance of their keys.

The chart has parallel coordinates: a vertical axis for each key and one for the metric, and a line
for each config. page.html writes the SVG.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from dlrun import stats
from dlrun.config.yaml_loader import format_setting, is_number
from dlrun.reports.charts import BOTTOM, LABEL_HEIGHT, TOP, Axis, padded_range

MARGIN, BETWEEN = 90, 130  # left of the first axis and right of the last, and between two axes
FEW, SHORT = 6, 12  # values of an axis, and their characters, that all get a label
FAINTEST = 0.2  # opacity of the worst config's line


@dataclass(frozen=True)
class ParallelAxis:
    """Represents an axis of parallel coordinates: a config key or a metric, and its values.

    There is a value for each config. An axis of numbers only has a scale, with labels at the values
    if they are few, short and not too close; any other has a place for each different value.
    """

    name: str
    values: Sequence[object]

    @cached_property
    def _scale(self) -> Axis | None:
        """Return the scale of the numbers, or None if any value is no number."""
        numbers = [float(value) for value in self.values if is_number(value)]
        if len(numbers) < len(self.values):
            return None
        low, high = min(numbers), max(numbers)
        if stats.spans_magnitudes(low, high):
            return Axis(low, high, BOTTOM, TOP, logarithmic=True)
        whole = all(isinstance(value, int) for value in self.values)
        return Axis(*padded_range(numbers, 0.02), BOTTOM, TOP, whole=whole)

    @cached_property
    def _places(self) -> dict[str, float]:
        """Return the SVG coordinate of each different value, as text."""
        texts = list(dict.fromkeys(map(format_setting, self.values)))
        step = (BOTTOM - TOP) / len(texts)
        return {text: round(BOTTOM - (place + 0.5) * step, 1) for place, text in enumerate(texts)}

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Return the SVG coordinates and texts of the axis labels."""
        if self._scale is None:
            return [(at, text) for text, at in self._places.items()]
        values = {format_setting(value): self.at(value) for value in self.values}
        places = sorted(values.values())
        is_dense = any(after - at < LABEL_HEIGHT for at, after in pairwise(places))
        if len(values) > FEW or max(map(len, values)) > SHORT or is_dense:
            return self._scale.ticks
        return [(at, text) for text, at in values.items()]

    def at(self, value: object) -> float:
        """Return the SVG coordinate of one of the values."""
        if self._scale is not None and is_number(value):
            return self._scale.at(value)
        return self._places[format_setting(value)]


@dataclass(frozen=True)
class ConfigsSection:
    """Holds what the page of a sweep shows about its configs, whose order is the worst first."""

    axes: Sequence[ParallelAxis]  # axes of the keys that vary and, last, of the metric
    names: Sequence[str]  # each config as text, with its metric
    importances: Mapping[str, float]  # the share of each key in the variance of the metric
    remark: str  # what the importances mean, or why there are none

    @property
    def width(self) -> int:
        """Return the width of the chart in SVG units."""
        return 2 * MARGIN + BETWEEN * (len(self.axes) - 1)

    def x(self, place: int) -> int:
        """Return the SVG coordinate of an axis by its place in the list."""
        return MARGIN + BETWEEN * place

    @property
    def lines(self) -> list[tuple[str, list[tuple[int, float]], float]]:
        """Return the name, the SVG coordinates and the opacity of each config's line."""
        places = [
            [(self.x(place), axis.at(axis.values[row])) for place, axis in enumerate(self.axes)]
            for row in range(len(self.names))
        ]
        last = max(1, len(self.names) - 1)
        opacities = [FAINTEST + (1 - FAINTEST) * row / last for row in range(len(self.names))]
        return list(zip(self.names, places, opacities, strict=True))
