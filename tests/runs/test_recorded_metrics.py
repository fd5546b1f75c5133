"""metrics.csv, the metric that a run is judged by, and the remarks beside the metrics."""

import math
from pathlib import Path
from typing import Any

import pytest

from dlrun.errors import DataError
from dlrun.metrics import describe_metric, format_metric
from dlrun.runs.metrics_csv import parse_metrics_csv
from dlrun.runs.ranked_metrics import (
    best_epoch,
    is_stopped_early,
    kept_epoch,
    main_metric,
    selection_metric,
)
from dlrun.runs.record import RunRecord
from dlrun.runs.shown_results import add_accuracy_of_largest_class, remarks_on_metrics

BEST = {"metric": "valid_accuracy", "epoch": 17}
METRICS = {"valid_accuracy": 0.7907, "test_accuracy": 0.7905}


def a_record(**values: Any) -> RunRecord:
    about = {"experiment": "x", "status": "finished", "metrics": METRICS}
    return RunRecord.model_validate(about | values)


@pytest.mark.parametrize("end", ["", "3,0.0", '"'])
def test_numbers_are_as_written_and_a_torn_last_row_is_dropped(end: str) -> None:
    content = f"epoch,loss\n1,0.123456789\n2,1e-05\n{end}".encode()
    table = parse_metrics_csv(content, Path("metrics.csv"))
    assert table == {"epoch": [1, 2], "loss": [0.123456789, 1e-05]}
    assert all(isinstance(epoch, int) for epoch in table["epoch"])


@pytest.mark.parametrize(
    "content",
    [*(b"epoch,loss\n" + row + b"\n2,0.5\n" for row in (b"1", b"1,x", b"\xff,1")), b"epoch,lo"],
)
def test_a_damaged_table_is_a_data_error(content: bytes) -> None:
    with pytest.raises(DataError, match=r"metrics\.csv: cannot be read: "):
        parse_metrics_csv(content, Path("metrics.csv"))


def test_the_metric_that_a_run_is_judged_by() -> None:
    for names, main in {
        "train_loss test_loss test_accuracy": "test_accuracy",
        "valid_mae test_mae test_r2": "test_mae",
        "images unreadable": None,
    }.items():
        assert main_metric(a_record(metrics=dict.fromkeys(names.split(), 1))) == main
    for names, selection in {
        "valid_loss valid_r2 valid_mae test_mae": "valid_r2",
        "train_mae valid_loss": "valid_loss",
        "valid_nonzero test_mae": None,
        "valid_brier_score valid_error": None,  # nobody says which direction is better
    }.items():
        metric = selection_metric(a_record(metrics=dict.fromkeys(names.split(), 1)))
        assert (metric and metric.name) == selection
    metrics = {"valid_loss": 1, "valid_brier": 1}
    of_users = a_record(metrics=metrics, config={"metrics": {"brier": "lower"}})
    metric = selection_metric(of_users)
    assert metric and (metric.name, metric.sign) == ("valid_brier", -1)


def test_the_best_epoch_is_the_first_of_the_best() -> None:
    accuracies = enumerate([0.7, 0.9, 0.9, 0.8], start=1)
    rows = [{"epoch": float(n), "valid_loss": n, "valid_accuracy": one} for n, one in accuracies]
    found = best_epoch(rows, {})
    assert found and (found.metric, found.epoch, found.value) == ("valid_accuracy", 2, 0.9)
    found = best_epoch([{"epoch": 1.0, "valid_mae": 3.0}, {"epoch": 2.0, "valid_mae": 2.0}], {})
    assert found and (found.metric, found.epoch) == ("valid_mae", 2)
    assert best_epoch([], {}) is None
    assert best_epoch([{"lambda": 1.0, "valid_accuracy": 0.5}], {}) is None  # no epochs
    assert best_epoch([{"epoch": 1.0, "train_loss": 0.5}], {}) is None  # nothing was validated


LOSSES = [0.5, 0.4, 0.41, 0.39, 0.395, 0.6]


@pytest.mark.parametrize(
    ("losses", "patience", "min_delta", "stopped"),
    [
        (LOSSES, 2, 0.0, 6),
        (LOSSES, 3, 0.0, None),
        (LOSSES, 2, 0.05, 4),
        ([0.5, math.nan, math.nan, 0.6, math.nan, 0.7], 2, 0.0, 6),  # not every epoch is validated
    ],
)
def test_training_ends_after_epochs_without_an_improvement(
    losses: list[float], patience: int, min_delta: float, stopped: int | None
) -> None:
    rows = [{"epoch": n, "valid_loss": one, "valid_r2": -one} for n, one in enumerate(losses, 1)]
    for monitor in ("valid_loss", "valid_r2"):
        arguments = describe_metric(monitor, {}), patience, min_delta
        ends = [n for n in range(len(rows) + 1) if is_stopped_early(rows[:n], *arguments)]
        assert (ends or [None])[0] == stopped


def test_the_kept_epoch_is_the_best_or_the_last() -> None:
    rows = [{"epoch": n, "valid_loss": one} for n, one in enumerate([0.5, 0.3, 0.3, 0.4], 1)]
    assert [kept_epoch(rows, {}, by) for by in (None, "valid_loss")] == [4, 2]
    assert kept_epoch([{"epoch": 1, "valid_loss": math.nan}], {}, "valid_loss") == 1


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


def test_the_largest_class_stands_after_the_test_metrics() -> None:
    classes = {"number": 2, "largest": "a", "share": 0.6, "macro_f1": 0.5}  # macro_f1: of 0.2
    tested = METRICS | {"test_macro_f1": 0.4}
    for metrics in (METRICS, tested):
        found = add_accuracy_of_largest_class(a_record(classes=classes), metrics | {"nonzero": 3})
        assert list(found) == [*metrics, "always the largest class", "nonzero"]
        assert found["always the largest class"] == 0.6
    no_accuracy = {"test_loss": 1.0}
    assert add_accuracy_of_largest_class(a_record(classes=classes), no_accuracy) == no_accuracy
    assert add_accuracy_of_largest_class(a_record(), tested) == tested


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.853, "0.8530"), (0.0, "0.0000"), (-2.1349e-7, "-2.13e-07"), (12345678.9, "1.2346e+07")],
)
def test_a_metric_of_any_unit_has_digits_that_tell_it_from_another(value: float, text: str) -> None:
    assert format_metric(value) == text
