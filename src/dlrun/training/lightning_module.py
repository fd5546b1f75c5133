"""Train any network as a LightningModule, and record each finished epoch in a callback."""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.callbacks import Checkpoint
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics import MetricCollection, SumMetric
from torchmetrics.utilities.distributed import gather_all_tensors

from dlrun.config.network_sections import Limit, NetworkConfig
from dlrun.networks.files import serialize_tensors
from dlrun.run_folder.progress_recorder import ProgressRecorder, check_metrics_finite
from dlrun.run_folder.recorded_metrics import (
    LR,
    NO_METRICS,
    SECONDS,
    STEP,
    VALID,
    format_metrics_line,
    is_stopped_early,
    kept_epoch,
)
from dlrun.system.console import ProgressHandle, format_position
from dlrun.system.signals import StopRequest
from dlrun.training.data import ArrayData, BatchDataset
from dlrun.training.objective import Loss, Objective
from dlrun.training.schedule import LearningRateSchedule

Batch = tuple[object, Tensor]  # inputs and targets


class StageMetrics(nn.Module):
    """Computes the mean loss and the metrics over all batches of a stage: train, valid or test.

    The batches' outputs are kept until the stage ends and measured once: a call of torchmetrics
    per batch would take longer than an update of the small networks.
    """

    def __init__(self, stage: str, objective: Objective) -> None:
        super().__init__()
        self.stage = stage
        # Two sums: the MeanMetric of torchmetrics 1.9 drops NaN, or ignores its weights.
        self.loss_sum = SumMetric(nan_strategy="disable")
        self.rows = SumMetric(nan_strategy="disable")
        metrics = objective.metrics()
        self._names = list(metrics)
        self.metrics = MetricCollection({**metrics}, compute_groups=False)
        self._batches: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, loss: Tensor, predicted: Tensor, targets: Tensor) -> None:
        """Add a batch: its mean loss (), predictions (batch, ...), targets (batch, ...)."""
        if predicted.numel() == targets.numel():  # (batch,) and (batch, 1)
            predicted = predicted.view_as(targets)
        self._batches.append((loss.detach(), predicted.detach(), targets))

    def finish(self) -> dict[str, float]:
        """Return the metrics over all batches and processes, and reset them.

        One of several processes may have no batch: it adds nothing to the sums. R² of a single row
        is left out, because it is not defined.
        """
        if self._batches:
            losses, predicted, targets = zip(*self._batches, strict=True)
            sizes = torch.tensor(
                [len(target) for target in targets], device=losses[0].device, dtype=torch.float
            )
            self.loss_sum.update(torch.stack(losses).float() @ sizes)
            self.rows.update(sizes.sum())
            self.metrics.update(torch.cat(predicted), torch.cat(targets))
        found = self.metrics.compute()  # in the order of the alphabet
        rows = self.rows.compute()
        values = {"loss": self.loss_sum.compute() / rows}
        values |= {name: found[name] for name in self._names if rows > 1 or name != "r2"}
        for metric in (self.loss_sum, self.rows, self.metrics):
            metric.reset()
        self._batches.clear()
        return {f"{self.stage}_{name}": float(value) for name, value in values.items()}


class PredictionCollector:
    """Collects the predictions for a test set, batch by batch, without keeping the inputs.

    Outputs with several predictions for a row are not collected.
    """

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

        The rows are in order. Returns None if nothing was collected. If several processes share
        the test, each has tested every n-th row; their results are gathered on `device`.
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


class LightningNetwork(pl.LightningModule):
    """Trains a network to minimise the loss of an objective, as a LightningModule.

    A call of training_step gets a list of batches: Lightning's work between two calls takes as long
    as a whole update of a small network.

    training_loss: the loss that is minimised; validation and test have the objective's.
    """

    def __init__(
        self,
        network: nn.Module,
        config: NetworkConfig,
        objective: Objective,
        training_loss: Loss,
    ) -> None:
        super().__init__()
        self.network, self.objective, self.config = network, objective, config
        self.training_loss = training_loss
        self.schedule: LearningRateSchedule | None = None  # made when the training starts
        self._summed = 0  # batches whose gradients are summed for the next update
        self.automatic_optimization = False
        # A validation set may have fewer rows than there are processes.
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.train_metrics = StageMetrics("train", objective)
        self.valid_metrics = StageMetrics("valid", objective)
        self.test_metrics = StageMetrics("test", objective)
        self.test_predictions = PredictionCollector(objective)

    def training_step(self, batches: list[Batch], index: int) -> None:
        """Update the weights once for each of the given training batches, or for several of them.

        The gradients of several batches are averaged (`accumulate_grad_batches`), as by Lightning:
        the last batches of an epoch, which may be fewer, count no more than others.
        """
        section = self.config.trainer
        # Lightning's wrappers take a third of the time of a small network's update, and are needed
        # only for a gradient scaler, several processes, callbacks, which read global_step, or
        # on_before_optimizer_step.
        trainer, clips = self.trainer, section.gradient_clip_val is not None
        scales, several = _gradient_scaler(trainer) is not None, trainer.world_size > 1
        wrapped = clips or scales or several or bool(trainer.loggers)
        optimizer: Any = self.optimizers(use_pl_optimizer=wrapped)
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

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
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
        self._measure(self.test_metrics, *batch, self.test_predictions)

    def _measure(
        self,
        metrics: StageMetrics,
        inputs: object,
        targets: Tensor,
        collector: PredictionCollector | None = None,
    ) -> Tensor:
        outputs = self.network(inputs)
        if collector is not None:
            collector.add(outputs, targets)
        trains = metrics is self.train_metrics
        loss = (self.training_loss if trains else self.objective.loss)(outputs, targets)
        metrics.add(loss, self.objective.predict(outputs), targets)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer that the objective makes from the config."""
        return self.objective.optimizer(self.config.optimizer, self.network.parameters())


def epoch_columns(objective: Objective, *, with_lr: bool = False) -> list[str]:
    """Return the columns of metrics.csv, which has a row for each epoch."""
    metrics = [f"{stage}_{name}" for stage in ("train", "valid") for name in objective.columns()]
    return [STEP, *metrics, *([LR] if with_lr else []), SECONDS]


@dataclass(eq=False)
class TrainingRecorder(pl.Callback):
    """Base class of what records epochs: moves the bar after each batch, and stops at a signal."""

    steps: ProgressRecorder
    bar: ProgressHandle

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Replace Lightning's signal handlers."""
        self.steps.stop.install_handlers()

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: object, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Advance the progress bar, and stop the training if a signal was received."""
        share = (batch_idx + 1) / float(trainer.num_training_batches)
        self.bar.to(len(self.steps.rows) + share)
        stop_together(trainer, self.steps.stop)


@dataclass(eq=False)
class EpochRecorder(TrainingRecorder):
    """Records each finished epoch of a run; epochs count from 1, also in a resumed run.

    The order of the batches and every random number of an epoch depend only on the seed and the
    epoch (data.EpochBatches, and here), so no random state has to be stored.
    """

    module: LightningNetwork
    data: ArrayData
    config: NetworkConfig
    columns: list[str]
    start: Mapping[str, Any] | None  # the checkpoint from which a resumed run continues
    callbacks: Sequence[pl.Callback]  # all others, whose states are stored too
    best: Mapping[str, Tensor] | None = field(init=False)  # weights, if the config keeps the best

    def __post_init__(self) -> None:
        self.best = (self.start or {}).get("best")

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore the callbacks of a resumed run, and Lightning's numbers of epochs and updates."""
        if self.start is None:
            return
        loop: Any = trainer.fit_loop  # its types lack `processed`
        states = self.start.get("callbacks", {})
        loop.epoch_progress.current.processed = len(self.steps.rows)
        updates = loop.epoch_loop.manual_optimization.optim_step_progress.total
        updates.completed = self.start.get("updates", 0)
        for callback in self.callbacks:
            if state := states.get(callback.state_key):
                callback.load_state_dict(state)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore the optimizer of a resumed run, and replace Lightning's signal handlers.

        Lightning's own handler broadcasts among the processes, whatever they are doing.
        """
        self.steps.stop.install_handlers()
        if self.config.scheduler.changes_rate:
            self.module.schedule = self._make_schedule(trainer)
        if self.start is not None:
            trainer.optimizers[0].load_state_dict(self.start["optimizer"])
            if self.module.schedule is not None:
                self.module.schedule.load_state_dict(self.start["schedule"])
            if self.start["scaler"]:
                _gradient_scaler(trainer).load_state_dict(self.start["scaler"])

    def _make_schedule(self, trainer: pl.Trainer) -> LearningRateSchedule:
        section, epochs = self.config.trainer, self.config.trainer.max_epochs
        batches = self.data.count_training_batches(trainer.world_size, section.limit_train_batches)
        updates = epochs * math.ceil(batches / section.accumulate_grad_batches)
        return LearningRateSchedule(
            self.config.scheduler, trainer.optimizers[0], epochs=epochs, updates=updates
        )

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start to measure the time of an epoch; set its learning rate and whether to validate."""
        self.began, done = time.perf_counter(), len(self.steps.rows)
        if self.module.schedule is not None:
            self.module.schedule.begin_epoch(done)
        is_validated = (done + 1) % self.config.trainer.check_val_every_n_epoch == 0
        trainer.check_val_every_n_epoch = 1 if is_validated else sys.maxsize

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Seed the random generators before the first batch, after Lightning has used them."""
        if batch_idx == 0:
            seed_torch(derive_seed(self.config.seed, len(self.steps.rows)), pl_module.device)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        module: object,
        outputs: object,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stop the validation if a signal was received."""
        self._stop_after(batch_idx, trainer, self.data.valid, self.config.trainer.limit_val_batches)

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        module: object,
        outputs: object,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stop the test if a signal was received."""
        self._stop_after(batch_idx, trainer, self.data.test, self.config.trainer.limit_test_batches)

    def _stop_after(
        self, batch_idx: int, trainer: pl.Trainer, rows: BatchDataset, limit: Limit
    ) -> None:
        """Stop after a batch that all processes have, if a signal was received."""
        if batch_idx < self.data.common_batches(rows, trainer.world_size, limit):
            stop_together(trainer, self.steps.stop)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the epoch after its validation; raise DlrunError if a metric is not finite."""
        metrics, schedule = self.module.train_metrics.finish(), self.module.schedule
        if trainer.check_val_every_n_epoch == 1:
            metrics |= self.module.valid_metrics.finish()
        number = len(self.steps.rows) + 1
        values = metrics | {STEP: number, SECONDS: time.perf_counter() - self.began}
        check_metrics_finite(metrics, f"epoch {number}")
        if trainer.loggers:  # for callbacks that follow a metric
            pl_module.log_dict({**metrics}, logger=False)
        if schedule is not None:
            values[LR] = schedule.lr
            schedule.end_epoch(number - 1, metrics.get(f"{VALID}loss"))
        self.measured = values

    def finish_epoch(self, trainer: pl.Trainer) -> None:
        """Record the epoch that was measured; end the training if it no longer improves."""
        values, schedule, number = self.measured, self.module.schedule, len(self.steps.rows) + 1
        row = {name: values.get(name, math.nan) for name in self.columns}
        weights, scaler = self.module.network.state_dict(), _gradient_scaler(trainer)
        state = {
            "network": weights,
            "optimizer": trainer.optimizers[0].state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else {},
            "schedule": schedule.state_dict() if schedule is not None else {},
            "callbacks": {one.state_key: one.state_dict() for one in self.callbacks},
            "updates": trainer.global_step,
        }
        if by := self.config.keeps_best_by:
            if kept_epoch([*self.steps.rows, row], by) == number:
                self.best = {name: tensor.clone() for name, tensor in weights.items()}
            state["best"] = self.best
        position = format_position(number, self.config.trainer.max_epochs)
        metrics = {name: one for name, one in values.items() if name not in NO_METRICS}
        line = f"epoch {position}  {format_metrics_line(metrics)}"
        self.steps.finish(row, line, serialize_tensors(state))
        if is_stopped_early(self.steps.rows, self.config.early_stopping):
            trainer.should_stop = True


@dataclass(eq=False)
class EpochSaver(Checkpoint):
    """Has a recorder finish each epoch after all other callbacks, whose states it stores.

    Lightning calls callbacks of the class Checkpoint last.
    """

    recorder: EpochRecorder

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Finish the epoch that the recorder has measured."""
        self.recorder.finish_epoch(trainer)


def derive_seed(*place: int) -> int:
    """Return a seed that depends on a run's seed and a place in the run, such as an epoch."""
    return int(np.random.SeedSequence(place).generate_state(1)[0])


def seed_torch(seed: int, device: torch.device) -> None:
    """Seed torch's random generators on the CPU and on a device.

    For a CPU this is far less work than `torch.manual_seed`, which takes 1 ms, and keeps a stack
    trace each time for devices that are not there.
    """
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def stop_together(trainer: pl.Trainer, stop: StopRequest) -> None:
    """Raise the exception of a signal that any process received, in all at the same batch.

    All processes must call this: not after a last batch that only some of them have.
    """
    number = stop.received
    if trainer.world_size > 1:
        shared = torch.tensor(number, device=trainer.strategy.root_device)
        number = int(trainer.strategy.reduce(shared, reduce_op="max"))
    stop.raise_for(number)


def _gradient_scaler(trainer: pl.Trainer) -> Any:
    """Return the gradient scaler of 16-mixed precision; None for every other precision."""
    return getattr(trainer.precision_plugin, "scaler", None)
