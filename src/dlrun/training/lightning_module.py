"""Train any network as a LightningModule, and measure each epoch of it."""

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torchmetrics import MeanAbsoluteError, Metric, R2Score, SumMetric
from torchmetrics.utilities.distributed import gather_all_tensors

from dlrun.config.named_classes import BY_UPDATE, SCHEDULERS, make_scheduler
from dlrun.config.network_sections import NetworkConfig, SchedulerConfig
from dlrun.errors import ConfigError, first_line
from dlrun.metrics import VALID
from dlrun.run_folder.recorded_metrics import LR, SECONDS, STEP
from dlrun.system.accelerator import check_batch_divisible
from dlrun.system.console import pluralize
from dlrun.training.data import ArrayData, Loader
from dlrun.training.objective import Loss, Objective
from dlrun.training.recorder import EpochRecorder

Batch = tuple[object, Tensor]  # inputs and targets


class DoubleR2Score(R2Score):
    """Computes R² in double precision, because single sums cancel out if the mean is large."""

    def __init__(self) -> None:
        super().__init__()
        if not torch.backends.mps.is_available():  # MPS has no double precision
            self.set_dtype(torch.float64)

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add predictions (batch,) and targets (batch,)."""
        dtype = self.residual.dtype
        super().update(preds.to(dtype), target.to(dtype))

    def compute(self) -> Tensor:
        """Return R², of equal targets 0, or NaN. For torchmetrics, squares below 1e-4 are 0."""
        squares = self.sum_squared_error
        variance = squares - self.sum_error * (self.sum_error / self.total)
        if variance <= 10 * torch.finfo(squares.dtype).eps * squares:  # rounding
            variance = self.residual
        return 1 - self.residual / variance


REGRESSION_METRICS: dict[str, Callable[[], Metric]] = {
    "mae": MeanAbsoluteError,
    "r2": DoubleR2Score,
}


class StageMetrics(nn.Module):
    """Computes the mean loss and the metrics over all batches of a stage: train, valid or test.

    The outputs are measured once, at its end: torchmetrics takes longer than a small network.
    """

    def __init__(self, stage: str, objective: Objective) -> None:
        super().__init__()
        self.stage = stage
        # Two sums: the MeanMetric of torchmetrics 1.9 drops NaN, or ignores its weights.
        self.loss_sum = SumMetric(nan_strategy="disable")
        self.rows = SumMetric(nan_strategy="disable")
        self.metrics: Any = nn.ModuleDict(objective.metrics())
        self._batches: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, loss: Tensor, predicted: Tensor, targets: Tensor) -> None:
        """Add a batch: its mean loss (), predictions (batch, ...), targets (batch, ...)."""
        if predicted.numel() == targets.numel():  # (batch,) and (batch, 1)
            predicted = predicted.view_as(targets)
        self._batches.append((loss.detach(), predicted.detach(), targets))

    def finish(self) -> dict[str, float]:
        """Return the metrics over all batches and processes without an undefined R²; reset them."""
        if self._batches:  # one of several processes may have none
            losses, predicted, targets = zip(*self._batches, strict=True)
            sizes = torch.tensor(
                [len(target) for target in targets], device=losses[0].device, dtype=torch.float
            )
            self.loss_sum.update(torch.stack(losses).float() @ sizes)
            self.rows.update(sizes.sum())
            for metric in self.metrics.values():
                metric.update(torch.cat(predicted), torch.cat(targets))
        rows = self.rows.compute()
        values = {"loss": self.loss_sum.compute() / rows}
        for name, metric in self.metrics.items():
            value = metric.compute()
            if name != "r2" or (rows > 1 and not value.isnan()):
                values[name] = value
        for metric in (self.loss_sum, self.rows, *self.metrics.values()):
            metric.reset()
        self._batches.clear()
        return {f"{self.stage}_{name}": float(value) for name, value in values.items()}


class PredictionCollector:
    """Collects the predictions for a test set, if there is one for each row."""

    def __init__(self, objective: Objective) -> None:
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

    def finish(self, device: torch.device) -> NDArray[np.float64] | None:
        """Return true and predicted classes and probabilities (3, n_rows), or values (2, n_rows).

        None if nothing was collected. If several processes share the test, each has tested every
        n-th row; their results are gathered on `device`.
        """
        height = 2 if self._objective.probabilities is None else 3
        own = torch.cat([torch.empty(height, 0, dtype=torch.float64), *self._batches], dim=1)
        rows: NDArray[np.float64] = own.numpy()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            shares = gather_all_tensors(own.T.contiguous().to(device))  # differ by a row at most
            rows = np.empty((height, sum(map(len, shares))))
            for rank, share in enumerate(shares):
                rows[:, rank :: len(shares)] = share.T.cpu().numpy()
        return rows if rows.size else None


class LearningRateSchedule:
    """Sets a new optimizer's learning rate for each epoch, or for each update.

    In the warm-up the rate rises evenly from epoch to epoch; the first epoch after it has the full
    rate, with which torch's scheduler begins. `lr` is the rate of the last update.
    """

    def __init__(
        self, config: SchedulerConfig, optimizer: Optimizer, *, epochs: int, updates: int
    ) -> None:
        self._optimizer, self._warmup, self._updates = optimizer, config.warmup_epochs, updates
        self.lr: float = optimizer.param_groups[0]["lr"]
        self._full_rates = [group["lr"] for group in optimizer.param_groups]
        self._by_update = config.name == BY_UPDATE
        self.scheduler: LRScheduler | None = None
        if config.name != "none":
            left = epochs - self._warmup
            try:
                self.scheduler = make_scheduler(
                    config.name, config.arguments, optimizer, epochs=left, updates=updates
                )
            except Exception as error:  # torch may raise anything
                reason = f"torch's {SCHEDULERS[config.name]}: {first_line(error)}"
                raise ConfigError(f"scheduler, for {updates} updates: {reason}") from None

    def begin_epoch(self, index: int) -> None:
        """Set the rate of an epoch (from 0) of the warm-up, or of the first one after it."""
        if 0 < self._warmup >= index:
            share = (index + 1) / (self._warmup + 1)
            for group, rate in zip(self._optimizer.param_groups, self._full_rates, strict=True):
                group["lr"] = share * rate

    def end_update(self) -> None:
        """Note the rate of an update, and set that of the next one if each has its own."""
        self.lr, scheduler = self._optimizer.param_groups[0]["lr"], self.scheduler
        if self._by_update and scheduler is not None and scheduler.last_epoch < self._updates - 1:
            scheduler.step()

    def end_epoch(self, index: int, valid_loss: float | None) -> None:
        """Set the rate of the next epoch; plateau needs the validation loss, if there is one."""
        scheduler = self.scheduler
        if index < self._warmup or scheduler is None or self._by_update:
            return
        if not isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step()
        elif valid_loss is not None:
            scheduler.step(valid_loss)


class LightningNetwork(pl.LightningModule):
    """Trains a network to minimise the loss of an objective, as a LightningModule.

    A call of training_step gets a list of batches: Lightning's work between two calls takes as long
    as a whole update of a small network.

    training_loss: the loss that is minimised; validation and test have the objective's.
    """

    def __init__(
        self, network: nn.Module, config: NetworkConfig, objective: Objective, training_loss: Loss
    ) -> None:
        super().__init__()
        self.network, self.objective, self.config = network, objective, config
        self.training_loss = training_loss
        self.batches = 1  # of an epoch, for the schedule of the learning rate
        self.schedule: LearningRateSchedule | None = None
        self._summed = 0  # batches whose gradients are summed for the next update
        self.automatic_optimization = False
        # A validation set may have fewer rows than there are processes.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.train_metrics = StageMetrics("train", objective)
        self.valid_metrics = StageMetrics("valid", objective)
        self.test_metrics = StageMetrics("test", objective)
        self.test_predictions = PredictionCollector(objective)
        self.predictions: NDArray[np.float64] | None = None  # see PredictionCollector.finish

    def training_step(self, batches: list[Batch], index: int) -> None:
        """Update the weights once for each of the training batches, or for the mean of several.

        The last batches of an epoch, which may be fewer, count no more than others.
        """
        section = self.config.trainer
        # Lightning's wrappers take a third of the time of a small network's update, and are needed
        # only for a gradient scaler, several processes, callbacks, which read global_step, or
        # on_before_optimizer_step.
        trainer, clips = self.trainer, section.gradient_clip_val is not None
        scales = getattr(trainer.precision_plugin, "scaler", None) is not None
        wrapped = clips or scales or trainer.world_size > 1 or bool(trainer.loggers)
        optimizer = self.optimizers(use_pl_optimizer=wrapped)
        assert not isinstance(optimizer, list)
        backward = self.manual_backward if wrapped else Tensor.backward
        mixed = "mixed" in str(trainer.precision)
        # As in Lightning's own steps, the gradients and the optimizer run outside of autocast.
        outside = torch.autocast(self.device.type, enabled=False) if mixed else nullcontext()
        every = section.accumulate_grad_batches
        is_last_list = index + 1 == trainer.num_training_batches
        for place, batch in enumerate(batches, start=1):
            loss = self._measure(self.train_metrics, *batch)
            with outside:
                if self._summed == 0:
                    optimizer.zero_grad()
                backward(loss if every == 1 else loss / every)
                self._summed += 1
                if self._summed == every or (is_last_list and place == len(batches)):
                    optimizer.step()
                    self._summed = 0
                    if self.schedule is not None:
                        self.schedule.end_update()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip the gradients, which a gradient scaler has divided by its scale before."""
        section = self.config.trainer
        if section.gradient_clip_val is not None:
            self.clip_gradients(
                optimizer, section.gradient_clip_val, section.gradient_clip_algorithm
            )

    def validation_step(self, batch: Batch, _: int) -> None:
        """Add a validation batch to the metrics."""
        self._measure(self.valid_metrics, *batch)

    def test_step(self, batch: Batch, _: int) -> None:
        """Add a test batch to the metrics, and collect its predictions."""
        self._measure(self.test_metrics, *batch)

    def _measure(self, metrics: StageMetrics, inputs: object, targets: Tensor) -> Tensor:
        outputs = self.network(inputs)
        if metrics is self.test_metrics:
            self.test_predictions.add(outputs, targets)
        trains = metrics is self.train_metrics
        loss = (self.training_loss if trains else self.objective.loss)(outputs, targets)
        metrics.add(loss, self.objective.predict(outputs), targets)
        return loss

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return the optimizer that the objective makes from the config, and its scheduler."""
        config, section = self.config, self.config.trainer
        optimizer = self.objective.optimizer(config.optimizer, self.network.parameters())
        if config.scheduler.changes_rate:
            updates = section.max_epochs * math.ceil(self.batches / section.accumulate_grad_batches)
            self.schedule = LearningRateSchedule(
                config.scheduler, optimizer, epochs=section.max_epochs, updates=updates
            )
            if self.schedule.scheduler is not None:  # Lightning saves its state
                return [optimizer], [self.schedule.scheduler]
        return optimizer


class NetworkData(pl.LightningDataModule):
    """Hands Lightning the batches of data in memory, which lie on the device if they fit there."""

    def __init__(self, data: ArrayData, config: NetworkConfig) -> None:
        super().__init__()
        self._data, self._is_placed = data, False
        self._limits = config.trainer

    def setup(self, stage: str) -> None:
        """Place the data. Raises ConfigError if the processes cannot share a batch."""
        trainer = self.trainer
        assert trainer is not None
        self._process = trainer.global_rank, trainer.world_size
        check_batch_divisible(self._data.batch_size, trainer.world_size)
        if (rows := len(self._data.train)) < trainer.world_size:
            problem = (
                f"{pluralize(rows, 'row')} of training data for {trainer.world_size} processes"
            )
            raise ConfigError(problem, "fewer trainer.devices, or more rows")
        if not self._is_placed:
            self._data, self._is_placed = self._data.on(trainer.strategy.root_device), True
        module, limit = trainer.lightning_module, self._limits.limit_train_batches
        assert isinstance(module, LightningNetwork)
        module.batches = self._data.count_training_batches(trainer.world_size, limit)

    def train_dataloader(self) -> Loader:
        """Return the lists of training batches of this process."""
        return self._data.training_batches(*self._process, limit=self._limits.limit_train_batches)

    def val_dataloader(self) -> Loader:
        """Return the batches of the validation of this process."""
        limit = self._limits.limit_val_batches
        return self._data.evaluation_batches(self._data.valid, *self._process, limit=limit)

    def test_dataloader(self) -> Loader:
        """Return the batches of the test of this process."""
        limit = self._limits.limit_test_batches
        return self._data.evaluation_batches(self._data.test, *self._process, limit=limit)


def epoch_columns(objective: Objective, *, with_lr: bool = False) -> list[str]:
    """Return the columns of metrics.csv, which has a row for each epoch."""
    metrics = [f"{stage}_{name}" for stage in ("train", "valid") for name in objective.columns()]
    return [STEP, *metrics, *([LR] if with_lr else []), SECONDS]


@dataclass(eq=False)
class NetworkRecorder(EpochRecorder):
    """Records each finished epoch of a network."""

    config: NetworkConfig
    module: LightningNetwork

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Leave the loaders as they are: EpochBatches has an order of its own for each epoch."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Set the learning rate of the epoch."""
        super().on_train_epoch_start(trainer, pl_module)
        if self.module.schedule is not None:
            self.module.schedule.begin_epoch(trainer.current_epoch)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the epoch after its validation, and change the learning rate."""
        metrics = self.module.train_metrics.finish()
        epoch = len(self.steps.rows)  # from 0
        if (epoch + 1) % self.config.trainer.check_val_every_n_epoch == 0:
            metrics |= self.module.valid_metrics.finish()
        if trainer.loggers:  # for callbacks that follow a metric
            pl_module.log_dict({**metrics}, logger=False)
        if (schedule := self.module.schedule) is not None:
            metrics[LR] = schedule.lr
            schedule.end_epoch(epoch, metrics.get(f"{VALID}loss"))
        self._metrics = metrics
        super().on_train_epoch_end(trainer, pl_module)

    def metrics(self, trainer: pl.Trainer) -> dict[str, float]:
        """Return the metrics of the epoch."""
        return self._metrics

    def row(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return a row with all columns of the run."""
        columns = epoch_columns(self.module.objective, with_lr=self.module.schedule is not None)
        names = [name for name in columns if name not in (STEP, SECONDS)]
        return {name: metrics.get(name, math.nan) for name in names}

    def tested(self, trainer: pl.Trainer) -> dict[str, float]:
        """Return the metrics of the test, and leave its predictions in the module."""
        collected = self.module.test_predictions
        self.module.predictions = collected.finish(trainer.strategy.root_device)
        return self.module.test_metrics.finish()
