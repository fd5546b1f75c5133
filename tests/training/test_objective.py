import pytest
import torch
from torch.nn import functional as F

from dlrun.training.objective import classification, regression


def test_losses_of_classification() -> None:
    two = classification(2)
    logits, targets = torch.tensor([0.3, -2.0]), torch.tensor([1, 0])
    expected = -(torch.sigmoid(logits[0]).log() + torch.sigmoid(-logits[1]).log()) / 2
    assert two.loss(logits, targets) == pytest.approx(expected.item())
    three = classification(3)
    logits = torch.randn(4, 3)
    assert three.loss(logits, torch.tensor([0, 1, 2, 0])) == F.cross_entropy(
        logits, torch.tensor([0, 1, 2, 0])
    )


def test_predictions_and_accuracy_of_classification() -> None:
    two, three = classification(2), classification(3)
    assert two.predict(torch.tensor([0.1, -0.1, 0.0])).tolist() == [1, 0, 0]
    logits = torch.tensor([[1.0, 2.0, 0.0], [3.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
    assert three.predict(logits).tolist() == [1, 0, 2]
    for objective in (two, three):
        assert objective.columns() == ["loss", "accuracy"]
        accuracy = objective.metrics()["accuracy"]
        accuracy.update(torch.tensor([1, 0, 1, 1]), torch.tensor([1, 0, 0, 1]))
        assert accuracy.compute() == 0.75


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
def test_loss_and_error_of_regression(dtype: torch.dtype) -> None:
    objective = regression()
    assert objective.columns() == ["loss", "mae"]
    outputs = torch.tensor([1.0, 2.5, -1.0])
    targets = torch.tensor([1, 2, 1], dtype=dtype)
    assert objective.loss(outputs, targets) == pytest.approx((0 + 0.25 + 4) / 3)
    assert objective.loss(outputs, targets).dtype == torch.float32
    predicted = objective.predict(outputs)
    assert torch.equal(predicted, outputs)
    error = objective.metrics()["mae"]
    error.update(predicted, targets)
    assert error.compute() == pytest.approx(2.5 / 3)


def test_regression_of_several_numbers_a_row() -> None:
    objective = regression()
    outputs, targets = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 2], [3, 2]])
    assert objective.loss(outputs, targets) == 1.0
    error = objective.metrics()["mae"]
    error.update(outputs, targets)
    assert error.compute() == 0.5


def test_metrics_are_made_anew_each_time() -> None:
    for objective in (classification(2), classification(5), regression()):
        (one,), (two,) = objective.metrics().values(), objective.metrics().values()
        assert one is not two
