"""One LightningModule for every network: loss, accuracy, optimizer."""

from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import SumMetric
from torchmetrics.classification import BinaryAccuracy, MulticlassAccuracy

if TYPE_CHECKING:
    from dlrun.experiments.sections import Optimizer

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}


class StageMetrics(nn.Module):
    """Mean loss and accuracy of a stage (train, valid or test).

    What the batches gave is kept until the stage ends and measured once: a call of torchmetrics
    per batch would cost more than a step of the small networks.
    """

    def __init__(self, stage: str, classes: int) -> None:
        super().__init__()
        self.stage = stage
        # Two sums: torchmetrics 1.9's MeanMetric drops NaN, or else ignores its weights.
        self.loss_sum = SumMetric(nan_strategy="disable")
        self.rows = SumMetric(nan_strategy="disable")
        self.accuracy: BinaryAccuracy | MulticlassAccuracy = (
            BinaryAccuracy(validate_args=False)
            if classes == 2
            else MulticlassAccuracy(classes, average="micro", validate_args=False)
        )
        self._batches: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, loss: Tensor, predicted: Tensor, targets: Tensor) -> None:
        """Keep a batch: its mean loss (), predicted classes (batch,), targets (batch,)."""
        self._batches.append((loss.detach(), predicted, targets))

    def finish(self) -> dict[str, float]:
        """The metrics over all batches and processes; begins anew."""
        losses, predicted, targets = zip(*self._batches, strict=True)
        sizes = torch.tensor(
            [len(target) for target in targets], device=losses[0].device, dtype=torch.float
        )
        self.loss_sum.update(torch.stack(losses).float() @ sizes)
        self.rows.update(sizes.sum())
        self.accuracy.update(torch.cat(predicted), torch.cat(targets))
        values = {
            f"{self.stage}_loss": float(self.loss_sum.compute() / self.rows.compute()),
            f"{self.stage}_accuracy": float(self.accuracy.compute()),
        }
        for metric in (self.loss_sum, self.rows, self.accuracy):
            metric.reset()
        self._batches.clear()
        return values


class Classifier(pl.LightningModule):
    """Trains a network that gives logits: (batch,) for two classes, (batch, classes) for more.

    The loss is the cross-entropy on the logits.
    """

    def __init__(self, network: nn.Module, optimizer: "Optimizer", classes: int) -> None:
        super().__init__()
        self.network = network
        self.classes = classes
        self.optimizer_config = optimizer
        self.train_metrics = StageMetrics("train", classes)
        self.valid_metrics = StageMetrics("valid", classes)
        self.test_metrics = StageMetrics("test", classes)

    def forward(self, inputs: Any) -> Tensor:
        """Inputs -> logits."""
        logits: Tensor = self.network(inputs)
        return logits

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of a batch."""
        if self.classes == 2:
            return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype))
        return F.cross_entropy(logits, targets)

    def training_step(self, batch: tuple[Any, Tensor], _: int) -> Tensor:
        """A training batch's loss."""
        return self._step(self.train_metrics, batch)

    def validation_step(self, batch: tuple[Any, Tensor], _: int) -> None:
        """Measure a validation batch."""
        self._step(self.valid_metrics, batch)

    def test_step(self, batch: tuple[Any, Tensor], _: int) -> None:
        """Measure a test batch."""
        self._step(self.test_metrics, batch)

    def _step(self, metrics: StageMetrics, batch: tuple[Any, Tensor]) -> Tensor:
        inputs, targets = batch
        logits = self(inputs)
        loss = self.loss(logits, targets)
        predicted = (logits > 0).long() if self.classes == 2 else logits.argmax(-1)
        metrics.add(loss, predicted, targets)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimizer that the config names; torch's defaults but for the learning rate."""
        make: Any = OPTIMIZERS[self.optimizer_config.name]
        optimizer: torch.optim.Optimizer = make(self.parameters(), lr=self.optimizer_config.lr)
        return optimizer
