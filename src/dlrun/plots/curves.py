"""Learning curves, as in the lab's figures of section 10.9."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from dlrun.plots.style import COLOURS, NAMES, Figure, name, plain, styled

Table = Mapping[str, Sequence[float]]  # a CSV file's columns by their names


@styled
def learning_curves(table: Table, test: Mapping[str, float | None], *, title: str) -> Figure:
    """A panel for the loss and each metric by epoch; the test's as a dashed line.

    Every axis shows what there is and no more, whatever the metric: a chance level, or zero, would
    leave most of a panel empty for one experiment and cut off what lies below it for another.

    Args:
        table: metrics.csv: columns `epoch`, `train_<metric>`, `valid_<metric>`.
        test: the values `test_<metric>`.
        title: of the figure.
    """
    metrics = [name.removeprefix("train_") for name in table if name.startswith("train_")]
    figure = Figure(figsize=(5.5 * len(metrics), 3.9), layout="constrained")
    panels = figure.subplots(1, len(metrics), squeeze=False)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        curves(axes, table, metric, test.get(f"test_{metric}"))
    name(figure, title)
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
    axes.set_ylabel(plain(metric, 40))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(min(table["epoch"]) - 0.5, max(table["epoch"]) + 0.5)
    axes.grid(alpha=0.3)
    axes.legend()
