"""Rows of a table are predicted, or have the reason why not."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.errors import DataError
from dlrun.experiments.predictors import RowPredictor


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
