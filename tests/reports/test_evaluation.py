"""Confusion and recall, against scikit-learn's; the comparison of two runs row by row."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from dlrun.errors import ConfigError, DataError
from dlrun.experiments.predictions import (
    PredictedClasses,
    PredictedValues,
    parse_predictions,
    to_plain_csv,
)
from dlrun.metrics import describe_metric
from dlrun.pairs import compare_pairs
from dlrun.reports.evaluation import DOTS, compare_test_rows, evaluate_classes, evaluate_values
from dlrun.reports.run_data import RunSection
from tests.conftest import Dlrun
from tests.reports.example_runs import a_classification, a_regression, predictions
from tests.run_folder.making import a_run


def test_classes_are_counted_in_a_matrix_as_scikit_learn_does() -> None:
    rows = predictions(["bad", "good"], 500, seed=1)
    found = evaluate_classes(parsed(rows, ["never", "bad", "good"]))
    label, predicted = [row[1] for row in rows], [row[2] for row in rows]
    assert found.classes == ["bad", "good"]
    assert found.matrix == confusion_matrix(label, predicted, labels=found.classes).tolist()
    assert found.correct == sum(map(str.__eq__, label, predicted))
    alone = evaluate_classes(parsed([[0, "a", "a", 1.0]], ["a", "b"]))
    assert (alone.matrix, alone.pairs) == ([[1]], [])


def test_many_classes_have_no_matrix_but_their_commonest_mistakes() -> None:
    labels = [f"class {n}" for n in range(100)]
    rows = predictions(labels, 3000, seed=3)
    found = evaluate_classes(parsed(rows, labels))
    assert found.matrix is None
    label, predicted, times = found.pairs[0]
    assert times == sum(row[1:3] == [label, predicted] for row in rows)


def parsed(rows: list[list[Any]], names: list[str]) -> PredictedClasses:
    table = to_plain_csv([["row", "label", "predicted", "probability"], *rows])
    found = parse_predictions(table, names)
    assert isinstance(found, PredictedClasses)
    return found


def test_values_are_drawn_by_the_true_ones_on_two_linear_axes() -> None:
    targets = np.array([1.0, 2000.5, 30.0])  # as penalties they would have a logarithmic axis
    found = evaluate_values(PredictedValues(targets, targets + [10, -20, 300]))
    assert (found.median, found.bias) == (20, pytest.approx(290 / 3))
    assert found.chart.dots == [(1, 11), (2000.5, 1980.5), (30, 330)]
    assert not found.chart.x.logarithmic
    (right,) = found.chart.lines
    assert (right.x, right.y) == ([1, 2000.5], [1, 2000.5])
    assert len(found.chart.dot_places) == 3


@pytest.mark.parametrize("rows", [DOTS, DOTS + 1, 2 * DOTS, 100_000])
def test_of_many_values_a_share_is_drawn(rows: int) -> None:
    values = np.arange(rows, dtype=float)
    dots = evaluate_values(PredictedValues(values, values)).chart.dots
    assert DOTS / 2 <= len(dots) <= DOTS


def test_classes_of_the_same_rows_are_compared_in_pairs() -> None:
    baseline = [True] * 10 + [False] * 10
    values = [False] * 2 + [True] * 18
    found = compare_pairs(describe_metric("test_accuracy", {}), "test row", values, baseline)
    assert (found.other_mean, found.mean, found.count) == (0.5, 0.9, 20)
    assert found.difference == pytest.approx(0.4)
    low, high = found.interval_of_mean or (0, 0)
    assert 0 < low < 0.4 < high and found.verdict == "better"
    same = compare_pairs(describe_metric("test_accuracy", {}), "test row", values, values)
    assert same.verdict == "no clear difference"


def test_of_values_the_absolute_errors_differ(tmp_path: Path) -> None:
    head, targets = "row,target,predicted\n", [1.0, 2.0, 3.0, 4.0]

    def run(name: str, *pairs: tuple[float, float]) -> Any:
        rows = (f"{n},{one},{one + error}\n" for n, (one, error) in enumerate(pairs))
        return a_regression(tmp_path / "e" / name, head + "".join(rows))

    base = run("base", *zip(targets, (1, -1, 1, -1), strict=True))
    near = run("near", *zip(targets, (0.5, -0.25, 0.25, 0.5), strict=True))
    found = compare_test_rows(near, base)
    assert (found.metric.name, found.other_mean, found.mean) == ("test_mae", 1, 0.375)
    assert found.interval_of_mean == pytest.approx((-0.854673, -0.395327), abs=1e-6)
    assert found.verdict == "too few test rows to say (4 of 5)"
    rounded = compare_test_rows(run("rounded", *((one + 1e-6, 1) for one in targets)), base)
    assert rounded.difference == pytest.approx(0, abs=1e-5)
    with pytest.raises(ConfigError, match="different test rows"):
        compare_test_rows(run("other", *((one + 1, 1) for one in targets)), base)


def test_runs_compare_shows_the_difference_of_two(forked: Dlrun, tmp_path: Path) -> None:
    runs, names = tmp_path / "runs" / "e", ("no", "yes")
    for name, wrong, data in (("a", 30, "made"), ("b", 10, "made"), ("c", 10, "other")):
        table = [[n, names[n % 2], names[(n + (n < wrong)) % 2], 0.9] for n in range(100)]
        a_classification(runs / name, labels=names, table=table, data=data)
    a_run(runs / "d", data="made", metrics={"test_accuracy": 0.5})
    lines = forked("runs", "compare", "a", "b").is_told(0).stdout.splitlines()
    assert "b: test_accuracy 0.9000 over 100 test rows, 0.7000 by a, " in lines[-1]
    assert "these two runs only" in lines[-1]
    for other, why in (("c", "not on the same data"), ("d", "no predictions of a test set")):
        assert "two runs only" not in forked("runs", "compare", "a", other).is_told(0, why).stdout


@pytest.mark.parametrize("value", ["three", "1e308", "nan"])
def test_a_table_that_no_run_wrote_is_damaged(tmp_path: Path, value: str) -> None:
    head = "row,target,predicted\n"
    base = a_regression(tmp_path / "e" / "base", f"{head}1,2,3\n2,2,3\n")
    run = a_regression(tmp_path / "e" / "r", f"{head}1,2,{value}\n2,2,-1e308\n")
    with pytest.raises(DataError, match="predictions.csv: not what a run writes"):
        compare_test_rows(run, base)
    section = RunSection(1, run, 1_000)
    assert section.evaluation is None and "predictions.csv" in section.problems[-1]
