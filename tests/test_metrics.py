"""What is known of a metric: by its exact name, or because a config declares it."""

import pytest

from dlrun.metrics import (
    KNOWN,
    Better,
    Directions,
    agreed_directions,
    describe_metric,
    format_metric,
)

# Typed by hand: with a wrong direction the worst run is called best, and the worst epoch is kept.
BETTER: dict[str, Better] = {
    "loss": "lower",
    "accuracy": "higher",
    "f1": "higher",
    "macro_f1": "higher",
    "roc_auc": "higher",
    "average_precision": "higher",
    "log_loss": "lower",
    "brier": "lower",
    "mae": "lower",
    "r2": "higher",
    "rmse": "lower",
}


def test_which_direction_of_each_metric_is_better() -> None:
    assert {name: metric.better for name, metric in KNOWN.items()} == BETTER


@pytest.mark.parametrize(
    ("name", "declared", "direction"),
    [
        ("test_accuracy", {}, "higher is better"),
        ("valid_r2", {}, "higher is better"),
        ("train_loss", {}, "lower is better"),
        ("test_mae", {}, "lower is better"),
        ("test_brier_score", {}, ""),  # lower would be better, whatever the end of its name says
        ("test_MeanAbsoluteError", {}, ""),
        ("test_accuracy_loss", {}, ""),
        ("objective", {}, ""),
        ("test_brier_score", {"brier_score": "lower"}, "lower is better"),
        ("valid_auroc", {"auroc": "higher"}, "higher is better"),
        ("valid_ece", {"auroc": "higher"}, ""),
        ("test_accuracy", {"accuracy": "lower"}, "higher is better"),
    ],
)
def test_the_direction_of_a_metric_is_known_or_declared_never_guessed(
    name: str, declared: Directions, direction: str
) -> None:
    metric = describe_metric(name, declared)
    assert (metric.name, metric.direction) == (name, direction)
    assert metric.sign == {"higher": 1, "lower": -1, "": 0}[direction.partition(" ")[0]]


def test_a_direction_that_two_configs_declare_differently_is_not_known() -> None:
    ece: Directions = {"ece": "lower"}
    assert agreed_directions([ece, {}, ece]) == ece
    assert agreed_directions([ece, {"ece": "higher", "auroc": "higher"}]) == {"auroc": "higher"}


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.853, "0.8530"), (0.0, "0.0000"), (-2.1349e-7, "-2.13e-07"), (12345678.9, "1.2346e+07")],
)
def test_a_metric_of_any_unit_has_digits_that_tell_it_from_another(value: float, text: str) -> None:
    assert format_metric(value) == text
