"""The lab's figure of the lasso (ISLP 10.9.5)."""

import math
from dataclasses import dataclass

from dlrun.plots.curves import Table, draw_metric
from dlrun.plots.style import COLOURS, NAMES, Figure, add_title, plain, styled


@dataclass(frozen=True)
class BaselineCurve:
    """A run to compare with: its name, its metrics.csv, its test accuracy."""

    name: str
    table: Table
    test_accuracy: float


@styled
def lasso_path(
    table: Table, rows: int, chosen: int, compared: BaselineCurve | None, *, title: str
) -> Figure:
    """Draw the accuracy along the path, and beside it another run's by epoch.

    Args:
        table: metrics.csv of the lasso.
        rows: of the training data, the n in the first panel's axis.
        chosen: index of the lambda that validation chose.
        compared: the run in the second panel; None leaves that empty.
        title: of the figure.
    """
    figure = Figure(figsize=(11, 4.3), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    x = [-math.log(value / rows) for value in table["lambda"]]
    for part, name in NAMES.items():
        values = table[f"{part}_accuracy"]
        left.plot(x, values, marker="o", markersize=3, color=COLOURS[part], label=name)
    left.axvline(x[chosen], linestyle=":", color="grey", label="chosen by validation")
    left.set(xlabel=r"$-\log(\lambda / n)$", ylabel="accuracy")
    left.set_title("lasso", fontsize=11)
    left.grid(alpha=0.3)
    left.legend()
    if compared is None:
        right.set_title("no run to compare with (compare_with)", fontsize=11)
        right.axis("off")
    else:
        right.set_title(plain(compared.name, 60), fontsize=11)
        draw_metric(right, compared.table, "accuracy", compared.test_accuracy)
        right.tick_params(labelleft=True)
    add_title(figure, title)
    return figure
