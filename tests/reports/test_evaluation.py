"""Confusion and recall, against scikit-learn's."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from dlrun.reports.evaluation import evaluate_classes, evaluate_values
from dlrun.reports.run_section import RunSection
from dlrun.runs.csv_tables import to_plain_csv
from dlrun.runs.predictions_csv import PredictedClasses, PredictedValues, parse_predictions
from tests.reports.example_runs import a_regression, predictions


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


def test_values_have_a_median_error_and_a_bias() -> None:
    targets = np.array([1.0, 2000.5, 30.0])
    found = evaluate_values(PredictedValues(targets, targets + [10, -20, 300]))
    assert (found.median, found.bias) == (20, pytest.approx(290 / 3))


@pytest.mark.parametrize("value", ["three", "1e308", "nan"])
def test_a_table_that_no_run_wrote_is_damaged(tmp_path: Path, value: str) -> None:
    head = "row,target,predicted\n"
    run = a_regression(tmp_path / "e" / "r", f"{head}1,2,{value}\n2,2,-1e308\n")
    section = RunSection(1, run, 1_000)
    assert section.evaluation is None and "predictions.csv" in section.problems[-1]
