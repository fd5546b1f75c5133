"""The loss, metrics and predictions that are collected over the batches of a stage."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import r2_score
from torch.nn import functional as F

from dlrun.runs.predictions_csv import PredictedValues
from dlrun.training.objective import classification, regression
from dlrun.training.stage_metrics import StageMetrics, join_predictions, predict_rows


def test_metrics_are_over_all_rows_not_the_mean_of_batches() -> None:
    def mean_logit(logits: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return logits.max(-1).values.mean()

    stage = StageMetrics("valid", classification(3), mean_logit)
    loss = stage.add(torch.eye(3), torch.tensor([0, 1, 1]))
    stage.add(3 * torch.eye(3)[2:], torch.tensor([0]))
    assert loss == 1 and stage.finish() == {"valid_loss": 1.5, "valid_accuracy": 0.5}
    stage = StageMetrics("test", regression(), F.mse_loss)
    stage.add(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 1.0, 1.0]))
    stage.add(torch.tensor([4.0]), torch.tensor([1.0]))
    assert stage.finish() == {"test_loss": 3.5, "test_mae": 1.5}
    stage.add(torch.tensor([float("nan")]), torch.tensor([0.0]))
    assert math.isnan(stage.finish()["test_loss"])


def test_two_classes_to_their_last_digit() -> None:
    objective = classification(2)
    logits = torch.tensor([30.0, -30.0, 0.0, -1.5])
    batches = [
        predict_rows(objective, logits[:3], torch.tensor([1, 1, 0])),
        predict_rows(objective, logits[3:], torch.tensor([0])),
    ]
    labels, predicted, probability, *of_each = join_predictions(batches)  # type: ignore[misc]
    assert labels.tolist() == [1, 1, 0, 0]
    assert predicted.tolist() == [1, 0, 0, 0]  # 0 is no more than 0, as for the accuracy
    assert probability == pytest.approx(1 / (1 + np.exp([-30.0, -30.0, 0.0, -1.5])), rel=1e-15)
    assert probability[0] < 1  # in single precision it would be 1
    assert np.choose(predicted.astype(int), of_each).tolist() == probability.tolist()
    assert np.sum(of_each, axis=0) == pytest.approx(np.ones(4), rel=1e-15)


def test_of_many_classes_only_the_probability_of_the_predicted_one_is_kept() -> None:
    targets = torch.arange(4)
    for classes, kept in ((20, 23), (21, 3)):
        rows = predict_rows(classification(classes), torch.randn(4, classes), targets)
        assert rows is not None and rows.shape == (kept, 4)


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
@pytest.mark.parametrize("target_shape", [(4,), (4, 1)])
def test_values_of_a_regression(shape: tuple[int, ...], target_shape: tuple[int, ...]) -> None:
    """With standardised outputs: everything but the loss is in the unit of the targets."""
    objective = regression(("r2", "mae"), centre=10, scale=2)
    outputs = torch.tensor([0.0, 1.0, -1.0, 3.0]).reshape(shape)
    targets = torch.tensor([10.0, 12.0, 7.0, 14.0]).reshape(target_shape)
    assert objective.loss(outputs, targets).item() == pytest.approx((0.25 + 1) / 4)
    stage = StageMetrics("test", objective, objective.loss)
    stage.add(outputs, targets)
    found = stage.finish()
    assert list(found) == ["test_loss", "test_r2", "test_mae"]  # the order of the objective
    rows = join_predictions([predict_rows(objective, outputs, targets)])
    values = PredictedValues(*rows)  # type: ignore[misc]
    assert values.predicted.tolist() == [10, 12, 8, 16]
    main_metrics = {f"test_{name}": value for name, value in values.main_metrics.items()}
    assert found == pytest.approx({"test_loss": found["test_loss"]} | main_metrics)
    assert objective.infer(lambda outputs: outputs, outputs).tolist() == [10, 12, 8, 16]


def test_several_values_of_a_row_are_not_collected() -> None:
    rows = predict_rows(regression(), torch.zeros(4, 2), torch.zeros(4, 2))
    assert rows is None is join_predictions([rows])


@pytest.mark.parametrize(
    ("centre", "scale"), [(0, 1), (2000, 1), (1e6, 1), (0, 1e-4), (1e-3, 1e-5), (0, 1e-30)]
)
def test_r2_of_values_far_from_zero_or_near_it(centre: float, scale: float) -> None:
    targets, noise = scale * torch.randn(2, 300, generator=torch.Generator().manual_seed(0))
    targets = centre + 5 * targets
    stage = StageMetrics("test", regression(["r2"]), F.mse_loss)
    for _ in range(2):  # it is reset
        stage.add(targets + 2 * noise, targets)
        expected = r2_score(targets.double(), (targets + 2 * noise).double())
        assert stage.finish()["test_r2"] == pytest.approx(expected, abs=1e-5)
    stage.add(torch.ones(1), torch.zeros(1))
    assert list(stage.finish()) == ["test_loss"]  # not defined for one row
    equal = torch.full((3,), 0.1 + centre)
    for predicted in (equal + 1, equal):
        stage.add(predicted, equal)
        assert list(stage.finish()) == ["test_loss"]  # there is no variance to explain
