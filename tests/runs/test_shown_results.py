"""The remarks beside the metrics of a run."""

from typing import Any

import pytest

from dlrun.runs.record import RunRecord
from dlrun.runs.shown_results import (
    add_accuracy_of_largest_class,
    interval_of_test_accuracy,
    remarks_on_metrics,
)

BEST = {"metric": "valid_accuracy", "epoch": 17}
METRICS = {"valid_accuracy": 0.7907, "test_accuracy": 0.7905}


def a_record(**values: Any) -> RunRecord:
    about = {"experiment": "x", "status": "finished", "metrics": METRICS}
    return RunRecord.model_validate(about | values)


def test_an_end_before_the_last_epoch_is_noted() -> None:
    notes = dict(remarks_on_metrics(a_record(stopped_epoch=8, weights_epoch=5, steps=8)))
    assert "epoch 8" in notes["ended"] and "epoch 5" in notes["kept"]
    assert remarks_on_metrics(a_record(weights_epoch=8, steps=8)) == []


@pytest.mark.parametrize(("best", "noted"), [(0.8655, True), (0.7950, False)])
def test_an_epoch_that_was_notably_better_is_noted(best: float, noted: bool) -> None:
    found = dict(remarks_on_metrics(a_record(best_epoch=BEST | {"value": best})))
    assert ("valid" in found) is noted
    if noted:
        assert all(one in found["valid"] for one in ("0.7907", "0.8655", "epoch 17"))
        assert "test rows" not in found["valid"]
        config = {"data": {"validation": "test"}}
        on_test = a_record(best_epoch=BEST | {"value": best}, config=config)
        assert "test rows" in dict(remarks_on_metrics(on_test))["valid"]


def test_why_a_run_is_not_compared_stands_beside_the_books_number() -> None:
    about = {"reference": {"book": {"test_accuracy": 0.421}}, "reference_differs": "other data"}
    ((kind, note),) = remarks_on_metrics(a_record(source="sample", **about))
    assert kind == "book" and "other data" in note and "0.4210" in note


def test_the_interval_of_other_seeds_is_noted() -> None:
    expected = {"test_accuracy": {"low": 0.76, "high": 0.91, "seeds": 10}}
    ((kind, note),) = remarks_on_metrics(a_record(expected=expected))
    assert kind == "seeds" and all(one in note for one in ("0.7600", "0.9100", "10 seeds"))
    assert remarks_on_metrics(a_record()) == []


def test_the_largest_class_stands_after_the_accuracy() -> None:
    classes = {"number": 2, "largest": "a", "share": 0.6, "macro_f1": 0.5}  # macro_f1: of 0.2
    tested = METRICS | {"test_macro_f1": 0.4}
    for metrics in (METRICS, tested):
        found = add_accuracy_of_largest_class(a_record(classes=classes), metrics | {"nonzero": 3})
        names = list(found)
        assert names[names.index("test_accuracy") + 1] == "always the largest class"
        assert [name for name in names if name in metrics] == list(metrics)
        assert found["always the largest class"] == 0.6
    no_accuracy = {"test_loss": 1.0}
    assert add_accuracy_of_largest_class(a_record(classes=classes), no_accuracy) == no_accuracy
    assert add_accuracy_of_largest_class(a_record(), tested) == tested


@pytest.mark.parametrize(
    ("accuracy", "rows", "expected"),
    [
        (0.8528000116348267, 25_000, (0.8483538687740, 0.8571377265496)),  # of single precision
        (1.0, 10, (0.7224672001371, 1.0)),
        (0.8528, None, None),
        (0.8533, 1_000, None),  # a mean over classes
    ],
)
def test_the_interval_of_the_accuracy_where_it_is_a_share_of_rows(
    accuracy: float | None, rows: int | None, expected: tuple[float, float] | None
) -> None:
    about: dict[str, Any] = {"experiment": "x", "status": "finished", "test_rows": rows}
    record = RunRecord.model_validate(about | {"metrics": {"test_accuracy": accuracy}})
    assert interval_of_test_accuracy(record) == (
        None if expected is None else pytest.approx(expected, abs=1e-10)
    )
    assert interval_of_test_accuracy(RunRecord.model_validate(about)) is None
