"""Define training objectives: the loss, how outputs become predictions, and the metrics."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from dlrun.config.network_sections import LossConfig, NetworkConfig, OptimizerConfig
from dlrun.data.scaling import is_constant
from dlrun.errors import ConfigError
from dlrun.kernels.rmsprop import OnePassRMSprop, can_use_one_pass_rmsprop

MakeOptimizer = Callable[[OptimizerConfig, Iterable[nn.Parameter]], torch.optim.Optimizer]
Loss = Callable[[Tensor, Tensor], Tensor]  # outputs, targets -> the mean of the batch ()
Measure = Callable[[Tensor, Tensor], Tensor]  # predictions, targets of all rows -> a metric ()


def make_optimizer(
    config: OptimizerConfig, parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]]
) -> torch.optim.Optimizer:
    """Return the optimizer that a config names, for parameters or groups of parameters.

    It is torch's, or RMSprop in one pass if that can do what the config asks for.
    """
    trained = [*parameters]
    match config.name:
        case "rmsprop":
            is_plain = not (config.momentum or config.weight_decay)
            if is_plain and all(map(can_use_one_pass_rmsprop, trained)):
                return OnePassRMSprop(trained, **config.arguments)
            return torch.optim.RMSprop(trained, **config.arguments)
        case "adam":
            return torch.optim.Adam(trained, **config.arguments)
        case "adamw":
            return torch.optim.AdamW(trained, **config.arguments)
        case "sgd":
            return torch.optim.SGD(trained, **config.arguments)
    assert_never(config.name)


@dataclass(frozen=True)
class TrainingObjective:
    """Defines how to train and measure a network: loss, predictions, metrics and optimizer.

    Args:
        loss: outputs (batch, ...), targets (batch, ...) -> the batch's mean loss ().
        predict: outputs -> predictions, which the metrics compare with the targets.
        metrics: by their names, such as `accuracy`: predictions, targets of all rows -> metric ().
        probabilities: outputs on the CPU -> float64 (batch, classes); None without classes.
        make_optimizer: makes the optimizer from the config's section and the network's parameters.
        make_training_loss: makes the loss that is minimised from the config's section `loss` and
            all training targets (n,); None if that section does not apply.
    """

    loss: Loss
    predict: Callable[[Tensor], Tensor]
    metrics: Mapping[str, Measure]
    probabilities: Callable[[Tensor], Tensor] | None = None
    make_optimizer: MakeOptimizer = make_optimizer
    make_training_loss: Callable[[LossConfig, Tensor], Loss] | None = None

    def infer(self, network: Callable[..., Tensor], inputs: object) -> NDArray[np.float64]:
        """Return a network's class probabilities (batch, classes), or its values (batch, ...)."""
        with torch.inference_mode():
            convert = self.probabilities or self.predict
            return convert(network(inputs)).double().numpy()


def classification(classes: int) -> TrainingObjective:
    """Return a classifier's loss and metrics; for two classes, the logits have shape (batch,)."""
    objective = TrainingObjective(
        loss=F.cross_entropy,
        predict=lambda logits: logits.argmax(-1),
        metrics={"accuracy": partial(accuracy, classes=classes)},
        probabilities=lambda logits: logits.double().softmax(-1),
        make_training_loss=partial(_make_cross_entropy, classes),
    )
    if classes != 2:
        return objective
    return replace(
        objective,
        loss=_binary_cross_entropy,
        predict=lambda logits: (logits > 0).long(),
        probabilities=_binary_probabilities,
    )


def _binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype))


def _binary_probabilities(logits: Tensor) -> Tensor:
    # Each class's own sigmoid: 1 - sigmoid would round the smaller one to 0.
    return torch.stack([-logits, logits], -1).double().sigmoid()


def accuracy(predicted: Tensor, targets: Tensor, classes: int) -> Tensor:
    from torchmetrics.functional.classification import multiclass_accuracy  # slow

    return multiclass_accuracy(predicted, targets, classes, average="micro", validate_args=False)


def mean_absolute_error(predicted: Tensor, targets: Tensor) -> Tensor:
    from torchmetrics import functional  # slow

    return functional.mean_absolute_error(predicted, targets)


def r2(predicted: Tensor, targets: Tensor) -> Tensor:
    """Compute R², or NaN if the targets are equal, as a single target is: they do not vary.

    R² is computed in float64, on the CPU, since sums in float32 cancel if the mean is large.
    r2_score of torchmetrics treats targets with a tiny variance as equal.
    """
    predicted = predicted.cpu().double()
    targets = targets.cpu().double()
    if is_constant(targets.flatten().numpy()):
        return targets.new_tensor(torch.nan)
    residual = (targets - predicted).square().sum()
    return 1 - residual / (targets - targets.mean()).square().sum()


def _make_cross_entropy(classes: int, options: LossConfig, targets: Tensor) -> Loss:
    """Make the cross-entropy with label smoothing and class weights, also for one logit.

    With weights, the rows of each class weigh the same together; the mean weight of a row is 1.
    """
    class_weights = None
    if options.class_weights:
        counts = torch.bincount(targets.long(), minlength=classes)
        class_weights = (len(targets) / (counts.count_nonzero() * counts)).where(counts > 0, 0.0)

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        if classes == 2:  # softmax of (0, logit) is the sigmoid
            logits = torch.stack([torch.zeros_like(logits), logits], -1)
        weight = None if class_weights is None else class_weights.to(logits)
        smoothing = options.label_smoothing
        return F.cross_entropy(logits, targets.long(), weight, label_smoothing=smoothing)

    return loss


def choose_training_loss(
    config: NetworkConfig, objective: TrainingObjective, targets: Tensor
) -> Loss:
    """Put a config's options into the training loss; raise ConfigError if they do not apply."""
    options = config.loss
    keys = [f"loss.{key}" for key, value in options if value]
    if not keys:
        return objective.loss
    if objective.make_training_loss is None:
        raise ConfigError(
            f"{', '.join(keys)}: only for a network that classifies",
            "an objective of your own needs `make_training_loss`, as that of `classification` has",
        )
    return objective.make_training_loss(options, targets)


def regression(
    metrics: Iterable[Literal["mae", "r2"]] = ("mae",),
    loss: Loss = F.mse_loss,
    *,
    centre: float = 0,
    scale: float = 1,
) -> TrainingObjective:
    """Return a regression's loss and metrics; the outputs have the shape (batch,) or (batch, 1).

    Args:
        metrics: mean absolute error and R², in the unit of the targets.
        loss: outputs, standardised targets -> the batch's mean loss (); by default squared error.
        centre, scale: the network's output for a target is (target - centre) / scale.
    """
    known: dict[str, Measure] = {"mae": mean_absolute_error, "r2": r2}

    def at_least_float32(outputs: Tensor) -> Tensor:
        return outputs.to(torch.promote_types(outputs.dtype, torch.float32))

    def predict(outputs: Tensor) -> Tensor:
        values = at_least_float32(outputs)
        return centre + scale * (values.flatten() if values.shape[1:] == (1,) else values)

    def standardised_loss(outputs: Tensor, targets: Tensor) -> Tensor:
        values = at_least_float32(outputs).view_as(targets)
        return loss(values, ((targets - centre) / scale).to(values.dtype))

    return TrainingObjective(
        loss=standardised_loss, predict=predict, metrics={name: known[name] for name in metrics}
    )
