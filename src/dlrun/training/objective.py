"""Define how a classifier or a regression is trained and measured: by which loss and metrics."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from dlrun.config.network_sections import LossConfig, NetworkConfig, OptimizerConfig
from dlrun.data.scaling import is_constant
from dlrun.errors import ConfigError
from dlrun.training.optimizers import make_optimizer

MakeOptimizer = Callable[[OptimizerConfig, Iterable[nn.Parameter]], torch.optim.Optimizer]
Loss = Callable[[Tensor, Tensor], Tensor]  # outputs, targets -> the mean of the batch ()
Measure = Callable[[Tensor, Tensor], Tensor]  # predictions, targets of all rows -> a metric ()


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
        """Compute a network's class probabilities (batch, classes), or its values (batch, ...)."""
        with torch.inference_mode():
            convert = self.probabilities or self.predict
            return convert(network(inputs)).double().numpy()


def apply_loss_options(
    config: NetworkConfig, objective: TrainingObjective, all_targets: Tensor
) -> Loss:
    """Apply the config's section `loss` to the loss of an objective; all_targets (n,) train.

    Raises ConfigError if the section has options, but the network does not classify.
    """
    options = config.loss
    keys = [f"loss.{key}" for key, value in options if value]
    if not keys:
        return objective.loss
    if objective.make_training_loss is None:
        raise ConfigError(
            f"{', '.join(keys)}: only for a network that classifies",
            "an objective of your own needs `make_training_loss`, as that of `classification` has",
        )
    return objective.make_training_loss(options, all_targets)


def count_outputs(classes: int) -> int:
    """Count the logits that a classifier gives for a row: one for each class.

    For two classes there is only the logit of the second class, beside which that of the first
    class is 0.
    """
    return 1 if classes == 2 else classes


def classification(classes: int) -> TrainingObjective:
    """Define how to train a classifier: by cross-entropy, measured by its accuracy.

    The network gives as many logits as `count_outputs` says: (batch, classes), or (batch,) for two
    classes.
    """
    metrics = {"accuracy": partial(accuracy, classes=classes)}
    if count_outputs(classes) == 1:
        return TrainingObjective(
            loss=_cross_entropy_of_one_logit,
            predict=lambda logits: (logits > 0).long(),
            metrics=metrics,
            probabilities=_probabilities_of_one_logit,
            make_training_loss=_make_cross_entropy_of_one_logit,
        )
    return TrainingObjective(
        loss=F.cross_entropy,
        predict=lambda logits: logits.argmax(-1),
        metrics=metrics,
        probabilities=lambda logits: logits.double().softmax(-1),
        make_training_loss=partial(_make_cross_entropy, classes),
    )


def _make_cross_entropy(classes: int, options: LossConfig, all_targets: Tensor) -> Loss:
    """Make the cross-entropy with label smoothing, and with class weights from all targets (n,)."""
    class_weights = _balanced_weights(classes, all_targets) if options.class_weights else None

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        weight = None if class_weights is None else class_weights.to(logits)
        smoothing = options.label_smoothing
        return F.cross_entropy(logits, targets.long(), weight, label_smoothing=smoothing)

    return loss


def _balanced_weights(classes: int, all_targets: Tensor) -> Tensor:
    """Make the weight of each class (classes,), so that the rows of each weigh the same together.

    The mean weight of a row is 1. A class without a row gets the weight 0.
    """
    counts = torch.bincount(all_targets.long(), minlength=classes)
    classes_with_rows = counts.count_nonzero()
    # The clamp keeps the division by the count of a class without rows finite.
    weights = len(all_targets) / (classes_with_rows * counts.clamp(min=1))
    return weights.where(counts > 0, 0.0)


def _make_cross_entropy_of_one_logit(options: LossConfig, all_targets: Tensor) -> Loss:
    cross_entropy = _make_cross_entropy(2, options, all_targets)

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        # The softmax of (0, logit) is the sigmoid.
        logits_of_both = torch.stack([torch.zeros_like(logits), logits], -1)
        return cross_entropy(logits_of_both, targets)

    return loss


def _cross_entropy_of_one_logit(logits: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype))


def _probabilities_of_one_logit(logits: Tensor) -> Tensor:
    # Each class's own sigmoid: 1 - sigmoid would round the smaller one to 0.
    return torch.stack([-logits, logits], -1).double().sigmoid()


def accuracy(predicted: Tensor, targets: Tensor, classes: int) -> Tensor:
    from torchmetrics.functional.classification import multiclass_accuracy  # slow

    return multiclass_accuracy(predicted, targets, classes, average="micro", validate_args=False)


def regression(
    metrics: Iterable[Literal["mae", "r2"]] = ("mae",),
    loss: Loss = F.mse_loss,
    *,
    centre: float = 0,
    scale: float = 1,
) -> TrainingObjective:
    """Define how to train a regression, whose outputs have the shape (batch,) or (batch, 1).

    Args:
        metrics: mean absolute error and R², in the unit of the targets.
        loss: outputs, standardised targets -> the batch's mean loss (); by default squared error.
        centre, scale: the network's output for a target is (target - centre) / scale.
    """
    known: dict[str, Measure] = {"mae": mean_absolute_error, "r2": r2}
    standardised = _StandardisedTargets(centre, scale, loss)
    return TrainingObjective(
        loss=standardised.loss,
        predict=standardised.predict,
        metrics={name: known[name] for name in metrics},
    )


@dataclass(frozen=True)
class _StandardisedTargets:
    """Compares a network's outputs, which are standardised, with targets in their own unit."""

    centre: float
    scale: float
    loss_of_standardised: Loss

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        values = _at_least_float32(outputs).view_as(targets)
        standardised = ((targets - self.centre) / self.scale).to(values.dtype)
        return self.loss_of_standardised(values, standardised)

    def predict(self, outputs: Tensor) -> Tensor:
        values = _at_least_float32(outputs)
        if values.shape[1:] == (1,):
            values = values.flatten()
        return self.centre + self.scale * values


def _at_least_float32(outputs: Tensor) -> Tensor:
    # Half precision would round values that are far from 0.
    return outputs.to(torch.promote_types(outputs.dtype, torch.float32))


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
