"""Plot a sweep: its runs' main metric against each config key whose values varied."""

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter

from dlrun import plots, stats
from dlrun.config.data_sections import FOLD
from dlrun.plots import COLOURS, NAMES, Figure, escape_figure_text

LETTERS = 14  # characters of a value's label, at most
JOINED = 12  # values at most whose means are joined by a line
GREY, GREEN = "#888888", "#2ca02c"


class PlottedRun(NamedTuple):
    """Holds one run of a sweep: the values of its varied config keys, and its metric by split."""

    settings: Mapping[str, object]
    metric: Mapping[str, float]  # `valid`, `test`


@plots.matplotlib_defaults()
def draw_sweep_figure(
    dots: Sequence[PlottedRun],
    keys: Sequence[str],
    metric: str,
    *,
    chosen: Mapping[str, object],
    book: float | None,
    title: str,
) -> Figure:
    """Plot a sweep: a panel for each varied config key, with a dot for each run, and the means.

    metric: its name on the vertical axis. chosen: the best config's settings, which are marked.
    book: the published test value; None if it cannot be compared.
    """
    figure, panels = plots.create_panel_grid(len(keys), 4.4, 3.6, title=title, share_y=True)
    for axes, key in zip(panels, keys, strict=True):
        places = _draw_key(axes, dots, key)
        if (place := places.get(repr(chosen.get(key, ...)))) is not None:
            axes.axvline(place, color=GREEN, alpha=0.25, linewidth=6, zorder=0, label="chosen")
        if book is not None:
            axes.axhline(book, color=GREY, linewidth=1, linestyle=":", label="the book")
        axes.set_xlabel(escape_figure_text(key, 40))
    for axes in panels[:: plots.PANELS_PER_ROW]:
        axes.set_ylabel(metric)
    panels[0].legend(fontsize=9)
    return figure


def _draw_key(axes: Axes, dots: Sequence[PlottedRun], key: str) -> dict[str, float]:
    """Draw the metric of all runs, and its means, by the values of one key; return their places."""
    values = list({repr(dot.settings[key]): dot.settings[key] for dot in dots}.values())
    numbers = sorted(
        value for value in values if isinstance(value, int | float) and not isinstance(value, bool)
    )
    is_numeric = len(numbers) == len(values)
    if is_numeric:
        places = {repr(number): float(number) for number in numbers}
        if stats.spans_magnitudes(numbers[0], numbers[-1]):
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())  # minor labels would overlap
        elif len(numbers) <= JOINED:
            axes.set_xticks(numbers, [f"{number:g}" for number in numbers])
    else:
        texts = [escape_figure_text(str(value), LETTERS) for value in values]
        axes.set_xticks(range(len(texts)), texts, rotation=20 if len(texts) > 4 else 0)
        places = {repr(value): float(place) for place, value in enumerate(values)}
    line = "-" if is_numeric and len(values) <= JOINED else ""
    for part in ("valid", "test"):
        points = [
            (places[repr(dot.settings[key])], dot.metric[part])
            for dot in dots
            if part in dot.metric
        ]
        if not points:
            continue
        xs, ys = zip(*points, strict=True)
        colour = COLOURS[part]
        axes.scatter(xs, ys, s=16, color=colour, alpha=0.7, edgecolors="none", label=NAMES[part])
        if key not in ("seed", FOLD):
            at = sorted({*xs})
            means = [statistics.fmean(y for x, y in points if x == place) for place in at]
            axes.plot(at, means, color=colour, linewidth=1, marker="_", linestyle=line)
    return places
