"""Learning curves, as in the lab's figures of section 10.9."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from dlrun.plots.style import COLOURS, NAMES, Figure, styled

Table = Mapping[str, Sequence[float]]  # a CSV file's columns by their names


@styled
def learning_curves(
    table: Table,
    test: Mapping[str, float | None],
    *,
    title: str,
    axis_from: Mapping[str, float],
) -> Figure:
    """A panel for the loss and each metric by epoch; the test's as a dashed line.

    Args:
        table: metrics.csv: columns `epoch`, `train_<metric>`, `valid_<metric>`.
        test: the values `test_<metric>`.
        title: of the figure.
        axis_from: where a metric's axis begins, else at 0 unless there are values below; an
            accuracy's ends at 1.
    """
    metrics = [name.removeprefix("train_") for name in table if name.startswith("train_")]
    figure = Figure(figsize=(5.5 * len(metrics), 4.2), layout="constrained")
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        curves(axes, table, metric, test.get(f"test_{metric}"))
        if metric == "accuracy":
            axes.set_ylim(axis_from.get(metric, 0), 1.01)
        elif metric in axis_from or axes.get_ylim()[0] > 0:
            bottom, top = axis_from.get(metric, 0), axes.get_ylim()[1]
            axes.set_ylim(bottom, top + 0.05 * (top - bottom))
    figure.suptitle(title, fontsize=11)
    return figure


def curves(axes: Axes, table: Table, metric: str, test: float | None) -> None:
    """One metric by epoch, of training and validation."""
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
    axes.set_xlabel("epoch")
    axes.set_ylabel(metric)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(min(table["epoch"]) - 0.5, max(table["epoch"]) + 0.5)
    axes.margins(y=0.1)
    axes.grid(alpha=0.3)
    axes.legend()
