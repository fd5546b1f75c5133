"""The figure of a sweep."""

from typing import Any

import numpy as np
import pytest

from dlrun.plots.style import to_png
from dlrun.plots.sweep import RunPoint, sweep_figure


def dots(**axes: list[Any]) -> list[RunPoint]:
    (first, one), (second, other) = axes.items()
    return [
        RunPoint({first: a, second: b}, {"valid": 0.8 + n / 100, "test": 0.7 + n / 100})
        for n, (a, b) in enumerate((a, b) for a in one for b in other)
    ]


def test_a_panel_for_each_key_with_its_runs_means_and_sd() -> None:
    runs = dots(lr=[0.001, 0.01, 0.1], hidden=[[16, 16], [32]])
    figure = sweep_figure(
        runs, ["lr", "hidden"], "accuracy", chosen={"lr": 0.01}, book=0.85, title="a sweep $"
    )
    rates, sizes = figure.axes
    assert (rates.get_xscale(), sizes.get_xscale()) == ("log", "linear")
    assert [label.get_text() for label in sizes.get_xticklabels()] == ["[16, 16]", "[32]"]
    valid, test = rates.collections[0], rates.collections[2]
    for drawn, part in ((valid, "valid"), (test, "test")):
        expected = [[dot.settings["lr"], dot.metric[part]] for dot in runs]
        assert drawn.get_offsets().data == pytest.approx(np.array(expected))
    means = [list(line.get_ydata()) for line in rates.lines if len(line.get_xdata()) == 3]
    assert any(one == pytest.approx([0.805, 0.825, 0.845]) for one in means)
    assert rates.get_ylabel() == "accuracy"
    assert to_png(figure).startswith(b"\x89PNG")


def test_seeds_alone_and_odd_values() -> None:
    runs = [RunPoint({"seed": seed}, {"valid": 0.5}) for seed in range(3)]
    (axes,) = sweep_figure(runs, ["seed"], "loss", chosen={}, book=None, title="t").axes
    assert len(axes.collections[0].get_offsets()) == 3
    odd = [RunPoint({"x": value}, {"test": 1.0}) for value in (True, None, "a" * 99, 3)]
    (axes,) = sweep_figure(odd, ["x"], "mae", chosen={"x": None}, book=None, title="t").axes
    assert len(axes.get_xticklabels()) == 4
    assert max(len(label.get_text()) for label in axes.get_xticklabels()) == 14
