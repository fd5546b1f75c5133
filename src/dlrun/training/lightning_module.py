"""Wrap a network as a LightningModule, which trains it and measures loss and metrics by epoch."""

from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from dlrun.config.network_sections import NetworkConfig
from dlrun.metrics import VALID
from dlrun.runs.metrics_csv import LR, SECONDS, STEP
from dlrun.training.data import ArrayData, Loader
from dlrun.training.epoch_recorder import EpochRecorder
from dlrun.training.learning_rate import LearningRateSchedule
from dlrun.training.objective import Loss, TrainingObjective
from dlrun.training.stage_metrics import PredictionCollector, StageMetrics

Batch = tuple[object, Tensor]  # inputs and targets


class LightningNetwork(pl.LightningModule):
    """Trains a network by an objective's loss, as a LightningModule.

    A call of training_step gets a list of batches: Lightning's work between two calls takes as long
    as a whole update of a small network.

    training_loss: the loss that is minimised; validation and test have the objective's.
    """

    def __init__(
        self,
        network: nn.Module,
        config: NetworkConfig,
        objective: TrainingObjective,
        training_loss: Loss,
    ) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.objective = objective
        self.schedule: LearningRateSchedule | None = None
        self.automatic_optimization = False
        self._summed_gradients = 0  # of batches that have not made an update yet
        if config.trainer.precision == "64-true":  # a checkpoint is loaded before Lightning does so
            self.double()
        self.train_stage = StageMetrics("train", objective, training_loss)
        self.valid_stage = StageMetrics("valid", objective, objective.loss)
        self.test_stage = StageMetrics("test", objective, objective.loss)
        self.test_predictions = PredictionCollector(objective)

    def training_step(self, batches: list[Batch], index: int) -> None:
        """Update the weights once for each batch in a list, or for each few batches of an epoch.

        The last batches of an epoch may be fewer; each counts no more than others.
        """
        # Lightning's wrappers take a third of a small network's update, and are needed only for
        # on_before_optimizer_step, a gradient scaler, or a probe, whose trainer has a logger.
        clips_gradients = self.config.trainer.gradient_clip_val is not None
        has_grad_scaler = getattr(self.trainer.precision_plugin, "scaler", None) is not None
        needs_wrappers = clips_gradients or has_grad_scaler or bool(self.trainer.loggers)
        optimizer = self.optimizers(use_pl_optimizer=needs_wrappers)
        assert not isinstance(optimizer, list)
        backward = self.manual_backward if needs_wrappers else Tensor.backward
        is_mixed = "mixed" in str(self.trainer.precision)
        # As in Lightning's own steps, the gradients and the optimizer run outside of autocast.
        no_autocast = torch.autocast(self.device.type, enabled=False) if is_mixed else nullcontext()
        batches_per_update = self.config.trainer.accumulate_grad_batches
        is_last_list = index + 1 == self.trainer.num_training_batches
        for place, (inputs, targets) in enumerate(batches, start=1):
            loss = self.train_stage.add(self.network(inputs), targets)
            with no_autocast:
                if self._summed_gradients == 0:
                    optimizer.zero_grad()
                backward(loss if batches_per_update == 1 else loss / batches_per_update)
                self._summed_gradients += 1
                is_last_batch = is_last_list and place == len(batches)
                if self._summed_gradients == batches_per_update or is_last_batch:
                    optimizer.step()
                    self._summed_gradients = 0

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip the gradients, which a gradient scaler has divided by its scale before."""
        section = self.config.trainer
        if section.gradient_clip_val is not None:
            self.clip_gradients(
                optimizer, section.gradient_clip_val, section.gradient_clip_algorithm
            )

    def validation_step(self, batch: Batch, _: int) -> None:
        """Add a validation batch to the metrics."""
        inputs, targets = batch
        self.valid_stage.add(self.network(inputs), targets)

    def test_step(self, batch: Batch, _: int) -> None:
        """Add a test batch to the metrics, and collect its predictions."""
        inputs, targets = batch
        outputs = self.network(inputs)
        self.test_stage.add(outputs, targets)
        self.test_predictions.add(outputs, targets)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return the optimizer that the objective makes from the config, and its scheduler."""
        config = self.config
        optimizer = self.objective.make_optimizer(config.optimizer, self.network.parameters())
        if config.scheduler.changes_rate:
            epochs = config.trainer.max_epochs
            self.schedule = LearningRateSchedule(config.scheduler, optimizer, epochs)
            if self.schedule.scheduler is not None:  # Lightning saves its state
                return [optimizer], [self.schedule.scheduler]
        return optimizer


class NetworkData(pl.LightningDataModule):
    """Hands Lightning the batches of data in memory."""

    def __init__(self, data: ArrayData) -> None:
        super().__init__()
        self._data = data

    def train_dataloader(self) -> Loader:
        """Return the lists of training batches."""
        return self._data.training_batches()

    def val_dataloader(self) -> Loader:
        """Return the batches of the validation."""
        return self._data.evaluation_batches(self._data.valid)

    def test_dataloader(self) -> Loader:
        """Return the batches of the test."""
        return self._data.evaluation_batches(self._data.test)


@dataclass(eq=False)
class NetworkRecorder(EpochRecorder):
    """Records each finished epoch of a network: its metrics, learning rate and duration."""

    module: LightningNetwork
    columns: Sequence[str]
    _metrics: dict[str, float] = field(default_factory=dict, init=False)  # of the epoch that ended

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Leave the loaders as they are: EpochBatches has an order of its own for each epoch."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the learning rate of the epoch."""
        super().on_train_epoch_start(trainer, pl_module)
        if self.module.schedule is not None:
            self.module.schedule.begin_epoch(len(self.live_run.rows))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the epoch after its validation, and change the learning rate."""
        metrics = self.module.train_stage.finish()
        if self.module.valid_stage.has_batches:
            metrics |= self.module.valid_stage.finish()
        if (schedule := self.module.schedule) is not None:
            metrics[LR] = schedule.lr
            schedule.end_epoch(len(self.live_run.rows), metrics.get(f"{VALID}loss"))
        self._metrics = metrics
        super().on_train_epoch_end(trainer, pl_module)

    def epoch_metrics(self, trainer: pl.Trainer) -> dict[str, float]:
        """Return the metrics of the epoch that has ended."""
        return self._metrics

    def metric_columns(self, metrics: Collection[str]) -> list[str]:
        """Return the names of all metrics of the run, which are known before an epoch."""
        return [name for name in self.columns if name not in (STEP, SECONDS)]

    def test_metrics(self, trainer: pl.Trainer) -> dict[str, float]:
        """Return the metrics of the test."""
        return self.module.test_stage.finish()

    def test_predictions(self) -> NDArray[np.float64] | None:
        """Return true and predicted values of the test, see PredictionCollector.finish."""
        return self.module.test_predictions.finish()
