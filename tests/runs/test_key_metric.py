"""Which metric stands for a run, and which value is better."""

import pytest

from dlrun.run_folder.record import Record
from dlrun.runs.key_metric import best_epoch, direction, main_metric


@pytest.mark.parametrize(
    ("names", "main"),
    [
        ("train_loss test_loss test_accuracy", "test_accuracy"),
        ("valid_mae test_mae test_r2", "test_mae"),
        ("images unreadable", None),
        ("", None),
    ],
)
def test_the_main_metric(names: str, main: str | None) -> None:
    about = {"experiment": "x", "status": "finished", "metrics": dict.fromkeys(names.split(), 1)}
    assert main_metric(Record.model_validate(about)) == main


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("test_loss", -1), ("valid_rmse", -1), ("test_MeanAbsoluteError", -1),
        ("test_accuracy", 1), ("test_auroc", 1), ("test_f1_macro", 1), ("r2", 1),
        ("nonzero", 0), ("lambda", 0), ("objective", 0), ("images", 0),
    ],
)  # fmt: skip
def test_what_is_better(metric: str, expected: int) -> None:
    assert direction(metric) == expected


def test_the_best_epoch_is_the_first_of_the_best() -> None:
    accuracies = enumerate([0.7, 0.9, 0.9, 0.8], start=1)
    rows = [{"epoch": float(n), "valid_loss": n, "valid_accuracy": one} for n, one in accuracies]
    found = best_epoch(rows)
    assert found and (found.metric, found.epoch, found.value) == ("valid_accuracy", 2, 0.9)
    found = best_epoch([{"epoch": 1.0, "valid_mae": 3.0}, {"epoch": 2.0, "valid_mae": 2.0}])
    assert found and (found.metric, found.epoch) == ("valid_mae", 2)
    assert best_epoch([]) is None
    assert best_epoch([{"lambda": 1.0, "valid_accuracy": 0.5}]) is None  # no epochs
    assert best_epoch([{"epoch": 1.0, "train_loss": 0.5}]) is None  # nothing was validated
