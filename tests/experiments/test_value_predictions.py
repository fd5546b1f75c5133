"""The values that a regression predicts for a test set: their table, residuals and measures."""

import csv
import io

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, r2_score

from dlrun.experiments.predictions import TrueAndPredictedValues


def of(targets: list[float], predicted: list[float]) -> TrueAndPredictedValues:
    return TrueAndPredictedValues(np.array(targets), np.array(predicted))


def test_metrics_are_scikit_learns() -> None:
    targets, errors = np.random.default_rng(0).normal(500, 400, (2, 88))
    found = TrueAndPredictedValues(targets, targets + errors)
    assert found.mae == pytest.approx(mean_absolute_error(targets, found.predicted))
    assert found.r2 == pytest.approx(r2_score(targets, found.predicted))
    assert found.metrics == {"mae": found.mae, "r2": found.r2}
    assert (found.classes, len(found)) == (None, 88)
    assert (of([2, 2], [2, 2]).r2, of([2, 2], [2, 3]).r2) == (1, 0)  # no variance to explain


def test_the_table_has_the_digits_that_identify_a_number() -> None:
    single = np.array([0.3, 1e-7], np.float32).astype(float).tolist()
    header, *rows = csv.reader(io.StringIO(of([475, 91.5], single).table().decode()))
    assert header == ["row", "target", "predicted"]
    assert rows == [["0", "475", "0.3"], ["1", "91.5", "1e-07"]]
    double = [1 / 3, 2 / 3]
    _, *rows = csv.reader(io.StringIO(of([0, 1], double).table().decode()))
    assert [float(row[2]) for row in rows] == double


def test_the_largest_residuals_come_first() -> None:
    predicted = [float(row % 25) for row in range(50)]
    worst = of([0.0] * 50, predicted).mistakes(lambda row: {"text": f"row {row}"})
    assert worst[0] == {"row": 24, "target": 0, "predicted": 24, "text": "row 24"}
    assert [one["row"] for one in worst[:4]] == [24, 49, 23, 48]
    assert len(worst) == 20
