"""One LightningModule for every network: loss, metrics, optimizer."""

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from dlrun.training.lightning_imports import pl, torchmetrics
from dlrun.training.objective import Objective
from dlrun.training.test_predictions import Tested

if TYPE_CHECKING:
    from dlrun.config.sections import Optimizer


class StageMetrics(nn.Module):
    """Mean loss and the objective's metrics of a stage (train, valid or test).

    What the batches gave is kept until the stage ends and measured once: a call of torchmetrics
    per batch would cost more than a step of the small networks.
    """

    def __init__(self, stage: str, objective: Objective) -> None:
        super().__init__()
        self.stage = stage
        # Two sums: torchmetrics 1.9's MeanMetric drops NaN, or else ignores its weights.
        self.loss_sum = torchmetrics.SumMetric(nan_strategy="disable")
        self.rows = torchmetrics.SumMetric(nan_strategy="disable")
        self.metrics = nn.ModuleDict(objective.metrics())
        self._batches: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, loss: Tensor, predicted: Tensor, targets: Tensor) -> None:
        """Keep a batch: its mean loss (), predictions (batch, ...), targets (batch, ...)."""
        self._batches.append((loss.detach(), predicted.detach(), targets))

    def finish(self) -> dict[str, float]:
        """The metrics over all batches and processes; begins anew.

        One of several processes may have no batch: it adds nothing to their sums.
        """
        if self._batches:
            losses, predicted, targets = zip(*self._batches, strict=True)
            sizes = torch.tensor(
                [len(target) for target in targets], device=losses[0].device, dtype=torch.float
            )
            self.loss_sum.update(torch.stack(losses).float() @ sizes)
            self.rows.update(sizes.sum())
            for metric in self.metrics.values():
                metric.update(torch.cat(predicted), torch.cat(targets))  # type: ignore[operator]
        values = {f"{self.stage}_loss": float(self.loss_sum.compute() / self.rows.compute())}
        for name, metric in self.metrics.items():
            values[f"{self.stage}_{name}"] = float(metric.compute())  # type: ignore[operator]
        for metric in (self.loss_sum, self.rows, *self.metrics.values()):
            metric.reset()  # type: ignore[operator]
        self._batches.clear()
        return values


class NetworkModule(pl.LightningModule):
    """Trains a network for an objective."""

    def __init__(self, network: nn.Module, optimizer: "Optimizer", objective: Objective) -> None:
        super().__init__()
        self.network = network
        self.objective = objective
        self.optimizer_config = optimizer
        self.train_metrics = StageMetrics("train", objective)
        self.valid_metrics = StageMetrics("valid", objective)
        self.test_metrics = StageMetrics("test", objective)
        self.tested: Tested | None = None  # collects the test's rows, where they are asked for

    def forward(self, inputs: Any) -> Tensor:
        """Inputs -> outputs."""
        outputs: Tensor = self.network(inputs)
        return outputs

    def training_step(self, batch: tuple[Any, Tensor], _: int) -> Tensor:
        """A training batch's loss."""
        return self._step(self.train_metrics, batch)

    def validation_step(self, batch: tuple[Any, Tensor], _: int) -> None:
        """Measure a validation batch."""
        self._step(self.valid_metrics, batch)

    def test_step(self, batch: tuple[Any, Tensor], _: int) -> None:
        """Measure a test batch."""
        self._step(self.test_metrics, batch, self.tested)

    def _step(
        self, metrics: StageMetrics, batch: tuple[Any, Tensor], tested: Tested | None = None
    ) -> Tensor:
        inputs, targets = batch
        outputs = self(inputs)
        if tested is not None:
            tested.add(outputs, targets)
        loss = self.objective.loss(outputs, targets)
        metrics.add(loss, self.objective.predict(outputs), targets)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the objective's optimizer for the config's section."""
        return self.objective.optimizer(self.optimizer_config, self.network.parameters())


class GroupedModule(NetworkModule):
    """The same, several batches at a call: Lightning's work between two calls costs as much as a
    whole step of a small network.
    """

    def __init__(self, network: nn.Module, optimizer: "Optimizer", objective: Objective) -> None:
        super().__init__(network, optimizer, objective)
        self.automatic_optimization = False

    def training_step(self, batch: list[tuple[Any, Tensor]], _: int) -> None:  # type: ignore[override]
        """A step for each of the batches, in their order."""
        optimizer: Any = self.optimizers()
        mixed = "mixed" in str(self.trainer.precision)
        # Lightning's own calls for the gradient and the optimizer come after autocast, not within.
        outside = torch.autocast(self.device.type, enabled=False) if mixed else nullcontext()
        for one in batch:
            loss = self._step(self.train_metrics, one)
            with outside:
                optimizer.zero_grad()
                self.manual_backward(loss)
                optimizer.step()
