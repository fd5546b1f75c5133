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


def probable(true: Any, probabilities: Any) -> PredictedClasses:
    each = np.array(probabilities, float)
    names = [f"class {n}" for n in range(each.shape[1])]
    return PredictedClasses.of_probabilities(
        np.array(true), each.argmax(1), each, names, row_names={}
    )


def many_rows(n_classes: int, seed: int = 0) -> tuple[Any, Any]:
    """Labels and probabilities, of which many are equal, and some are 0 or 1."""
    random = np.random.default_rng(seed)
    counts = random.integers(0, 4, (500, n_classes)) + np.eye(n_classes)[np.arange(500) % n_classes]
    return random.integers(0, n_classes, 500), counts / counts.sum(1, keepdims=True)


@pytest.mark.parametrize("n_classes", [2, 3, 20])
def test_the_metrics_of_probabilities_are_scikit_learns(n_classes: int) -> None:
    true, each = many_rows(n_classes)
    found = probable(true, each)
    expected = {
        "log_loss": metrics.log_loss(true, each),
        "brier": metrics.brier_score_loss(true, each if n_classes > 2 else each[:, 1]),
    }
    if n_classes == 2:
        expected["roc_auc"] = metrics.roc_auc_score(true, each[:, 1])
        expected["average_precision"] = metrics.average_precision_score(true, each[:, 1])
    else:
        expected["roc_auc"] = metrics.roc_auc_score(true, each, multi_class="ovr")
    assert found.further_metrics == pytest.approx(expected, rel=1e-9)
    assert list(found.metrics)[:2] == ["accuracy", "macro_f1"]
    for name in ("accuracy", "log_loss", "brier"):
        by_row = found.contributions(name)
        assert by_row is not None and by_row.mean() == pytest.approx(found.metrics[name])
    assert found.contributions("roc_auc") is None


def test_a_metric_that_is_not_defined_is_left_out() -> None:
    assert list(probable([1, 1], [[0.2, 0.8], [0.6, 0.4]]).further_metrics) == ["log_loss", "brier"]
    without_third = probable([0, 1], [[0.5, 0.3, 0.2], [0.2, 0.5, 0.3]])
    assert list(without_third.further_metrics) == ["log_loss", "brier"]
    assert probable(*many_rows(21)).further_metrics == {}
    assert classes([0, 1], [0, 1], [0.6, 0.7]).further_metrics == {}  # a package of one's own
    assert probable([0, 1], [[np.nan, np.nan], [0.5, 0.5]]).further_metrics == {}


@pytest.mark.parametrize("n_classes", [2, 20, 21])
def test_the_probabilities_of_few_classes_are_kept_in_the_table(n_classes: int) -> None:
    written = probable(*many_rows(n_classes))
    read = parse_predictions(written.table(), ["other names", "than the table's"])
    assert isinstance(read, PredictedClasses)
    if n_classes > 20:
        assert read.probabilities is None
        return
    assert list(read.names) == list(written.names)
    np.testing.assert_allclose(read.probabilities, written.probabilities, rtol=1e-8)
    assert read.metrics == pytest.approx(written.metrics, rel=1e-6)


def test_a_class_may_be_called_as_a_column_is() -> None:
    names = ["label", "probability", 'a "b", c\n', "", "probability of label"]
    each = np.full((5, 5), 0.1) + np.eye(5) / 2
    written = PredictedClasses.of_probabilities(
        np.arange(5), np.arange(5), each, names, row_names={"line": list("12345")}
    )
    read = parse_predictions(written.table())
    assert isinstance(read, PredictedClasses) and read.names == names
    np.testing.assert_array_equal(read.probabilities, np.round(each, 9))
    assert read.row_names == written.row_names


def test_a_label_without_its_column_is_damage() -> None:
    table = b"row,label,predicted,probability,probability of a\n0,b,a,1,1\n"
    with pytest.raises(ValueError, match="class"):
        parse_predictions(table)


def test_the_metrics_of_values_are_scikit_learns() -> None:
    true, errors = np.random.default_rng(0).normal(500, 400, (2, 88))
    found = PredictedValues(true, true + errors)
    assert found.metrics == {
        "mae": pytest.approx(metrics.mean_absolute_error(true, found.predicted)),
        "r2": pytest.approx(metrics.r2_score(true, found.predicted)),
        "rmse": pytest.approx(metrics.root_mean_squared_error(true, found.predicted)),
    }
    assert values([0, 1e-30], [0, 5e-31]).r2 == pytest.approx(0.5)
    equal = ([2.0], [3.0]), ([2.0, 2.0], [2.0, 2.0]), ([2.0, 2.0], [2.0, 3.0])
    for true, predicted in (*equal, ([0.1] * 99, [0.2] * 99), ([0.0, 1e-170], [1e-170, 0.0])):
        assert [*values(true, predicted).metrics] == [
            "mae",
            "rmse",
        ]  # there is no variance to explain


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
