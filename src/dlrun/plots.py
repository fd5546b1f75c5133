"""Files in, PNG out: everything that a figure shows is read from a run's folder."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dlrun.run_folder import read_results

COLOURS = {"train": "#1f77b4", "valid": "#ff7f0e", "test": "#2c2c2c"}
NAMES = {"train": "training", "valid": "validation", "test": "test"}
DPI = 120


def learning_curves(
    metrics_csv: Path,
    test: Mapping[str, float],
    path: Path,
    *,
    title: str,
    accuracy_from: float = 0,
) -> None:
    """Loss and accuracy by epoch, the test's as a dashed line, as in the lab."""
    table = pd.read_csv(metrics_csv)
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    _curves(loss, table, "loss", test["test_loss"])
    _curves(accuracy, table, "accuracy", test["test_accuracy"])
    loss.set_ylim(bottom=0)
    accuracy.set_ylim(accuracy_from, 1.01)
    figure.suptitle(title, fontsize=11)
    _save(figure, path)


def _curves(axes: Axes, table: pd.DataFrame, metric: str, test: float | None) -> None:
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
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(min(table["epoch"]) - 0.5, max(table["epoch"]) + 0.5)
    axes.margins(y=0.1)
    axes.grid(alpha=0.3)
    axes.legend()


def lasso_path(
    metrics_csv: Path, rows: int, chosen: int, dense_run: Path | None, path: Path, *, title: str
) -> None:
    """The lab's two panels: accuracy along the path, and the dense network's by epoch.

    Args:
        metrics_csv: of the lasso.
        rows: of the training data, the n in the first panel's axis.
        chosen: index of the lambda that the validation chose.
        dense_run: the folder of the run in the second panel; None leaves it empty.
        path: of the PNG.
        title: of the figure.
    """
    table = pd.read_csv(metrics_csv)
    figure = Figure(figsize=(11, 4.6), layout="constrained")
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
    name = f" ({_plain(dense_run.name, 40)})" if dense_run else ""
    right.set_title(f"dense network{name}", fontsize=11)
    if dense_run is None:
        right.text(
            0.5,
            0.5,
            "no finished imdb-dense run to compare with\n(run `dlrun imdb-dense` first)",
            ha="center",
            va="center",
            transform=right.transAxes,
        )
        right.set_xticks([])
    else:
        metrics = read_results(dense_run)["metrics"]
        _curves(right, pd.read_csv(dense_run / "metrics.csv"), "accuracy", metrics["test_accuracy"])
        right.tick_params(labelleft=True)
    figure.suptitle(title, fontsize=11)
    _save(figure, path)


def contact_sheet(
    thumbnails: Sequence[tuple[str, Any]],
    predictions: Mapping[str, Sequence[tuple[str, float]]],
    path: Path,
    *,
    title: str,
) -> None:
    """Each photograph with its labels and their probabilities as bars.

    Args:
        thumbnails: name and RGB array (height, width, 3) of each photograph.
        predictions: for each name its labels and probabilities, the most probable first.
        path: of the PNG.
        title: of the figure.
    """
    columns = min(3, len(thumbnails))
    rows = math.ceil(len(thumbnails) / columns)
    top = max(len(labels) for labels in predictions.values())
    height = 2.6 + 0.28 * top
    figure = Figure(figsize=(4.4 * columns, height * rows + 0.5), layout="constrained")
    grid = figure.add_gridspec(2 * rows, columns, height_ratios=[2.6, 0.28 * top + 0.2] * rows)
    for index, (name, pixels) in enumerate(thumbnails):
        row, column = divmod(index, columns)
        photograph = figure.add_subplot(grid[2 * row, column])
        photograph.imshow(pixels)
        photograph.set_title(_plain(Path(name).name, 40), fontsize=10)
        photograph.axis("off")
        bars = figure.add_subplot(grid[2 * row + 1, column])
        labels, probabilities = zip(*predictions[name], strict=True)
        bars.barh(range(len(labels)), probabilities, color=COLOURS["train"])
        bars.set_yticks(range(len(labels)), [_plain(label, 22) for label in labels], fontsize=9)
        for place, probability in enumerate(probabilities):
            bars.text(probability + 0.01, place, f"{probability:.3f}", va="center", fontsize=8)
        bars.invert_yaxis()
        bars.set_xlim(0, 1.12)
        bars.set_xticks([])
        bars.spines[["top", "right", "bottom"]].set_visible(False)
    figure.suptitle(title, fontsize=11)
    _save(figure, path)


def epoch_times(
    devices: Sequence[str], seconds: Sequence[float], path: Path, *, title: str
) -> None:
    """Seconds per epoch on each device as bars."""
    figure = Figure(figsize=(6, 0.9 + 0.6 * len(devices)), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(list(devices), list(seconds), color=COLOURS["train"])
    axes.bar_label(bars, [f" {value:.2f} s" for value in seconds])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.2 * max(seconds))
    axes.set_xlabel("seconds per epoch")
    axes.set_title(title, fontsize=11)
    _save(figure, path)


def _plain(text: str, length: int) -> str:
    """Short, printable, and without matplotlib's formula signs."""
    text = "".join(char if char.isprintable() else "?" for char in text).replace("$", r"\$")
    return text if len(text) <= length else text[: length - 1] + "…"


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=DPI, format="png")
