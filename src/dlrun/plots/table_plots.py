"""Plot the fits of tables: true and predicted values, a series with its prediction, lasso paths."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dlrun.plots.run import Table, draw_splits
from dlrun.plots.style import (
    COLOURS,
    NAMES,
    Figure,
    add_figure_title,
    create_panel_grid,
    escape_figure_text,
    matplotlib_defaults,
)

Values = NDArray[np.float64]
LABELLED = 8  # coefficients of a path that are named


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
