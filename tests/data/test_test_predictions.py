import csv
import io

import numpy as np
import pytest
from sklearn.metrics import f1_score

from dlrun.data.test_predictions import (
    MOST_ROWS,
    ClassPredictions,
    summarize_classes,
    wants_test_predictions,
)

NAMES = ["plain", 'a "quoted", name', "-1"]


def of(labels: list[int], predicted: list[int], probability: list[float]) -> ClassPredictions:
    return ClassPredictions(NAMES, np.array(labels), np.array(predicted), np.array(probability))


def test_a_row_for_each_prediction() -> None:
    found = of([0, 1, 2], [0, 2, 1], [1 / 3, 0.9999999999, 1.0])
    assert found.accuracy == 1 / 3
    text = found.table().decode()
    assert "\r" not in text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["row"] for row in rows] == ["0", "1", "2"]
    assert [row["label"] for row in rows] == NAMES
    assert [row["predicted"] for row in rows] == [NAMES[0], NAMES[2], NAMES[1]]
    assert [row["probability"] for row in rows] == ["0.333333333", "1", "1"]


def test_mistakes_the_most_certain_first() -> None:
    count = 50
    labels, predicted = np.zeros(count, int), np.ones(count, int)
    predicted[::10] = 0  # right
    probability = np.random.default_rng(0).uniform(0.5, 1, count)
    probability[[41, 3]] = 1.0  # as certain as each other: in the order of the rows
    mistakes = ClassPredictions(NAMES, labels, predicted, probability).mistakes(
        lambda row: {"text": f"row {row}"}
    )
    assert [one["row"] for one in mistakes[:2]] == [3, 41]
    found = [one["probability"] for one in mistakes]
    assert found == sorted(found, reverse=True) and len(found) == 20
    assert min(found) >= np.sort(probability[predicted == 1])[-20]
    assert mistakes[0] == {
        "row": 3,
        "label": "plain",
        "predicted": NAMES[1],
        "probability": 1.0,
        "text": "row 3",
    }


def test_nothing_wrong_nothing_to_show() -> None:
    assert of([0, 1], [0, 1], [0.6, 0.7]).mistakes(None) == []
    assert of([0, 1], [0, 0], [0.6, 0.7]).mistakes(None)[0].keys() == {
        *("row", "label", "predicted", "probability")
    }


def test_wanted_where_asked_for_or_small_enough() -> None:
    assert wants_test_predictions("auto", MOST_ROWS) and not wants_test_predictions(
        "auto", MOST_ROWS + 1
    )
    assert wants_test_predictions(True, MOST_ROWS + 1) and not wants_test_predictions(False, 1)


@pytest.mark.parametrize(("present", "seed"), [(3, 0), (2, 1), (1, 2)])
def test_macro_f1_is_scikit_learns(present: int, seed: int) -> None:
    """Also if a class is in neither the labels nor the predictions."""
    random = np.random.default_rng(seed)
    labels, predicted = random.integers(present, size=(2, 200))
    found = ClassPredictions(NAMES, labels, predicted, np.ones(200))
    assert found.macro_f1 == pytest.approx(f1_score(labels, predicted, average="macro"))


def test_the_largest_class() -> None:
    labels = np.array([1, 1, 1, 0])
    found = of([1, 1, 1, 0], [1, 1, 1, 1], [1.0] * 4)
    expected = {"number": 3, "largest": NAMES[1], "share": 0.75}
    assert summarize_classes(NAMES, labels, found) == expected | {"macro_f1": found.macro_f1}
    assert summarize_classes(NAMES, labels.astype(np.float32), None) == expected | {
        "macro_f1": None
    }
