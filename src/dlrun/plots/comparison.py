"""Curves of several runs over each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from dlrun.plots.curves import Table
from dlrun.plots.style import Figure, plain, styled

PARTS = {"train": ("--", "x"), "valid": ("-", "o"), "test": (":", "+")}  # line; of one step a mark
HOW = "validation solid, training dashed, test dotted"
PER_ROW = 3


@dataclass(frozen=True)
class Curve:
    """A run's name and its metrics.csv, whose first column counts its steps."""

    name: str
    table: Table

    @property
    def steps(self) -> str:
        """`epoch`, `lambda`."""
        return next(iter(self.table), "")

    @property
    def metrics(self) -> list[str]:
        """What it has curves of: `loss`, `accuracy`."""
        names = (name.partition("_") for name in self.table)
        return list(dict.fromkeys(metric for part, _, metric in names if part in PARTS and metric))


@styled
def compared_curves(curves: Sequence[Curve]) -> Figure:
    """A panel for each metric and kind of step; a colour for each run, a line's style for a part.

    A lambda's axis is logarithmic and falls, as the path goes. At least one curve has a metric.
    """
    panels = list(dict.fromkeys((one.steps, metric) for one in curves for metric in one.metrics))
    wide = min(PER_ROW, len(panels))
    tall = -(-len(panels) // wide)
    size = (max(6.5, 5.5 * wide), 3.6 * tall + 0.9 + 0.2 * (len(curves) // 4))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(tall, wide, squeeze=False).ravel()
    palette = matplotlib.colormaps["tab10" if len(curves) <= 10 else "tab20"]
    for axes, (steps, metric) in zip(grid, panels, strict=False):
        for place, curve in enumerate(curves):
            if curve.steps == steps:
                _draw(axes, curve, metric, palette(place % palette.N))
        _label(axes, steps, metric)
    for axes in grid[len(panels) :]:
        axes.axis("off")
    lines = [
        matplotlib.lines.Line2D([], [], color=palette(place % palette.N), label=plain(one.name, 40))
        for place, one in enumerate(curves)
    ]
    figure.legend(handles=lines, loc="outside lower center", ncols=min(4, len(lines)), fontsize=9)
    figure.suptitle(HOW, fontsize=10)
    return figure


def _draw(axes: Axes, curve: Curve, metric: str, colour: tuple[float, ...]) -> None:
    """A run's lines of one metric; of a single step marks."""
    for part, (style, mark) in PARTS.items():
        values = curve.table.get(f"{part}_{metric}")
        if values is not None:
            axes.plot(
                curve.table[curve.steps],
                values,
                linestyle=style,
                linewidth=1.6 if part == "valid" else 0.9,
                marker=mark if len(values) == 1 else "",
                color=colour,
            )


def _label(axes: Axes, steps: str, metric: str) -> None:
    axes.set_xlabel(plain(steps, 40))
    axes.set_ylabel(plain(metric, 40))
    axes.grid(alpha=0.3)
    if steps == "lambda":
        axes.set_xscale("log")
        axes.invert_xaxis()
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
