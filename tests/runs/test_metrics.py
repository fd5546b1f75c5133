"""Which metric stands for a run, and which value is better."""

import pytest

from dlrun.runs.metrics import main_metric, sign
from dlrun.store.record import Record


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
    assert sign(metric) == expected
