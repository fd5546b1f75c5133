"""Figures with a value on each axis: learning curves, several runs, words read, devices."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from dlrun.plots.style import COLOURS, NAMES, Figure, add_title, plain, styled

Table = Mapping[str, Sequence[float]]  # a CSV file's columns by name
Panel = tuple[str, str, str, Sequence[tuple[str, float]]]
"""A text, its label, the class that is drawn, and after each word that class's probability."""

PANELS_PER_ROW = 3
LINES = {"train": ("--", "x"), "valid": ("-", "o"), "test": (":", "+")}  # style; mark of one step
MARKED_WORDS = 8  # words at which the probability changes most


@styled
def learning_curves(table: Table, test: Mapping[str, float | None], *, title: str) -> Figure:
    """Draw the loss and each metric by epoch, in a panel each, as in the lab's section 10.9.

    An axis spans its values and no more: one that starts at 0 or at chance would leave most of a
    panel empty for one experiment, and cut off values of another.

    Args:
        table: metrics.csv: columns `epoch`, `train_<metric>`, `valid_<metric>`.
        test: values `test_<metric>`, drawn as dashed lines.
        title: of the figure.
    """
    metrics = [name.removeprefix("train_") for name in table if name.startswith("train_")]
    figure = Figure(figsize=(5.5 * len(metrics), 3.9), layout="constrained")
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        draw_metric(axes, table, metric, test.get(f"test_{metric}"))
    add_title(figure, title)
    return figure


def draw_metric(axes: Axes, table: Table, metric: str, test: float | None) -> None:
    """Draw one metric of training and validation by epoch into a panel."""
    for part in ("train", "valid"):
        axes.plot(
            table["epoch"],
            table[f"{part}_{metric}"],
            marker="o",
            markersize=3,
            color=COLOURS[part],
            label=NAMES[part],
        )
    if test is not None:
        axes.axhline(test, linestyle="--", color=COLOURS["test"], label=f"test ({test:.3f})")
    _label_axes(axes, "epoch", metric)
    axes.set_xlim(min(table["epoch"]) - 0.5, max(table["epoch"]) + 0.5)
    axes.legend()


@styled
def compared_curves(tables: Mapping[str, Table], panels: Sequence[tuple[str, str]]) -> Figure:
    """Draw the curves of several runs over each other, each run in a colour of its own.

    Args:
        tables: metrics.csv of each run by the run's name; the first column counts steps.
        panels: name of the steps (`epoch`, `lambda`) and metric of each panel. A lambda's axis
            is logarithmic and descends, as the path does.
    """
    wide = min(PANELS_PER_ROW, len(panels))
    tall = -(-len(panels) // wide)
    size = (max(6.5, 5.5 * wide), 3.6 * tall + 0.9 + 0.2 * (len(tables) // 4))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(tall, wide, squeeze=False).ravel()
    palette = matplotlib.colormaps["tab10" if len(tables) <= 10 else "tab20"]
    colours = {name: palette(place % palette.N) for place, name in enumerate(tables)}
    for axes, (steps, metric) in zip(grid, panels, strict=False):
        for name, table in tables.items():
            for part, (style, mark) in LINES.items():
                values = table.get(f"{part}_{metric}")
                if values is not None and next(iter(table)) == steps:
                    axes.plot(
                        table[steps],
                        values,
                        linestyle=style,
                        linewidth=1.6 if part == "valid" else 0.9,
                        marker=mark if len(values) == 1 else "",
                        color=colours[name],
                    )
        _label_axes(axes, steps, metric)
    for axes in grid[len(panels) :]:
        axes.axis("off")
    legend = [Line2D([], [], color=colours[name], label=plain(name, 40)) for name in tables]
    columns = min(4, len(legend))
    figure.legend(handles=legend, loc="outside lower center", ncols=columns, fontsize=9)
    figure.suptitle("validation solid, training dashed, test dotted", fontsize=10)
    return figure


@styled
def after_each_word(panels: Sequence[Panel], *, title: str) -> Figure:
    """Draw the probability of a class after each word of a text, in a panel for each text."""
    figure = Figure(figsize=(8, 0.7 + 2.6 * len(panels)), layout="constrained")
    rows = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axes, (text, label, towards, after) in zip(rows, panels, strict=True):
        values = np.array([value for _, value in after])
        places = np.arange(1, len(values) + 1)
        axes.step(places, values, where="mid", color=COLOURS["train"])
        axes.axhline(0.5, color=COLOURS["test"], linewidth=0.6, linestyle="--")
        changes = np.abs(np.diff(values, prepend=values[:1]))
        for place in np.sort(np.argsort(-changes, kind="stable")[:MARKED_WORDS]):
            above = values[place] < 0.5
            axes.annotate(
                plain(after[place][0], 16),
                (places[place], values[place]),
                xytext=(0, 3 if above else -3),
                textcoords="offset points",
                rotation=90,
                ha="center",
                va="bottom" if above else "top",
                fontsize=7,
            )
        _label_axes(axes, "", f"p({plain(towards, 20)})")
        axes.set_ylim(0, 1)
        axes.set_xlim(0.5, len(values) + 0.5)
        shown = plain(" ".join(text.split()), 70)
        axes.set_title(f"{plain(label, 20)}: {shown}", fontsize=9, loc="left")
    rows[-1].set_xlabel("words read")
    figure.suptitle(title, fontsize=10)
    return figure


@styled
def epoch_times(devices: Sequence[str], seconds: Sequence[float], *, title: str) -> Figure:
    """Draw the seconds per epoch on each device as bars."""
    figure = Figure(figsize=(6, 0.7 + 0.6 * len(devices)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(list(devices), list(seconds), color=COLOURS["train"])
    axes.bar_label(bars, [f" {value:.2f} s" for value in seconds])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.2 * max(seconds))
    axes.set_xlabel("seconds per epoch")
    add_title(figure, title)
    return figure


def _label_axes(axes: Axes, steps: str, metric: str) -> None:
    """Name the axes; steps are whole numbers, but for lambdas, which are logarithmic."""
    axes.set_xlabel(plain(steps, 40))
    axes.set_ylabel(plain(metric, 40))
    axes.grid(alpha=0.3)
    if steps == "lambda":
        axes.set_xscale("log")
        axes.invert_xaxis()
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
