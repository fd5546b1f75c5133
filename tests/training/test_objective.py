import math

import pytest
import torch
from torch.nn import functional as F

from dlrun.training.network_module import StageMetrics
from dlrun.training.objective import classification, regression


def test_loss_predictions_and_accuracy_of_classification() -> None:
    two, three = classification(2), classification(3)
    logits, targets = torch.tensor([0.3, -2.0]), torch.tensor([1, 0])
    expected = -(torch.sigmoid(logits[0]).log() + torch.sigmoid(-logits[1]).log()) / 2
    assert two.loss(logits, targets) == pytest.approx(expected.item())
    logits, targets = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    assert three.loss(logits, targets) == F.cross_entropy(logits, targets)
    assert two.predict(torch.tensor([0.1, -0.1, 0.0])).tolist() == [1, 0, 0]
    assert three.predict(torch.tensor([[1.0, 2.0, 0.0], [3.0, 2.0, 0.0]])).tolist() == [1, 0]
    for objective in (two, three):
        assert objective.columns() == ["loss", "accuracy"]
        accuracy = objective.metrics()["accuracy"]
        accuracy.update(torch.tensor([1, 0, 1, 1]), torch.tensor([1, 0, 0, 1]))
        assert accuracy.compute() == 0.75


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
@pytest.mark.parametrize("shape", [(4,), (2, 2)])
def test_loss_and_error_of_regression(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    objective = regression()
    assert objective.columns() == ["loss", "mae"]
    outputs = torch.tensor([1.0, 2.5, -1.0, 3.0]).reshape(shape)
    targets = torch.tensor([1, 2, 1, 3], dtype=dtype).reshape(shape)
    loss = objective.loss(outputs, targets)
    assert (loss.dtype, loss.item()) == (torch.float32, pytest.approx((0.25 + 4) / 4))
    error = objective.metrics()["mae"]
    error.update(objective.predict(outputs), targets)
    assert error.compute() == pytest.approx(2.5 / 4)


def test_metrics_are_over_all_rows_not_the_mean_of_batches() -> None:
    metrics = StageMetrics("valid", classification(3))
    metrics.add(torch.tensor(1.0), torch.tensor([0, 1, 2]), torch.tensor([0, 1, 1]))
    metrics.add(torch.tensor(3.0), torch.tensor([2]), torch.tensor([0]))
    assert metrics.finish() == {"valid_loss": 1.5, "valid_accuracy": 0.5}
    metrics.add(torch.tensor(2.0), torch.tensor([2]), torch.tensor([2]))
    assert metrics.finish() == {"valid_loss": 2.0, "valid_accuracy": 1.0}
    metrics = StageMetrics("test", regression())
    metrics.add(torch.tensor(1.0), torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 1.0, 1.0]))
    metrics.add(torch.tensor(9.0), torch.tensor([4.0]), torch.tensor([1.0]))
    assert metrics.finish() == {"test_loss": 3.0, "test_mae": 1.5}
    metrics.add(torch.tensor(float("nan")), torch.tensor([0.0]), torch.tensor([0.0]))
    assert math.isnan(metrics.finish()["test_loss"])
