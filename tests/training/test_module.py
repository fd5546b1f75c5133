import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dlrun.experiments.sections import Optimizer
from dlrun.training.module import OPTIMIZERS, Classifier, StageMetrics


def test_metrics_are_over_all_rows_not_the_mean_of_batches() -> None:
    metrics = StageMetrics("valid", classes=3)
    metrics.add(torch.tensor(1.0), torch.tensor([0, 1, 2]), torch.tensor([0, 1, 1]))
    metrics.add(torch.tensor(3.0), torch.tensor([2]), torch.tensor([0]))
    assert metrics.finish() == {"valid_loss": 1.5, "valid_accuracy": 0.5}
    metrics.add(torch.tensor(2.0), torch.tensor([2]), torch.tensor([2]))
    assert metrics.finish() == {"valid_loss": 2.0, "valid_accuracy": 1.0}


def test_a_loss_that_is_no_number_stays_one() -> None:
    metrics = StageMetrics("train", classes=2)
    metrics.add(torch.tensor(float("nan")), torch.tensor([0]), torch.tensor([0]))
    assert math.isnan(metrics.finish()["train_loss"])


def test_losses() -> None:
    optimizer = Optimizer(name="rmsprop", lr=0.1)
    two = Classifier(nn.Identity(), optimizer, 2)
    logits, targets = torch.tensor([0.3, -2.0]), torch.tensor([1, 0])
    expected = -(torch.sigmoid(logits[0]).log() + torch.sigmoid(-logits[1]).log()) / 2
    assert two.loss(logits, targets) == pytest.approx(expected.item())
    three = Classifier(nn.Identity(), optimizer, 3)
    logits = torch.randn(4, 3)
    assert three.loss(logits, torch.tensor([0, 1, 2, 0])) == F.cross_entropy(
        logits, torch.tensor([0, 1, 2, 0])
    )


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_of_the_config_can_be_made(name: str) -> None:
    module = Classifier(nn.Linear(2, 1), Optimizer(name=name, lr=0.125), 2)  # type: ignore[arg-type]
    optimizer = module.configure_optimizers()
    assert type(optimizer) is OPTIMIZERS[name]
    assert optimizer.defaults["lr"] == 0.125
