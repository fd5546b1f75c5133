"""What was predicted of a test set: its metrics against scikit-learn's, its table, its mistakes."""

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from dlrun.config.sections import WantedPredictions
from dlrun.experiments.save_predictions import save_test_predictions
from dlrun.runs.predictions_csv import PredictedClasses, PredictedValues, parse_predictions
from tests.conftest import Patch
from tests.runs.making import a_live_run

NAMES = ["plain", 'a "quoted", name', "-1"]


def classes(true: Any, predicted: Any, probability: Any) -> PredictedClasses:
    return PredictedClasses(np.array(true), np.array(predicted), np.array(probability), NAMES)


def values(true: list[float], predicted: list[float]) -> PredictedValues:
    return PredictedValues(np.array(true), np.array(predicted))


@pytest.mark.parametrize(("present", "seed"), [(3, 0), (2, 1), (1, 2)])
def test_the_metrics_of_classes_are_scikit_learns(present: int, seed: int) -> None:
    """Also if a class is in neither the labels nor the predictions."""
    true, predicted = np.random.default_rng(seed).integers(present, size=(2, 200))
    found = classes(true, predicted, np.ones(200))
    assert found.test_metrics == {
        "test_accuracy": metrics.accuracy_score(true, predicted),
        "test_macro_f1": pytest.approx(metrics.f1_score(true, predicted, average="macro")),
    }
    recalls = metrics.recall_score(true, predicted, labels=range(3), average=None, zero_division=0)
    assert {name: recall for name, recall, _ in found.recalls} == {
        NAMES[place]: pytest.approx(recalls[place]) for place in {*true.tolist()}
    }
    assert found.recalls == sorted(found.recalls, key=lambda recall: recall[1])


def test_the_metrics_of_values_are_scikit_learns() -> None:
    true, errors = np.random.default_rng(0).normal(500, 400, (2, 88))
    found = PredictedValues(true, true + errors)
    assert found.metrics == {
        "mae": pytest.approx(metrics.mean_absolute_error(true, found.predicted)),
        "r2": pytest.approx(metrics.r2_score(true, found.predicted)),
    }
    assert values([0, 1e-30], [0, 5e-31]).r2 == pytest.approx(0.5)
    equal = ([2.0], [3.0]), ([2.0, 2.0], [2.0, 2.0]), ([2.0, 2.0], [2.0, 3.0])
    for true, predicted in (*equal, ([0.1] * 99, [0.2] * 99), ([0.0, 1e-170], [1e-170, 0.0])):
        assert [*values(true, predicted).metrics] == ["mae"]  # there is no variance to explain


def test_a_table_is_read_as_it_was_written() -> None:
    written = classes([0, 1], [0, 2], [1 / 3, 1.0])
    header, *rows = csv.reader(io.StringIO(written.table().decode()))
    assert header == ["row", "label", "predicted", "probability"]
    assert rows == [["0", NAMES[0], NAMES[0], "0.333333333"], ["1", NAMES[1], NAMES[2], "1"]]
    read = parse_predictions(written.table(), ["never", *NAMES])
    assert isinstance(read, PredictedClasses) and read.metrics == written.metrics
    assert [read.names[place] for place in read.predicted] == [NAMES[0], NAMES[2]]
    single = np.array([0.3, 1e-7], np.float32).astype(float).tolist()
    assert values([475, 91.5], single).table() == b"row,target,predicted\n0,475,0.3\n1,91.5,1e-07\n"
    again = parse_predictions(values([0, 1], [1 / 3, 2 / 3]).table())
    assert again and again.predicted.tolist() == [1 / 3, 2 / 3]
    assert parse_predictions(b"image,rank,label,probability,error\na.png,1,owl,0.5,\n") is None


def test_the_worst_rows_come_first() -> None:
    probability = np.random.default_rng(0).uniform(0.5, 1, 50)
    probability[[41, 3]] = 1.0  # as certain as each other: in the order of the rows
    predicted = [int(row % 10 > 0) for row in range(50)]  # every tenth is right
    mistakes = classes([0] * 50, predicted, probability).mistakes(lambda row: {"text": str(row)})
    first = {"row": 3, "label": "plain", "predicted": NAMES[1], "probability": 1.0, "text": "3"}
    assert (mistakes[0], mistakes[1]["row"]) == (first, 41)
    wrong = probability[np.array(predicted) == 1]
    assert [row["probability"] for row in mistakes] == sorted(wrong, reverse=True)[:20]
    assert classes([0, 1], [0, 1], [0.6, 0.7]).mistakes(None) == []
    worst = values([0.0] * 50, [float(row % 25) for row in range(50)]).mistakes(None)
    assert worst[0] == {"row": 24, "target": 0, "predicted": 24}
    assert [row["row"] for row in worst[:4]] == [24, 49, 23, 48] and len(worst) == 20


@pytest.mark.parametrize(
    ("wanted", "rows", "is_kept"),
    [("auto", 2, True), ("auto", 3, False), (True, 3, True), (False, 1, False)],
)
def test_predictions_are_kept_if_the_config_says_so_or_they_are_few(
    tmp_path: Path, monkeypatch: Patch, wanted: WantedPredictions, rows: int, is_kept: bool
) -> None:
    monkeypatch.setattr("dlrun.experiments.save_predictions.MOST_ROWS", 2)
    live_run = a_live_run(tmp_path / "run")
    save_test_predictions(live_run, wanted, classes([0] * rows, [0] * rows, [1.0] * rows), None)
    assert list(live_run.kept) == (["predictions.csv", "mistakes.json"] if is_kept else [])
