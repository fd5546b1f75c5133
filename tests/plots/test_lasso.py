"""The figure of the lasso's path."""

import math

import pandas as pd
import pytest

from dlrun.plots.curves import BaselineCurve, lasso_path
from tests.plots.figures import EPOCHS, is_drawn

PATH = pd.DataFrame(
    {
        "lambda": [9, 3],
        "train_accuracy": [0.5, 0.8],
        "valid_accuracy": [0.5, 0.7],
        "test_accuracy": [0.5, 0.7],
    }
)


@pytest.mark.parametrize("name", [None, "20260101T000000Z-$\n\x1b[0m" + "x" * 200])
def test_lasso_path(name: str | None) -> None:
    compared = None if name is None else BaselineCurve(name, EPOCHS, 0.7)
    figure = lasso_path(PATH, 100, 1, compared, title="x")
    assert is_drawn(figure)
    left, right = figure.axes
    train, valid, test, chosen = left.lines
    assert list(train.get_xdata()) == [-math.log(0.09), -math.log(0.03)]
    assert list(chosen.get_xdata()) == [-math.log(0.03)] * 2
    assert [list(line.get_ydata()) for line in (train, valid, test)] == [
        [0.5, 0.8],
        [0.5, 0.7],
        [0.5, 0.7],
    ]
    assert len(right.lines) == (3 if compared else 0)
    assert ("no run to compare with" in right.get_title()) == (compared is None)
