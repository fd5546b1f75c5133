"""The values that a regression predicts for a test set: their table, residuals and measures."""

import csv
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import mean_absolute_error, r2_score

from dlrun.errors import DataError
from dlrun.experiments.predictions import RowPredictor, TrueAndPredictedValues


def of(targets: list[float], predicted: list[float]) -> TrueAndPredictedValues:
    return TrueAndPredictedValues(np.array(targets), np.array(predicted))


def test_metrics_are_scikit_learns() -> None:
    targets, errors = np.random.default_rng(0).normal(500, 400, (2, 88))
    found = TrueAndPredictedValues(targets, targets + errors)
    assert found.mae == pytest.approx(mean_absolute_error(targets, found.predicted))
    assert found.r2 == pytest.approx(r2_score(targets, found.predicted))
    assert found.metrics == {"mae": found.mae, "r2": found.r2}
    assert (found.classes, len(found)) == (None, 88)
    assert of([2, 2], [2, 3]).r2 == 0  # no variance to explain
    assert of([0, 1e-30], [0, 5e-31]).r2 == pytest.approx(0.5)
    for undefined in (of([2], [3]), of([2, 2], [2, 2]), of([0, 1e-170], [1e-170, 0])):
        assert undefined.metrics == {"mae": undefined.mae}


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


def sum_of_two(row: Mapping[str, str]) -> NDArray[Any]:
    if row["b"] == "?":
        raise DataError("column 'b': no value")
    return np.array([float(row["a"]), float(row["b"])])


def test_rows_of_a_table_are_predicted_or_have_their_reason() -> None:
    predictor = RowPredictor(["a", "b"], sum_of_two, lambda inputs: inputs.sum(1))
    rows = [{"a": 1, "b": "2", "c": "x"}, {"b": 1}, {"a": "x", "b": 1}, {"a": 1, "b": "?"}]
    found = predictor.predict([*rows, {"a": "inf", "b": 1}, {"a": 3.5, "b": 1}])
    assert [one.value for one in found] == [3, None, None, None, None, 4.5]
    assert [one.error is None for one in found] == [True, False, False, False, False, True]
    assert "'a'" in (found[1].error or "") and found[3].error == "column 'b': no value"
    assert predictor.predict([{}])[0].error  # no row is left for the model


def test_rows_of_a_table_may_have_classes() -> None:
    predictor = RowPredictor(
        ["a", "b"], sum_of_two, lambda inputs: inputs / inputs.sum(1, keepdims=True), ["no", "yes"]
    )
    (one,) = predictor.predict([{"a": 1, "b": 3}])
    assert (one.value, one.labels) == (None, [("yes", 0.75), ("no", 0.25)])
