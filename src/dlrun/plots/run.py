"""Plot runs: learning curves, lasso paths, values, photographs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from dlrun.plots import (
    COLOURS,
    NAMES,
    Figure,
    add_figure_title,
    create_panel_grid,
    escape_figure_text,
    matplotlib_defaults,
)

Table = Mapping[str, Sequence[float]]  # a CSV file's columns by name
Values = NDArray[np.float64]
Labels = Sequence[tuple[str, float]]  # labels with their probabilities, the most probable first

SPLITS = ("train", "valid")  # parts of the data with a value for each epoch
LABELLED = 8  # coefficients of a path that are named
# Sizes of the photographs' cards in inches. All cards are drawn in one pair of axes, because a pair
# for each takes far longer.
CARDS_PER_ROW = 3
CARD_WIDTH, PHOTOGRAPH_HEIGHT, NAME_HEIGHT, LABEL_HEIGHT = 4.0, 2.5, 0.3, 0.26
GAP = 0.08
CARD_COLOUR, BAR_COLOUR = "#f3f3f3", "#9ecae1"


@matplotlib_defaults()
def draw_learning_curves(
    table: Table,
    test: Mapping[str, float | None],
    *,
    title: str,
    limits: Mapping[str, tuple[float, float]] = {},
    kept: int | None = None,
) -> Figure:
    """Draw the learning curves of a run as in ISLP 10.9: one panel for each metric.

    An axis without limits spans only its values: if it started at 0 or at the accuracy of chance,
    most of a panel would be empty for one experiment, and values of another would be cut off.

    Args:
        table: metrics.csv: columns `epoch`, `train_<metric>`, `valid_<metric>`; a metric may have
            one of the two, and a column with another name is a metric of its own, `lr` only if it
            varies. NaN stands for an empty cell.
        test: values `test_<metric>`, drawn as dashed lines.
        title: the figure's title.
        limits: the ends of a metric's axis, by metric; not used if a curve ends outside them.
        kept: the epoch whose weights were kept, which a vertical line marks; None: the last one.
    """
    metrics = dict.fromkeys(
        name.removeprefix("train_").removeprefix("valid_")
        for name in table
        if name not in ("epoch", "seconds") and (name != "lr" or len(set(table[name])) > 1)
    )
    figure, panels = create_panel_grid(len(metrics), 5.5, 3.9)
    for axes, metric in zip(panels, metrics, strict=True):
        _draw_metric(axes, table, metric, test.get(f"test_{metric}"))
        ends = [y for line in axes.lines for y in np.asarray(line.get_ydata())[-1:]]
        if metric in limits and limits[metric][0] <= min(ends) <= max(ends) <= limits[metric][1]:
            axes.set_ylim(limits[metric])
        if kept is not None:
            axes.axvline(kept, linestyle=":", color="grey", label=f"kept (epoch {kept})")
            axes.legend()
    add_figure_title(figure, title)
    return figure


def _draw_metric(axes: Axes, table: Table, metric: str, test: float | None) -> None:
    """Draw one metric of training and validation by epoch into a panel."""
    if metric in table:
        points = _known_points(table["epoch"], table[metric])
        axes.plot(*points, marker="o", markersize=3, label=metric)
    splits = [split for split in SPLITS if f"{split}_{metric}" in table]
    draw_splits(axes, table["epoch"], table, metric, splits)
    if test is not None:
        label = f"test ({test:.{3 if abs(test) < 1000 else 0}f})"
        axes.axhline(test, linestyle="--", color=COLOURS["test"], label=label)
    _label_axes(axes, "epoch", metric)
    axes.set_xlim(min(table["epoch"]) - 0.5, max(table["epoch"]) + 0.5)
    axes.legend()


def draw_splits(
    axes: Axes, x: Sequence[float], table: Table, metric: str, splits: Iterable[str]
) -> None:
    """Draw one metric of the training, validation or test data as curves with markers."""
    for split in splits:
        known, y = _known_points(x, table[f"{split}_{metric}"])
        color, label = COLOURS[split], NAMES[split]
        axes.plot(known, y, marker="o", markersize=3, color=color, label=label)


def _known_points(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """Return a curve's points without those whose y is NaN, such as epochs without validation."""
    points = [(a, b) for a, b in zip(x, y, strict=True) if not math.isnan(b)]
    return [a for a, _ in points], [b for _, b in points]


@matplotlib_defaults()
def draw_lasso_path(
    table: Table, rows: int, chosen: int, baseline: tuple[str, Table, float] | None, *, title: str
) -> Figure:
    """Plot the accuracy along the lasso path, and beside it the accuracy by epoch of another run.

    Args:
        table: metrics.csv of the lasso.
        rows: number of training rows, the n in the label of the first panel's axis.
        chosen: index of the lambda with the best validation accuracy.
        baseline: name, metrics.csv and test accuracy of the run in the second panel, which is
            empty if None.
        title: the figure's title.
    """
    figure, (left, right) = create_panel_grid(2, 5.5, 4.3, share_y=True)
    x = [-math.log(value / rows) for value in table["lambda"]]
    draw_splits(left, x, table, "accuracy", NAMES)
    left.axvline(x[chosen], linestyle=":", color="grey", label="chosen by validation")
    left.set(xlabel=r"$-\log(\lambda / n)$", ylabel="accuracy")
    left.set_title("lasso", fontsize=11)
    left.grid(alpha=0.3)
    left.legend()
    if baseline is None:
        right.set_title("no run to compare with (compare_with)", fontsize=11)
        right.axis("off")
    else:
        name, epochs, test_accuracy = baseline
        right.set_title(escape_figure_text(name, 60), fontsize=11)
        _draw_metric(right, epochs, "accuracy", test_accuracy)
        right.tick_params(labelleft=True)
    add_figure_title(figure, title)
    return figure


@matplotlib_defaults()
def draw_true_and_predicted(
    targets: Values, predicted: Values, target: str, *, title: str
) -> Figure:
    """Draw the prediction of each test row against its true value, and the line of equality."""
    figure, (axes,) = create_panel_grid(1, 5.5, 4.9)
    axes.plot(targets, predicted, "o", markersize=3, color=COLOURS["train"])
    axes.axline((float(targets.mean()), float(targets.mean())), slope=1, color="grey", linewidth=1)
    name = escape_figure_text(target, 40)
    axes.set(xlabel=f"true {name}", ylabel=f"predicted {name}")
    axes.grid(alpha=0.3)
    add_figure_title(figure, title)
    return figure


@matplotlib_defaults()
def draw_series(
    targets: Values, predicted: Values, target: str, note: str, *, title: str
) -> Figure:
    """Draw the true and the predicted values of a series of test rows; `note` is above them."""
    figure, (axes,) = create_panel_grid(1, 11, 4)
    axes.plot(targets, color=COLOURS["test"], alpha=0.6, linewidth=0.6, label="true")
    axes.plot(predicted, color=COLOURS["valid"], alpha=0.8, linewidth=0.6, label="predicted")
    axes.set(xlabel="day of the test period", ylabel=escape_figure_text(target, 40))
    axes.set_title(note, fontsize=11)
    axes.margins(x=0.01)
    axes.grid(alpha=0.3)
    axes.legend()
    add_figure_title(figure, title)
    return figure


@matplotlib_defaults()
def draw_penalty_path(
    table: Table, coefficients: Values, names: Sequence[str], chosen: int, *, title: str
) -> Figure:
    """Draw the errors and the standardised coefficients (penalties, columns) by penalty.

    table: metrics.csv with the columns `alpha` and `<split>_mae`. chosen: the index of the penalty.
    """
    figure, (left, right) = create_panel_grid(2, 5.5, 4.3)
    x = [-math.log(alpha) for alpha in table["alpha"]]
    draw_splits(left, x, table, "mae", NAMES)
    left.set(ylabel="mean absolute error")
    order = np.argsort(-np.abs(coefficients[chosen]))
    for place, column in enumerate(order.tolist()):
        label = escape_figure_text(names[column], 20) if place < LABELLED else None
        colour = f"C{place}" if label else "lightgrey"
        right.plot(x, coefficients[:, column], label=label, color=colour, linewidth=1)
    right.set(ylabel="standardised coefficient")
    label = rf"chosen: $\alpha$ = {table['alpha'][chosen]:.4g}"
    for axes in (left, right):
        axes.axvline(x[chosen], linestyle=":", color="grey", label=label)
        axes.set(xlabel=r"$-\log(\alpha)$")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    add_figure_title(figure, title)
    return figure


@matplotlib_defaults()
def draw_contact_sheet(
    thumbnails: Sequence[tuple[str, NDArray[np.uint8]]],
    predictions: Mapping[str, Labels],
    *,
    title: str,
) -> Figure:
    """Draw photographs with their labels on bars, whose length shows the probability.

    Args:
        thumbnails: name and RGB array (height, width, 3) of each photograph.
        predictions: the labels of each photograph, by name.
        title: the figure's title.
    """
    columns = max(1, min(CARDS_PER_ROW, len(thumbnails)))
    rows = max(1, math.ceil(len(thumbnails) / columns))
    lines = LABEL_HEIGHT * max(len(labels) for labels in predictions.values())
    card = NAME_HEIGHT + PHOTOGRAPH_HEIGHT + GAP + lines + 2 * GAP
    width, height = CARD_WIDTH * columns, card * rows + 2 * GAP
    figure = Figure(figsize=(width, height))
    add_figure_title(figure, title)
    whole = figure.get_figheight()  # includes the lines of the title
    figure.texts[0].set_y(1 - GAP / whole)
    axes = figure.add_axes((0, 0, 1, height / whole))
    for place, (file, pixels) in enumerate(thumbnails):
        row, column = divmod(place, columns)
        left, top = CARD_WIDTH * column, card * row + GAP
        size = (CARD_WIDTH - GAP, card - GAP)
        axes.add_patch(Rectangle((left + GAP / 2, top), *size, color=CARD_COLOUR, zorder=-1))
        _draw_card(axes, left + GAP, top, Path(file).name, pixels, predictions[file])
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.axis("off")
    return figure


def _draw_card(
    axes: Axes, left: float, top: float, name: str, pixels: NDArray[np.uint8], labels: Labels
) -> None:
    """Draw a photograph with its name above and its labels below."""
    width = CARD_WIDTH - 2 * GAP
    bottom, middle = top + NAME_HEIGHT + PHOTOGRAPH_HEIGHT, left + width / 2
    scale = min(width / pixels.shape[1], PHOTOGRAPH_HEIGHT / pixels.shape[0])
    half, tall = scale * pixels.shape[1] / 2, scale * pixels.shape[0]
    # The labels follow directly below the photograph.
    axes.imshow(pixels, extent=(middle - half, middle + half, bottom, bottom - tall), aspect="auto")
    above = bottom - tall - GAP / 2
    axes.text(middle, above, escape_figure_text(name, 40), va="bottom", ha="center", fontsize=10)
    for place, (label, probability) in enumerate(labels):
        top = bottom + GAP + LABEL_HEIGHT * place
        axes.add_patch(
            Rectangle((left, top), probability * width, 0.9 * LABEL_HEIGHT, color=BAR_COLOUR)
        )
        y, right = top + 0.45 * LABEL_HEIGHT, left + width - 0.04
        axes.text(left + 0.04, y, escape_figure_text(label, 44), va="center", fontsize=9)
        axes.text(right, y, f"{probability:.3f}", va="center", ha="right", fontsize=9)


def _label_axes(axes: Axes, steps: str, metric: str) -> None:
    """Label the axes of a panel; an axis of penalties is logarithmic, others have whole numbers."""
    axes.set(xlabel=escape_figure_text(steps, 40), ylabel=escape_figure_text(metric, 40))
    axes.grid(alpha=0.3)
    if steps == "lambda":
        axes.set_xscale("log")
        axes.invert_xaxis()
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
