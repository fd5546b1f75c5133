"""Errors and warnings of a training that has diverged."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from dlrun.errors import DlrunError
from dlrun.training.divergence import check_metrics_finite, divergence_warning
from tests.training.test_user_module import Module, train


def test_a_loss_that_is_no_number_ends_the_run() -> None:
    check_metrics_finite({"train_loss": 0.5, "valid_loss": 1e300}, "epoch 1")
    for loss in (math.nan, math.inf):
        with pytest.raises(DlrunError, match=f"^epoch 3: train_loss is {loss}$") as caught:
            check_metrics_finite({"train_loss": loss}, "epoch 3")
        assert "optimizer.lr" in caught.value.hint


def warning(*losses: float) -> str | None:
    return divergence_warning([{"train_loss": loss} for loss in losses])


def test_a_loss_that_grows_is_said() -> None:
    assert warning(0.7, 0.5, 0.6) is None and divergence_warning([{"valid_loss": 1e32}]) is None
    assert "diverged" in str(warning(0.7, 0.5, 50.0))
    assert "optimizer.lr" in str(warning(1e32))


def test_epochs_that_log_no_loss_are_left_out() -> None:
    assert warning(math.nan, 0.7, math.nan, 0.6, math.nan) is None
    assert warning(math.nan, math.nan) is None
    assert "diverged" in str(warning(math.nan, 0.7, math.nan, 50.0, math.nan))
    without_loss = {"valid_loss": 1.0}
    assert divergence_warning([without_loss, {"train_loss": 0.7}, without_loss]) is None


@pytest.mark.parametrize("logging_epochs", [{0}, {1}, {1, 2}])
def test_a_module_that_logs_its_loss_in_some_epochs_is_not_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], logging_epochs: set[int]
) -> None:
    class Seldom(Module):
        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            loss = self.measured(batch)
            if self.current_epoch in logging_epochs:
                self.log("train_loss", loss, on_step=False, on_epoch=True)
            return loss

    _, rows, _ = train(tmp_path / "run", 4, module=Seldom)
    assert [not math.isnan(row["train_loss"]) for row in rows] == [
        epoch in logging_epochs for epoch in range(4)
    ]
    assert "warning:" not in capsys.readouterr().err
