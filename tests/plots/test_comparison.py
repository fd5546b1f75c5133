"""Curves of several runs over each other."""

import pytest

from dlrun.plots.comparison import Curve, compared_curves
from dlrun.plots.style import to_png
from tests.plots.drawn import is_drawn


def test_a_panel_for_each_metric_and_kind_of_step() -> None:
    epochs = {"epoch": [1, 2], "train_loss": [2, 1], "valid_loss": [3, 2], "valid_accuracy": [0, 1]}
    short = {"epoch": [1], "train_loss": [2], "valid_loss": [3], "seconds": [1]}
    path = {"lambda": [10, 1], "test_accuracy": [0, 1], "nonzero": [1, 2]}
    curves = [Curve("a", epochs), Curve("$b$", short), Curve("c", path)]
    figure = compared_curves(curves)
    panels = [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes if axes.axison]
    assert panels == [("epoch", "loss"), ("epoch", "accuracy"), ("lambda", "accuracy")]
    assert [len(axes.lines) for axes in figure.axes] == [4, 1, 1]
    a, b = figure.axes[0].lines[0], figure.axes[0].lines[2]
    assert list(a.get_ydata()) == [2, 1] and a.get_color() != b.get_color()
    assert figure.axes[2].xaxis_inverted()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", r"\$b\$", "c"]
    assert is_drawn(figure)


def test_many_runs_and_many_metrics() -> None:
    names = [f"valid_{metric}" for metric in "abcde"]
    curves = [
        Curve(str(run), {"epoch": [1, 2], **{name: [run, 1] for name in names}})
        for run in range(25)
    ]
    figure = compared_curves(curves)
    assert sum(axes.axison for axes in figure.axes) == 5
    assert is_drawn(figure)


def test_whatever_the_columns_are_called(recwarn: pytest.WarningsRecorder) -> None:
    table = {"ep\x1boch": [1, 2], "train_\x1b[31m$x": [0.5, 0.4], "valid_\u4e16": [0.5, 0.4]}
    assert to_png(compared_curves([Curve("a", table), Curve("b\x1b", table)]))
    assert [str(one.message) for one in recwarn] == []
