import pandas as pd
import pytest

from dlrun.plots.curves import learning_curves
from tests.plots.drawn import EPOCHS, is_drawn


def test_learning_curves() -> None:
    test = {"test_loss": 0.55, "test_accuracy": 0.72}
    figure = learning_curves(EPOCHS, test, title="generated $data", axis_from={"accuracy": 0.5})
    assert is_drawn(figure)
    loss, accuracy = figure.axes
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("loss", "accuracy")
    assert loss.get_ylim()[0] == 0
    assert accuracy.get_ylim() == pytest.approx((0.5, 1.01))
    assert [line.get_label() for line in accuracy.lines] == [
        "training",
        "validation",
        "test (0.720)",
    ]
    assert list(accuracy.lines[1].get_ydata()) == [0.6, 0.7]


def test_a_panel_for_each_metric_of_any_experiment() -> None:
    table = EPOCHS.rename(columns={"train_accuracy": "train_mae", "valid_accuracy": "valid_mae"})
    table = table.assign(train_r2=[0.1, 0.2], valid_r2=[0.0, 0.1])
    figure = learning_curves(table, {}, title="", axis_from={"r2": -1})
    assert is_drawn(figure)
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "mae", "r2"]
    assert [axes.get_ylim()[0] for axes in figure.axes] == [0, 0, -1]


def test_one_epoch_and_no_test_yet() -> None:
    figure = learning_curves(EPOCHS[:1], {"test_loss": None}, title="x", axis_from={})
    assert is_drawn(figure)
    assert all(len(axes.lines) == 2 for axes in figure.axes)


def test_the_table_is_left_as_it_was() -> None:
    before = EPOCHS.copy()
    learning_curves(EPOCHS, {}, title="x", axis_from={})
    pd.testing.assert_frame_equal(before, EPOCHS)
