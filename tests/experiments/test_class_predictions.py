"""The predictions of a test part: their table, mistakes and measures."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

from dlrun.config.sections import Predictions
from dlrun.experiments.predictions import (
    TrueAndPredictedClasses,
    TrueAndPredictedValues,
    add_class_metrics,
    keep_test_predictions,
)
from tests.experiments.use import reader

NAMES = ["plain", 'a "quoted", name', "-1"]


def of(
    labels: list[int], predicted: list[int], probability: list[float]
) -> TrueAndPredictedClasses:
    return TrueAndPredictedClasses(
        NAMES, np.array(labels), np.array(predicted), np.array(probability)
    )


def test_the_table_has_a_row_for_each_prediction() -> None:
    predictions = of([0, 1], [0, 2], [1 / 3, 1.0])
    assert predictions.accuracy == 1 / 2
    header, *rows = csv.reader(io.StringIO(predictions.table().decode()))
    assert header == ["row", "label", "predicted", "probability"]
    assert rows == [["0", NAMES[0], NAMES[0], "0.333333333"], ["1", NAMES[1], NAMES[2], "1"]]


def test_mistakes_are_listed_the_most_certain_first() -> None:
    labels, probability = [0] * 50, np.random.default_rng(0).uniform(0.5, 1, 50)
    probability[[41, 3]] = 1.0  # as certain as each other: in the order of the rows
    predicted = [int(row % 10 > 0) for row in range(50)]  # every tenth is right
    mistakes = of(labels, predicted, probability.tolist()).mistakes(lambda row: {"text": str(row)})
    first = {"row": 3, "label": "plain", "predicted": NAMES[1], "probability": 1.0, "text": "3"}
    assert (mistakes[0], mistakes[1]["row"]) == (first, 41)
    wrong = probability[np.array(predicted) == 1]
    assert [one["probability"] for one in mistakes] == sorted(wrong, reverse=True)[:20]
    assert of([0, 1], [0, 1], [0.6, 0.7]).mistakes(None) == []


@pytest.mark.parametrize(
    ("wanted", "rows", "is_kept"),
    [("auto", 2, True), ("auto", 3, False), (True, 3, True), (False, 1, False)],
)
def test_predictions_are_kept_if_the_config_says_so_or_they_are_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: Predictions, rows: int, is_kept: bool
) -> None:
    monkeypatch.setattr("dlrun.experiments.predictions.MOST_ROWS", 2)
    context, predictions = reader(tmp_path / "run"), of([0] * rows, [0] * rows, [1.0] * rows)
    keep_test_predictions(context, wanted, predictions, None)
    assert list(context.kept) == (["predictions.csv", "mistakes.json"] if is_kept else [])


@pytest.mark.parametrize(("present", "seed"), [(3, 0), (2, 1), (1, 2)])
def test_macro_f1_is_scikit_learns(present: int, seed: int) -> None:
    """Also if a class is in neither the labels nor the predictions."""
    random = np.random.default_rng(seed)
    labels, predicted = random.integers(present, size=(2, 200))
    found = TrueAndPredictedClasses(NAMES, labels, predicted, np.ones(200))
    assert found.macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro"))


def test_macro_f1_is_a_metric_after_the_accuracy_that_is_never_the_main_one() -> None:
    predictions, values = of([0, 1], [0, 2], [1.0] * 2), np.ones(2)
    tested = {"test_loss": 0.5, "test_accuracy": 0.5, "nonzero": 3}
    found = add_class_metrics(tested, predictions)
    assert [*found] == ["test_loss", "test_accuracy", "test_macro_f1", "nonzero"]
    assert found["test_macro_f1"] == predictions.metrics["macro_f1"] == predictions.macro_f1
    own = {"test_macro_f1": 0.1, "test_accuracy": 0.5}
    for unchanged in (own, {"test_loss": 0.5}):
        assert list(add_class_metrics(unchanged, predictions).items()) == [*unchanged.items()]
    for other in (None, TrueAndPredictedValues(values, values)):
        assert add_class_metrics(tested, other) == tested
