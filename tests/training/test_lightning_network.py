"""A network in training: its steps, optimizer and loss."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch import nn
from torch.nn import functional as F

from dlrun.config.network_sections import LossConfig, OptimizerConfig
from dlrun.errors import ConfigError
from dlrun.kernels.bag_linear import BagLinear
from dlrun.kernels.rmsprop import OnePassRMSprop
from dlrun.networks.dense import DenseNetwork
from dlrun.system.library_settings import temporary_library_settings
from dlrun.training.array_batches import ArrayData, EpochBatches, TensorBatches
from dlrun.training.lightning_network import LightningNetwork
from dlrun.training.objective import (
    TrainingObjective,
    apply_loss_options,
    classification,
    regression,
)
from dlrun.training.trainer import make_trainer
from tests.training.optimizers import optimizer_config
from tests.training.test_fit import network_config


def lightning_network(
    network: nn.Module, optimizer: OptimizerConfig, objective: TrainingObjective, **trainer: Any
) -> LightningNetwork:
    """A network with an optimizer, and other values of the config's section `trainer`."""
    config = network_config("cpu", **trainer).model_copy(update={"optimizer": optimizer})
    return LightningNetwork(network, config, objective, objective.loss)


def test_an_objective_may_have_an_optimizer_of_its_own() -> None:
    own = replace(classification(2), make_optimizer=lambda _, weights: torch.optim.SGD(weights))
    for objective, kind in ((classification(2), OnePassRMSprop), (own, torch.optim.SGD)):
        module = lightning_network(
            DenseNetwork(5, [16], [], 1, BagLinear(5, 16)), optimizer_config("rmsprop"), objective
        )
        assert type(module.configure_optimizers()) is kind


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
        assert [*objective.metrics] == ["accuracy"]
        accuracy = objective.metrics["accuracy"]
        assert accuracy(torch.tensor([1, 0, 1, 1]), torch.tensor([1, 0, 0, 1])) == 0.75


def loss_config(**values: Any) -> LossConfig:
    return LossConfig.model_validate({"label_smoothing": 0.0, "class_weights": None} | values)


TARGETS = torch.tensor([0, 0, 0, 1, 0, 2, 0, 0])


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_options_of_the_loss_are_as_they_are_defined(classes: int, smoothing: float) -> None:
    targets, objective = TARGETS.clamp(max=classes - 1), classification(classes)
    assert objective.make_training_loss is not None
    logits = torch.randn(8, *([classes] if classes > 2 else []), dtype=torch.float64)
    of_two = torch.stack([-logits, logits], -1).sigmoid().log()
    log_p = of_two if classes == 2 else logits.log_softmax(-1)
    counts = targets.bincount(minlength=classes)
    present = int((counts > 0).sum())
    for kind in (None, "balanced"):
        weights = torch.tensor([8 / (present * n) if n else 0.0 for n in counts.tolist()])
        weights = weights.double() if kind else torch.ones(classes, dtype=torch.float64)
        shares = (1 - smoothing) * F.one_hot(targets, classes) + smoothing / classes
        expected = -(weights * shares * log_p).sum() / weights[targets].sum()
        options = loss_config(label_smoothing=smoothing, class_weights=kind)
        found = objective.make_training_loss(options, targets)(logits, targets)
        assert found.item() == pytest.approx(expected.item())


def test_only_the_training_has_the_options_of_the_loss() -> None:
    config: Any = network_config("cpu")
    smoothed = config.model_copy(update={"loss": loss_config(label_smoothing=0.5)})
    batch = torch.tensor([3.0, -3.0]), torch.tensor([1, 0])
    objective, losses = classification(2), []
    assert apply_loss_options(config, objective, batch[1]) is objective.loss
    for one in (config, smoothed):
        loss = apply_loss_options(one, objective, batch[1])
        module = LightningNetwork(nn.Identity(), one, objective, loss)
        module.validation_step(batch, 0)
        module.test_step(batch, 0)
        module.train_stage.add(*batch)
        values = module.train_stage.finish() | module.valid_stage.finish()
        values |= module.test_stage.finish()
        losses.append([values[f"{name}_loss"] for name in ("train", "valid", "test")])
    assert losses[0][0] == losses[0][1] == losses[0][2] == losses[1][1] == losses[1][2]
    assert losses[1][0] > losses[0][0]
    with pytest.raises(ConfigError, match="label_smoothing"):
        apply_loss_options(smoothed, regression(), batch[1])


def test_a_regression_in_mixed_precision_does_not_round_its_targets() -> None:
    objective = regression(centre=1000, scale=2)
    outputs, targets = torch.tensor([1.5, -0.5]).bfloat16(), torch.tensor([1002.0, 1000.25])
    assert objective.predict(outputs).tolist() == [1003, 999]
    assert objective.loss(outputs, targets).item() == (0.5**2 + 0.625**2) / 2
    targets = torch.tensor([475.25, 475.25])
    assert regression().loss(outputs, targets) == F.mse_loss(outputs.float(), targets)


INPUTS = np.random.default_rng(0).normal(size=(56, 3)).astype(np.float32)


def weights_after_an_epoch(
    group: int = 1, plugin: MixedPrecision | None = None, **trainer: Any
) -> list[torch.Tensor]:
    """The weights after an epoch of 7 batches by plain gradient descent, as dlrun trains."""
    torch.manual_seed(0)
    rows = TensorBatches(INPUTS, np.arange(56) % 2)
    data = ArrayData(rows, rows, rows, batch_size=8, seed=0, group_size=group)
    network = nn.Sequential(nn.Linear(3, 1), nn.Flatten(0))
    sgd = optimizer_config("sgd", lr=10.0)
    module = lightning_network(network, sgd, classification(2), max_epochs=1, **trainer)
    with temporary_library_settings(1):
        made = make_trainer(module.config, "cpu")
        if plugin is not None:
            made.strategy.precision_plugin = plugin
        made.fit(module, data.training_batches(), data.evaluation_batches(rows))
    return list(network.state_dict().values())


def weights_by_torch(
    every: int = 1, clip: Callable[[Iterable[nn.Parameter]], object] | None = None
) -> list[torch.Tensor]:
    """The same by torch alone: the loss of several batches is their mean."""
    torch.manual_seed(0)
    inputs, targets = torch.from_numpy(INPUTS), torch.arange(56) % 2
    network = nn.Sequential(nn.Linear(3, 1), nn.Flatten(0))
    order = list(EpochBatches(56, 8, seed=0))
    for first in range(0, len(order), every):
        network.zero_grad()
        for rows in order[first : first + every]:
            loss = classification(2).loss(network(inputs[rows]), targets[rows])
            (loss / every).backward()
        if clip:
            clip(network.parameters())
        for parameter in network.parameters():
            assert parameter.grad is not None
            parameter.data -= 10.0 * parameter.grad
    return list(network.state_dict().values())


CLIP = partial(nn.utils.clip_grad_norm_, max_norm=0.05)


@pytest.mark.parametrize("group", [1, 2, 5])
@pytest.mark.parametrize("every", [1, 2, 3, 9])
def test_gradients_of_several_batches_are_averaged(every: int, group: int) -> None:
    found = weights_after_an_epoch(group, accumulate_grad_batches=every)
    torch.testing.assert_close(found, weights_by_torch(every))


@pytest.mark.parametrize(
    ("algorithm", "clip"),
    [("norm", CLIP), ("value", partial(nn.utils.clip_grad_value_, clip_value=0.05))],
)
@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("group", [1, 5])
def test_gradients_are_clipped_before_each_update(
    algorithm: str, clip: Any, every: int, group: int
) -> None:
    section = {"gradient_clip_val": 0.05, "gradient_clip_algorithm": algorithm}
    found = weights_after_an_epoch(group, accumulate_grad_batches=every, **section)
    torch.testing.assert_close(found, weights_by_torch(every, clip))
    plain = weights_by_torch(every)
    assert not any(torch.allclose(one, other) for one, other in zip(found, plain, strict=True))


def test_several_batches_at_a_call_train_the_same_network_in_mixed_precision() -> None:
    alone, together = (weights_after_an_epoch(n, precision="bf16-mixed") for n in (1, 4))
    assert all(map(torch.equal, alone, together))


def test_unscaled_gradients_are_clipped_if_half_precision_scales_them() -> None:
    scaler = torch.amp.GradScaler("cpu")  # type: ignore[attr-defined]
    plugin = MixedPrecision("16-mixed", "cpu", scaler)
    found = weights_after_an_epoch(plugin=plugin, gradient_clip_val=0.05)
    assert scaler.get_scale() > 1000
    torch.testing.assert_close(found, weights_by_torch(1, CLIP), rtol=0.01, atol=0.01)
