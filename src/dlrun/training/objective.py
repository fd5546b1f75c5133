"""Define training objectives: the loss, how outputs become predictions, and the metrics."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MeanAbsoluteError, Metric
from torchmetrics.classification import BinaryAccuracy, MulticlassAccuracy

from dlrun.config.sections import OptimizerConfig

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}


def torch_optimizer(
    config: OptimizerConfig, parameters: Iterable[nn.Parameter]
) -> torch.optim.Optimizer:
    """Return the torch optimizer that a config names, with the settings in the config."""
    return OPTIMIZERS[config.name](parameters, **config.settings)


@dataclass(frozen=True)
class Objective:
    """Defines the loss and the metrics for training a network; each has columns in metrics.csv.

    Args:
        loss: outputs (batch, ...), targets (batch, ...) -> the batch's mean loss ().
        predict: outputs -> predictions, which the metrics compare with the targets.
        metrics: makes the metrics by their names, which metrics.csv shows, such as `accuracy`.
        probabilities: outputs on the CPU -> float64 (batch, classes); None if the network does not
            classify.
        optimizer: makes the optimizer from the config's section and the network's parameters.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    predict: Callable[[Tensor], Tensor]
    metrics: Callable[[], dict[str, Metric]]
    probabilities: Callable[[Tensor], Tensor] | None = None
    optimizer: Callable[[OptimizerConfig, Iterable[nn.Parameter]], torch.optim.Optimizer] = (
        torch_optimizer
    )

    def columns(self) -> list[str]:
        """Return the names of the loss and the metrics, the loss first."""
        return ["loss", *self.metrics()]

    def classify(self, network: Callable[..., Tensor], inputs: object) -> NDArray[np.float64]:
        """Return a network's class probabilities (batch, classes) for inputs, computed on a CPU."""
        assert self.probabilities is not None  # the experiment classifies
        with torch.inference_mode():
            return self.probabilities(network(inputs)).numpy()


def classification(classes: int) -> Objective:
    """Return the objective of a classification; for two classes, the logits have shape (batch,)."""
    if classes == 2:
        return Objective(
            loss=lambda logits, targets: F.binary_cross_entropy_with_logits(
                logits, targets.to(logits.dtype)
            ),
            predict=lambda logits: (logits > 0).long(),
            metrics=lambda: {"accuracy": BinaryAccuracy(validate_args=False)},
            # Each class's own sigmoid: 1 - sigmoid would round the smaller one to 0.
            probabilities=lambda logits: torch.stack([-logits, logits], -1).double().sigmoid(),
        )
    return Objective(
        loss=F.cross_entropy,
        predict=lambda logits: logits.argmax(-1),
        metrics=lambda: {
            "accuracy": MulticlassAccuracy(classes, average="micro", validate_args=False)
        },
        probabilities=lambda logits: logits.double().softmax(-1),
    )


def regression() -> Objective:
    """Return the objective of a regression, with mean squared error and mean absolute error.

    Outputs and targets have the same shape, such as (batch, 1): give a target array of shape (n,)
    as `target[:, None]`.
    """
    return Objective(
        loss=lambda outputs, targets: F.mse_loss(outputs, targets.to(outputs.dtype)),
        predict=lambda outputs: outputs,
        metrics=lambda: {"mae": MeanAbsoluteError()},
    )
