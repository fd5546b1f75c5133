"""Plot a sweep: its runs' main metric against each config key whose values varied."""

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from dlrun import stats
from dlrun.config.data_sections import FOLD
from dlrun.config.yaml_loader import is_number
from dlrun.plots import (
    COLOURS,
    NAMES,
    PANELS_PER_ROW,
    Figure,
    add_figure_title,
    create_panel_grid,
    escape_figure_text,
    matplotlib_defaults,
)

DECADES = 100.0  # ratio from which on powers of ten are enough labels
LETTERS = 14  # characters of a value's label, at most
JOINED = 12  # values at most whose means are joined by a line
GREY = "#888888"

Point = tuple[float, float]


class PlottedRun(NamedTuple):
    """Holds one run of a sweep: the values of its varied config keys, and its metric by split."""

    settings: Mapping[str, object]
    metric: Mapping[str, float]  # `valid`, `test`


@matplotlib_defaults()
def draw_sweep_figure(
    dots: Sequence[PlottedRun],
    keys: Sequence[str],
    metric: str,
    *,
    chosen: Mapping[str, object],
    book: float | None,
    title: str,
) -> Figure:
    """Plot a sweep: a panel for each varied config key, with a dot per run, means and deviations.

    Args:
        dots: the runs.
        keys: the config keys that varied; each panel shows all runs.
        metric: name of the metric on the vertical axis.
        chosen: the best config's settings, which are marked.
        book: the published test value; None if it cannot be compared.
        title: the figure's title.
    """
    names = {part: NAMES[part] for part in ("valid", "test")}
    if all(dot.metric.get("valid") == dot.metric.get("test") for dot in dots):
        names = {"test": "validation = test"}  # of the same rows
    figure, panels = create_panel_grid(len(keys), 4.4, 3.6, share_y=True)
    for axes, key in zip(panels, keys, strict=True):
        _draw_key(axes, dots, key, chosen, names)
        if book is not None:
            axes.axhline(book, color=GREY, linewidth=1, linestyle=":", label="the book")
    for axes in panels[::PANELS_PER_ROW]:
        axes.set_ylabel(metric)
    panels[0].legend(fontsize=9)
    add_figure_title(figure, title)
    return figure


def _draw_key(
    axes: Axes,
    dots: Sequence[PlottedRun],
    key: str,
    chosen: Mapping[str, object],
    names: Mapping[str, str],
) -> None:
    """Draw the metric of all runs by the values of one key, for each named split."""
    values = list({repr(dot.settings[key]): dot.settings[key] for dot in dots}.values())
    numbers = [one for one in values if is_number(one)]
    is_numeric = len(numbers) == len(values)
    if is_numeric:
        _scale(axes, sorted(numbers))
        places = {repr(one): float(one) for one in numbers}
    else:
        texts = [escape_figure_text(str(value), LETTERS) for value in values]
        axes.set_xticks(range(len(texts)), texts, rotation=20 if len(texts) > 4 else 0)
        places = {repr(one): float(place) for place, one in enumerate(values)}
    joined = is_numeric and key not in ("seed", FOLD) and len(values) <= JOINED
    for part, name in names.items():
        points = [
            (places[repr(dot.settings[key])], dot.metric[part])
            for dot in dots
            if part in dot.metric
        ]
        if points:
            xs, ys = zip(*points, strict=True)
            axes.scatter(
                xs, ys, s=16, color=COLOURS[part], alpha=0.7, edgecolors="none", label=name
            )
            _draw_means(axes, points, COLOURS[part], name, joined=joined)
    if key in chosen and repr(chosen[key]) in places:
        place = places[repr(chosen[key])]
        axes.axvline(place, color="#2ca02c", alpha=0.25, linewidth=6, zorder=0, label="chosen")
    axes.set_xlabel(escape_figure_text(key, 40))
    axes.grid(alpha=0.3)


def _scale(axes: Axes, values: Sequence[float]) -> None:
    """Scale an axis for sorted numbers: logarithmic if they span a wide range."""
    if stats.spans_magnitudes(values[0], values[-1]):
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())  # minor labels would overlap
        if values[-1] < DECADES * values[0]:
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter("{x:g}")
    elif len(values) <= JOINED:
        axes.set_xticks(values, [f"{value:g}" for value in values])


def _draw_means(
    axes: Axes, points: Sequence[Point], colour: str, name: str, *, joined: bool
) -> None:
    """Draw the means and standard deviations of points at the same place, or join them."""
    by_place: dict[float, list[float]] = {}
    for place, value in sorted(points):
        by_place.setdefault(place, []).append(value)
    if len(by_place) == len(points):
        if joined:
            axes.plot(*zip(*sorted(points), strict=True), color=colour, linewidth=1)
        return
    axes.errorbar(
        list(by_place),
        [statistics.fmean(values) for values in by_place.values()],
        [statistics.stdev(values) if len(values) > 1 else 0 for values in by_place.values()],
        color=colour,
        capsize=3,
        marker="_",
        label=f"{name}: mean, sd",
        linestyle="-" if joined else "",
    )
