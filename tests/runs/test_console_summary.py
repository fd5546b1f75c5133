"""What is said beside a run's metrics."""

from typing import Any

import pytest

from dlrun.run_folder.record import Record
from dlrun.runs.console_summary import notes, with_baseline

METRICS = {"valid_accuracy": 0.7907, "test_accuracy": 0.7905}


def a_record(**values: Any) -> Record:
    about = {"experiment": "x", "status": "finished", "metrics": METRICS}
    return Record.model_validate(about | values)


@pytest.mark.parametrize(("best", "said"), [(0.8655, True), (0.7950, False), (0.7907, False)])
def test_an_epoch_that_was_notably_better_is_named(best: float, said: bool) -> None:
    about = {"metric": "valid_accuracy", "epoch": 17, "value": best}
    found = dict(notes(a_record(best_epoch=about)))
    assert ("valid" in found) is said
    if said:
        assert all(one in found["valid"] for one in ("0.7907", "0.8655", "epoch 17"))


def test_where_runs_of_other_seeds_lie() -> None:
    (said,) = notes(a_record(expected={"test_accuracy": {"low": 0.76, "high": 0.91, "seeds": 10}}))
    assert said[0] == "seeds"
    assert all(one in said[1] for one in ("test accuracy", "0.7600", "0.9100", "10 seeds"))
    assert notes(a_record()) == []


def test_the_baseline_stands_after_the_accuracy() -> None:
    classes = {"number": 2, "largest": "a", "share": 0.6, "macro_f1": 0.5}
    found = with_baseline(a_record(classes=classes), METRICS | {"nonzero": 3})
    assert list(found) == [*METRICS, "test_macro_f1", "largest_class", "nonzero"]
    assert (found["test_macro_f1"], found["largest_class"]) == (0.5, 0.6)
    del classes["macro_f1"]  # no predictions
    assert list(with_baseline(a_record(classes=classes), METRICS)) == [*METRICS, "largest_class"]
    assert with_baseline(a_record(), METRICS) == METRICS
