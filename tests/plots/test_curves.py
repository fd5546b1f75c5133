"""The figures of learning curves, several runs' curves and devices."""

import numpy as np
import pandas as pd
import pytest

from dlrun.plots.curves import compared_curves, epoch_times, learning_curves
from dlrun.plots.style import to_png
from tests.plots.figures import EPOCHS, is_drawn


def test_learning_curves() -> None:
    test = {"test_loss": 0.55, "test_accuracy": 0.72}
    figure = learning_curves(EPOCHS, test, title="generated $data$")
    assert is_drawn(figure)
    loss, accuracy = figure.axes
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("loss", "accuracy")
    assert [line.get_label() for line in accuracy.lines] == [
        "training",
        "validation",
        "test (0.720)",
    ]
    assert list(accuracy.lines[1].get_ydata()) == [0.6, 0.7]


def test_a_panel_for_each_metric_of_any_experiment() -> None:
    table = EPOCHS.rename(columns={"train_accuracy": "train_mae", "valid_accuracy": "valid_mae"})
    table = table.assign(train_r2=[0.1, 0.2], valid_r2=[0.0, 0.1])
    figure = learning_curves(table, {}, title="")
    assert is_drawn(figure)
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "mae", "r2"]


def test_one_epoch_and_no_test_yet() -> None:
    figure = learning_curves(EPOCHS[:1], {"test_loss": None}, title="x")
    assert is_drawn(figure)
    assert all(len(axes.lines) == 2 for axes in figure.axes)


@pytest.mark.parametrize("accuracies", [(0.41, 0.52), (0.86, 0.99), (0.01, 0.4), (0.5, 0.5)])
def test_an_axis_shows_what_there_is_and_no_more(accuracies: tuple[float, float]) -> None:
    table = EPOCHS.assign(train_accuracy=accuracies, valid_accuracy=accuracies)
    _, axes = learning_curves(table, {"test_accuracy": accuracies[0]}, title="x").axes
    bottom, top = axes.get_ylim()
    assert bottom < accuracies[0] and accuracies[1] < top
    assert top - bottom == pytest.approx(1.1 * np.ptp(accuracies)) or np.ptp(accuracies) == 0


@pytest.mark.parametrize("epochs", [1, 2, 3, 7, 30, 100, 1234])
def test_ticks_are_epochs(epochs: int) -> None:
    table = {name: np.linspace(0.5, 0.9, epochs) for name in EPOCHS}
    table["epoch"] = np.arange(1, epochs + 1)
    for axes in learning_curves(table, {}, title="x").axes:
        low, high = axes.get_xlim()
        ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
        assert ticks and set(ticks) <= set(table["epoch"])


def test_the_table_is_left_as_it_was() -> None:
    before = EPOCHS.copy()
    learning_curves(EPOCHS, {}, title="x")
    pd.testing.assert_frame_equal(before, EPOCHS)


def test_a_panel_for_each_metric_and_kind_of_step() -> None:
    epochs = {"epoch": [1, 2], "train_loss": [2, 1], "valid_loss": [3, 2], "valid_accuracy": [0, 1]}
    short = {"epoch": [1], "train_loss": [2], "valid_loss": [3], "seconds": [1]}
    path = {"lambda": [10, 1], "test_accuracy": [0, 1], "nonzero": [1, 2]}
    panels = [("epoch", "loss"), ("epoch", "accuracy"), ("lambda", "accuracy")]
    figure = compared_curves({"a": epochs, "$b$": short, "c": path}, panels)
    assert panels == [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes if axes.axison]
    assert [len(axes.lines) for axes in figure.axes] == [4, 1, 1]
    a, b = figure.axes[0].lines[0], figure.axes[0].lines[2]
    assert list(a.get_ydata()) == [2, 1] and a.get_color() != b.get_color()
    assert figure.axes[2].xaxis_inverted()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", r"\$b\$", "c"]
    assert is_drawn(figure)


def test_many_runs_and_many_metrics() -> None:
    names = [f"valid_{metric}" for metric in "abcde"]
    tables = {str(n): {"epoch": [1, 2], **{name: [n, 1] for name in names}} for n in range(25)}
    figure = compared_curves(tables, [("epoch", metric) for metric in "abcde"])
    assert sum(axes.axison for axes in figure.axes) == 5
    assert is_drawn(figure)


def test_whatever_the_columns_are_called(recwarn: pytest.WarningsRecorder) -> None:
    table = {"ep\x1boch": [1, 2], "train_\x1b[31m$x": [0.5, 0.4], "valid_\u4e16": [0.5, 0.4]}
    panels = [(next(iter(table)), metric) for metric in ("\x1b[31m$x", "\u4e16")]
    assert to_png(compared_curves({"a": table, "b\x1b": table}, panels))
    assert [str(one.message) for one in recwarn] == []


def test_epoch_times() -> None:
    figure = epoch_times(["cpu", "cuda"], [3.0, 0.5], title="x")
    assert is_drawn(figure)
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == [" 3.00 s", " 0.50 s"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cpu", "cuda"]
