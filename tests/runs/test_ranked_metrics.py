"""The metric that a run is judged by, and the best epoch."""

import math
from typing import Any

import pytest

from dlrun.metrics import describe_metric
from dlrun.runs.ranked_metrics import (
    best_epoch,
    is_stopped_early,
    kept_epoch,
    main_metric,
    selection_metric,
)
from dlrun.runs.record import RunRecord

METRICS = {"valid_accuracy": 0.7907, "test_accuracy": 0.7905}


def a_record(**values: Any) -> RunRecord:
    about = {"experiment": "x", "status": "finished", "metrics": METRICS}
    return RunRecord.model_validate(about | values)


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
    metrics = {"valid_loss": 1, "valid_ece": 1}
    of_users = a_record(metrics=metrics, config={"metrics": {"ece": "lower"}})
    metric = selection_metric(of_users)
    assert metric and (metric.name, metric.sign) == ("valid_ece", -1)


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
