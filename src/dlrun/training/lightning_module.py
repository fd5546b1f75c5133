"""Wrap a network as a LightningModule, which trains it and measures loss and metrics by epoch."""

from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, ReduceLROnPlateau, StepLR

from dlrun.config.network_sections import NetworkConfig, SchedulerConfig
from dlrun.metrics import VALID
from dlrun.run_folder.recorded_metrics import LR, SECONDS, STEP
from dlrun.training.data import ArrayData, Loader
from dlrun.training.epoch_recorder import EpochRecorder
from dlrun.training.objective import Loss, TrainingObjective

Batch = tuple[object, Tensor]  # inputs and targets


class StageMetrics:
    """Computes the mean loss and the metrics over all batches of a stage: train, valid or test.

    The predictions are measured once, at its end, which takes less time than after each batch.
    """

    def __init__(self, stage: str, objective: TrainingObjective) -> None:
        self.stage = stage
        self.metrics = objective.metrics
        self._batches: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, loss: Tensor, predicted: Tensor, targets: Tensor) -> None:
        """Add a batch: its mean loss (), predictions (batch, ...), targets (batch, ...)."""
        if predicted.numel() == targets.numel():  # (batch,) and (batch, 1)
            predicted = predicted.view_as(targets)
        self._batches.append((loss.detach(), predicted.detach(), targets))

    def finish(self) -> dict[str, float]:
        """Return the metrics over all batches, but no undefined R², and reset them."""
        losses, predicted, targets = zip(*self._batches, strict=True)
        self._batches.clear()
        rows = [len(target) for target in targets]
        weights = torch.tensor(rows, device=losses[0].device, dtype=torch.float)
        values = {"loss": torch.stack(losses).float() @ weights / weights.sum()}
        for name, measure in self.metrics.items():
            value = measure(torch.cat(predicted), torch.cat(targets))
            if name != "r2" or not value.isnan():
                values[name] = value
        return {f"{self.stage}_{name}": float(value) for name, value in values.items()}


class PredictionCollector:
    """Collects a network's predictions of a test set, if the network makes one for each row."""

    def __init__(self, objective: TrainingObjective) -> None:
        self._objective = objective
        self._batches: list[Tensor] = []

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Add a batch's outputs (batch, ...) and its classes or values (batch, ...)."""
        outputs = outputs.detach().cpu()  # MPS has no float64
        predicted = self._objective.predict(outputs)
        if not predicted.numel() == targets.numel() == len(targets):
            return
        columns = [targets.cpu().flatten(), predicted.flatten()]
        if self._objective.probabilities is not None:
            probabilities = self._objective.probabilities(outputs)
            columns.append(probabilities.gather(-1, predicted[:, None])[:, 0])
        self._batches.append(torch.stack([column.double() for column in columns]))

    def finish(self) -> NDArray[np.float64] | None:
        """Return true and predicted classes and probabilities (3, n_rows), or values (2, n_rows).

        None if nothing was collected.
        """
        return torch.cat(self._batches, dim=1).numpy() if self._batches else None


class LearningRateSchedule:
    """Sets the optimizer's learning rate for each epoch: a warm-up, then torch's scheduler.

    In the warm-up the rate rises evenly from epoch to epoch; the first epoch after it has the full
    rate, with which torch's scheduler begins.
    """

    def __init__(self, config: SchedulerConfig, optimizer: Optimizer, epochs: int) -> None:
        self._optimizer = optimizer
        self._warmup = config.warmup_epochs
        self._full_rates = [group["lr"] for group in optimizer.param_groups]
        self.scheduler = make_scheduler(config, optimizer, epochs - self._warmup)

    @property
    def lr(self) -> float:
        """Return the learning rate of the epoch, of the first group of parameters."""
        rate: float = self._optimizer.param_groups[0]["lr"]
        return rate

    def begin_epoch(self, index: int) -> None:
        """Set the rate of an epoch (from 0) of the warm-up, or of the first one after it."""
        if 0 < self._warmup >= index:
            share = (index + 1) / (self._warmup + 1)
            for group, rate in zip(self._optimizer.param_groups, self._full_rates, strict=True):
                group["lr"] = share * rate

    def end_epoch(self, index: int, valid_loss: float) -> None:
        """Set the rate of the next epoch; plateau needs the validation loss."""
        scheduler = self.scheduler
        if index < self._warmup or scheduler is None:
            return
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(valid_loss)
        else:
            scheduler.step()


def make_scheduler(
    config: SchedulerConfig, optimizer: Optimizer, epochs: int
) -> LRScheduler | None:
    """Return torch's learning-rate scheduler that a config names, or None if it names none."""
    arguments = config.model_dump(include={"step_size", "gamma", "patience"}, exclude_none=True)
    match config.name:
        case "cosine":
            return CosineAnnealingLR(optimizer, T_max=epochs)
        case "step":
            return StepLR(optimizer, **arguments)
        case "plateau":
            if "gamma" in arguments:
                arguments["factor"] = arguments.pop("gamma")
            return ReduceLROnPlateau(optimizer, **arguments)
    return None


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
        self.training_loss = training_loss
        self.schedule: LearningRateSchedule | None = None
        self.automatic_optimization = False
        if config.trainer.precision == "64-true":  # a checkpoint is loaded before Lightning does so
            self.double()
        self.train_metrics = StageMetrics("train", objective)
        self.valid_metrics = StageMetrics("valid", objective)
        self.test_metrics = StageMetrics("test", objective)
        self.test_predictions = PredictionCollector(objective)

    def training_step(self, batches: list[Batch], _: int) -> None:
        """Update the weights once for each batch in a list."""
        # Lightning's wrappers take a third of the time of a small network's update, and are needed
        # only for a gradient scaler, on_before_optimizer_step, or a probe, whose trainer has a
        # logger.
        trainer = self.trainer
        clips = self.config.trainer.gradient_clip_val is not None
        scales = getattr(trainer.precision_plugin, "scaler", None) is not None
        wrapped = clips or scales or bool(trainer.loggers)
        optimizer = self.optimizers(use_pl_optimizer=wrapped)
        assert not isinstance(optimizer, list)
        backward = self.manual_backward if wrapped else Tensor.backward
        mixed = "mixed" in str(trainer.precision)
        # As in Lightning's own steps, the gradients and the optimizer run outside of autocast.
        outside = torch.autocast(self.device.type, enabled=False) if mixed else nullcontext()
        for batch in batches:
            loss = self._measure_batch(self.train_metrics, *batch)
            with outside:
                optimizer.zero_grad()
                backward(loss)
                optimizer.step()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip the gradients, which a gradient scaler has divided by its scale before."""
        if (bound := self.config.trainer.gradient_clip_val) is not None:
            self.clip_gradients(optimizer, bound, "norm")

    def validation_step(self, batch: Batch, _: int) -> None:
        """Add a validation batch to the metrics."""
        self._measure_batch(self.valid_metrics, *batch)

    def test_step(self, batch: Batch, _: int) -> None:
        """Add a test batch to the metrics, and collect its predictions."""
        self._measure_batch(self.test_metrics, *batch)

    def _measure_batch(self, metrics: StageMetrics, inputs: object, targets: Tensor) -> Tensor:
        outputs = self.network(inputs)
        if metrics is self.test_metrics:
            self.test_predictions.add(outputs, targets)
        trains = metrics is self.train_metrics
        loss = (self.training_loss if trains else self.objective.loss)(outputs, targets)
        metrics.add(loss, self.objective.predict(outputs), targets)
        return loss

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


def epoch_columns(objective: TrainingObjective, *, with_lr: bool = False) -> list[str]:
    """Return the column names of metrics.csv for a network, which has one row per epoch."""
    names = ["loss", *objective.metrics]
    metrics = [f"{stage}_{name}" for stage in ("train", "valid") for name in names]
    return [STEP, *metrics, *([LR] if with_lr else []), SECONDS]


@dataclass(eq=False)
class NetworkRecorder(EpochRecorder):
    """Records each finished epoch of a network: its metrics, learning rate and duration."""

    module: LightningNetwork
    columns: Sequence[str]

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Leave the loaders as they are: EpochBatches has an order of its own for each epoch."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the learning rate of the epoch."""
        super().on_train_epoch_start(trainer, pl_module)
        if self.module.schedule is not None:
            self.module.schedule.begin_epoch(trainer.current_epoch)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the epoch after its validation, and change the learning rate."""
        metrics = self.module.train_metrics.finish() | self.module.valid_metrics.finish()
        if (schedule := self.module.schedule) is not None:
            metrics[LR] = schedule.lr
            schedule.end_epoch(len(self.progress.rows), metrics[f"{VALID}loss"])
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
        return self.module.test_metrics.finish()

    def test_predictions(self) -> NDArray[np.float64] | None:
        """Return true and predicted values of the test, see PredictionCollector.finish."""
        return self.module.test_predictions.finish()
