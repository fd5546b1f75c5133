"""The lab's figure of the lasso (ISLP 10.9.5)."""

import math
from dataclasses import dataclass

from dlrun.plots.curves import Table, curves
from dlrun.plots.style import COLOURS, NAMES, Figure, name, plain, styled


@dataclass(frozen=True)
class BaselineCurve:
    """Another run: its name, its metrics.csv, its test accuracy."""

    name: str
    table: Table
    test_accuracy: float


@styled
def lasso_path(
    table: Table, rows: int, chosen: int, compared: BaselineCurve | None, *, title: str
) -> Figure:
    """Two panels: accuracy along the path, and another run's by epoch.

    Args:
        table: metrics.csv of the lasso.
        rows: of the training data, the n in the first panel's axis.
        chosen: index of the lambda that the validation chose.
        compared: the run in the second panel; None leaves it empty.
        title: of the figure.
    """
    figure = Figure(figsize=(11, 4.3), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    x = [-math.log(value / rows) for value in table["lambda"]]
    for part in ("train", "valid", "test"):
        left.plot(
            x,
            table[f"{part}_accuracy"],
            marker="o",
            markersize=3,
            color=COLOURS[part],
            label=NAMES[part],
        )
    left.axvline(x[chosen], linestyle=":", color="grey", label="chosen by validation")
    left.set_xlabel(r"$-\log(\lambda / n)$")
    left.set_ylabel("accuracy")
    left.set_title("lasso", fontsize=11)
    left.grid(alpha=0.3)
    left.legend()
    if compared is None:
        right.set_title("no run to compare with (compare_with)", fontsize=11)
        right.axis("off")
    else:
        right.set_title(plain(compared.name, 60), fontsize=11)
        curves(right, compared.table, "accuracy", compared.test_accuracy)
        right.tick_params(labelleft=True)
    name(figure, title)
    return figure
