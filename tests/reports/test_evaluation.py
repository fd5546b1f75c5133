"""Confusion, calibration and area under the curve, against scikit-learn's and by hand."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, recall_score, roc_auc_score

from dlrun.errors import DataError
from dlrun.experiments.predictions import TrueAndPredictedValues
from dlrun.reports.evaluation import BINS, DOTS, evaluate_predictions, evaluate_values
from tests.reports.example_runs import predictions


def as_texts(rows: list[list[Any]]) -> list[list[str]]:
    return [[str(cell) for cell in row] for row in rows]


@pytest.mark.parametrize("digits", [9, 1])  # rounded, many scores are equal
def test_two_classes(digits: int) -> None:
    rows = [[*row[:3], round(row[3], digits)] for row in predictions(["bad", "good"], 500, seed=1)]
    found = evaluate_predictions(as_texts(rows), ["bad", "good"])
    label, predicted = [row[1] for row in rows], [row[2] for row in rows]
    score = [row[3] if row[2] == "good" else 1 - row[3] for row in rows]
    assert found.matrix == confusion_matrix(label, predicted, labels=["bad", "good"]).tolist()
    assert found.auroc == pytest.approx(roc_auc_score([one == "good" for one in label], score))
    assert found.correct == sum(one == other for one, other in zip(label, predicted, strict=True))
    recalls = dict(zip(["bad", "good"], recall_score(label, predicted, average=None), strict=True))
    assert {name: share for name, share, _ in found.recalls} == pytest.approx(recalls)
    assert [share for _, share, _ in found.recalls] == sorted(recalls.values())
    assert found.picture is None


def test_the_calibration_error_is_torchmetrics() -> None:
    import torch
    from torchmetrics.functional.classification import binary_calibration_error

    rows = predictions(["a", "b", "c"], 800, seed=5)
    probability = torch.tensor([row[3] for row in rows], dtype=torch.float64)
    right = torch.tensor([row[1] == row[2] for row in rows]).long()
    expected = binary_calibration_error(probability, right, n_bins=BINS)
    found = evaluate_predictions(as_texts(rows), ["a", "b", "c"])
    assert found.error == pytest.approx(float(expected))
    assert (sum(one.rows for one in found.bins), found.auroc) == (800, None)


def test_many_classes_are_a_picture_and_their_commonest_mistakes() -> None:
    labels = [f"class {n}" for n in range(100)]
    rows = predictions(labels, 3000, seed=3)
    found = evaluate_predictions(as_texts(rows), labels)
    assert found.matrix is None
    assert found.picture and found.picture.startswith("data:image/png;base64,")
    assert len(found.picture) < 20_000
    label, predicted, times = found.pairs[0]
    assert times == sum(row[1:3] == [label, predicted] for row in rows)
    name, share, count = found.recalls[0]
    of_class = [row for row in rows if row[1] == name]
    assert count == len(of_class)
    assert share == pytest.approx(sum(row[1] == row[2] for row in of_class) / count)


def test_classes_keep_their_order_and_unknown_ones_follow() -> None:
    rows = [["0", "b", "a", "0.5"], ["1", "'=x", "b", "0.5"]]
    assert evaluate_predictions(rows, ["never", "b", "a"]).classes == ["b", "a", "'=x"]
    alone = evaluate_predictions([["0", "a", "a", "1.0"]], ["a", "b"])
    assert (alone.matrix, alone.auroc, alone.error) == ([[1]], None, 0)


@pytest.mark.parametrize("probability", ["", "high", "1.5", "-0.1", "nan"])
def test_what_is_no_probability_is_a_data_error(probability: str) -> None:
    with pytest.raises(DataError, match="probability"):
        evaluate_predictions([["0", "a", "b", probability]], ["a", "b"])


def test_very_many_classes_have_no_matrix() -> None:
    rows = [[str(n), f"class {n}", f"class {n // 2}", "0.5"] for n in range(20_000)]
    found = evaluate_predictions(rows, [])
    assert (len(found.classes), found.matrix, found.picture) == (20_000, None, None)
    assert (found.correct, found.recalls[0]) == (1, ("class 1", 0.0, 1))


def test_values_are_drawn_by_the_true_ones_on_two_linear_axes() -> None:
    targets = np.array([1.0, 2000.5, 30.0])  # as penalties they would have a logarithmic axis
    found = evaluate_values(TrueAndPredictedValues(targets, targets + [10, -20, 300]).table())
    assert (found.rows, found.mae, found.median) == (3, 110, 20)
    assert found.bias == pytest.approx(290 / 3)
    assert found.chart.dots == [(1, 11), (2000.5, 1980.5), (30, 330)]
    assert not found.chart.x.logarithmic
    (right,) = found.chart.lines
    assert (right.x, right.y) == ([1, 2000.5], [1, 2000.5])
    assert len(found.chart.dot_places) == 3


@pytest.mark.parametrize("rows", [DOTS, DOTS + 1, 2 * DOTS, 100_000])
def test_of_many_values_a_share_is_drawn(rows: int) -> None:
    values = np.arange(rows, dtype=float)
    dots = evaluate_values(TrueAndPredictedValues(values, values).table()).chart.dots
    assert DOTS / 2 <= len(dots) <= DOTS
