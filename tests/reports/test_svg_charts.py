"""The report's charts: which curves there are, and where everything stands."""

import math

import pytest

from dlrun.reports.svg_charts import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    Chart,
    ChartCurve,
    charts_of_run,
    curve_without_gaps,
    thin_out_table,
)
from dlrun.runs.record import RunRecord


def chart(*lines: ChartCurve) -> Chart:
    return Chart("", "x", "y", lines)


def line(x: list[float], y: list[float]) -> ChartCurve:
    return ChartCurve("", x, y, "run1")


def test_a_path_of_lambdas_is_logarithmic_and_descends() -> None:
    found = chart(line([1336.0, 40.0, 1.0, 0.13], [0.5, 0.7, 0.9, 0.8]))
    assert found.x.logarithmic
    assert (found.x.at(1336.0), found.x.at(0.13)) == (LEFT, RIGHT)
    assert found.x.at(math.sqrt(1336.0 * 0.13)) == pytest.approx((LEFT + RIGHT) / 2, abs=0.1)
    assert [text for _, text in found.x.ticks] == ["1", "10", "100", "1000"]


@pytest.mark.parametrize(
    "values", [(0.0, 1.0), (5.0, 5.0), (0.0, 0.0), (2.4e10, 4e10), (2.4e6, 4e6)]
)
def test_every_value_lies_within_the_panel(values: tuple[float, float]) -> None:
    axis = chart(line([1, 2], [*values])).y
    assert all(TOP <= axis.at(value) <= BOTTOM for value in values)
    labels = [text for _, text in axis.ticks]
    assert 1 <= len({*labels}) == len(labels) <= 8 and max(map(len, labels)) <= 6


@pytest.mark.parametrize("far", [math.inf, -1.797e308, 10**200])
def test_a_value_that_is_no_number_or_beyond_all_measure_is_left_out(far: float) -> None:
    found = curve_without_gaps("", [1, 2, 3, 4, 5], [math.nan, 0.1, 0.2, far, 0.3], "run1")
    assert (found.x, found.y) == ([2, 3, 5], [0.1, 0.2, 0.3])
    assert not curve_without_gaps("", [1, far], [far, 0.2], "run1").x


def record(**values: float) -> RunRecord:
    return RunRecord(experiment="e", status="finished", metrics=values)


def test_a_long_table_is_thinned_evenly() -> None:
    table = {"epoch": list(range(1, 1001)), "train_loss": [1 / n for n in range(1, 1001)]}
    found = thin_out_table(table, 200)
    assert (found["epoch"][0], found["epoch"][-1]) == (1, 1000)
    assert len(found["epoch"]) == len(found["train_loss"]) <= 102
    for short in ({"epoch": [1, 2, 3]}, {"epoch": [], "train_loss": []}):
        assert thin_out_table(short, 2_000) == short


def test_a_regression_has_a_chart_for_each_of_its_metrics() -> None:
    names = ["train_mae", "valid_mae", "train_r2", "valid_r2"]
    table = {"epoch": [1, 2], **{name: [0.1, 0.2] for name in names}, "seconds": [1, 1]}
    mae, r2 = charts_of_run(table, record(test_mae=0.15, train_mae=0.2))
    assert [line.name for line in mae.lines] == ["training", "validation"]
    assert [level.value for level in mae.levels] == [0.15]
    assert (r2.title, list(r2.levels)) == ("r2", [])
    assert mae.mark is None
    kept = record(test_mae=0.15).model_copy(update={"weights_epoch": 1, "steps": 2})
    assert [chart.mark and chart.mark.value for chart in charts_of_run(table, kept)] == [1, 1]


def test_a_path_has_its_chosen_step_and_what_else_it_found() -> None:
    accuracies, times = [0.5, 0.9, 0.8], {key: [1, 1, 1] for key in ("seconds", "duality_gap")}
    table = {"lambda": [100.0, 14.9739159, 0.1], "test_accuracy": accuracies} | times
    chosen = {"lambda": 14.97391594194962, "nonzero": 5, "test_accuracy": 0.8}
    found = charts_of_run(table | {"nonzero": [0, 5, 50]}, record(**chosen))
    assert [chart.title for chart in found] == ["accuracy", "nonzero"]
    assert [chart.mark.value if chart.mark else None for chart in found] == [14.9739159] * 2
    assert list(found[0].levels) == []
    assert [chart.value_in_legend(chart.lines[0]) for chart in found] == [0.9, 5]


def test_what_cannot_be_drawn_has_no_chart() -> None:
    nothing: dict[str, list[float]] = {"epoch": [1, 2], "train_loss": [math.nan, math.nan]}
    for table in ({}, {"epoch": [], "train_loss": []}, {"fit": [1], "test_mae": [0.5]}, nothing):
        assert charts_of_run(table, record()) == []
