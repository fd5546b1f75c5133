"""Wrap a network as a LightningModule, which trains it and measures loss and metrics by epoch."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer

from dlrun.config.network_sections import NetworkConfig
from dlrun.metrics import VALID
from dlrun.runs.metrics_csv import LR
from dlrun.training.array_batches import ArrayData, Loader
from dlrun.training.learning_rate import LearningRateSchedule
from dlrun.training.objective import Loss, TrainingObjective
from dlrun.training.stage_metrics import PREDICTED_ROWS, StageMetrics, predict_rows

Batch = tuple[object, Tensor]  # inputs and targets


class LightningNetwork(pl.LightningModule):
    """Trains a network by an objective's loss, as a LightningModule.

    A call of training_step gets a list of batches: Lightning's work between two calls takes as long
    as a whole update of a small network.

    training_loss: the loss that is minimised; validation and test have the objective's.

    The hooks stand in the order in which Lightning calls them.
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
        self._batches_since_update = 0
        if config.trainer.precision == "64-true":  # a checkpoint is loaded before Lightning does so
            self.double()
        self.train_stage = StageMetrics("train", objective, training_loss)
        self.valid_stage = StageMetrics("valid", objective, objective.loss)
        self.test_stage = StageMetrics("test", objective, objective.loss)
        self._valid_loss: float | None = None  # the epoch's, if it was validated

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Make the optimizer that the config names, and the schedule of its rate."""
        config = self.config
        optimizer = self.objective.make_optimizer(config.optimizer, self.network.parameters())
        if config.scheduler.changes_rate:
            epochs = config.trainer.max_epochs
            self.schedule = LearningRateSchedule(config.scheduler, optimizer, epochs)
            if self.schedule.scheduler is not None:  # Lightning saves its state
                return [optimizer], [self.schedule.scheduler]
        return optimizer

    def on_train_epoch_start(self) -> None:
        """Set the learning rate of an epoch of the warm-up."""
        if self.schedule is not None:
            self.schedule.set_warmup_rate(self.current_epoch)

    def training_step(self, batches: list[Batch], index: int) -> None:
        """Update the weights once for each batch in a list, or once for each few batches.

        How many batches make an update is `trainer.accumulate_grad_batches`.
        """
        through_lightning = self._needs_lightning_wrappers()
        is_last_list = index + 1 == self.trainer.num_training_batches
        for place, (inputs, targets) in enumerate(batches, start=1):
            loss = self.train_stage.add(self.network(inputs), targets)
            is_last_batch = is_last_list and place == len(batches)
            self._update(loss, is_last=is_last_batch, through_lightning=through_lightning)

    def _needs_lightning_wrappers(self) -> bool:
        """Tell whether an update needs Lightning's wrappers of the optimizer and of backward.

        The wrappers take a third of the time of a small network's update.
        """
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]  # declared late
        return (
            # Several processes average their gradients.
            self.trainer.world_size > 1
            # The gradients are clipped in on_before_optimizer_step.
            or self.config.trainer.gradient_clip_val is not None
            # The loss of half precision is scaled, so that small gradients do not become 0.
            or getattr(self.trainer.precision_plugin, "scaler", None) is not None
            # A callback looks at the loss or the gradients.
            or any(is_overridden("on_before_backward", callback) for callback in callbacks)
        )

    def _update(self, loss: Tensor, *, is_last: bool, through_lightning: bool) -> None:
        """Compute the gradients of a batch, and update the weights if enough batches have theirs.

        loss: the batch's ().
        is_last: whether the batch ends the epoch. The last update may be of fewer batches, each of
        which counts no more than others.
        """
        optimizer = self.optimizers(use_pl_optimizer=through_lightning)
        assert not isinstance(optimizer, list)
        batches_per_update = self.config.trainer.accumulate_grad_batches
        with self._without_autocast():
            if batches_per_update > 1:
                loss = loss / batches_per_update
            if self._batches_since_update == 0:
                optimizer.zero_grad()
            if through_lightning:
                self.manual_backward(loss)
            else:
                loss.backward()  # type: ignore[no-untyped-call]
            self._batches_since_update += 1
            if is_last or self._batches_since_update == batches_per_update:
                optimizer.step()
                self._batches_since_update = 0

    def _without_autocast(self) -> AbstractContextManager[object]:
        """Leave the autocast of mixed precision in a `with` block, as Lightning's own steps do."""
        is_mixed = "mixed" in str(self.trainer.precision)
        return torch.autocast(self.device.type, enabled=False) if is_mixed else nullcontext()

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

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of the validation, which comes before the end of the training epoch."""
        metrics = self.valid_stage.finish()
        self._valid_loss = metrics[f"{VALID}loss"]
        self._log_metrics(metrics)

    def on_train_epoch_end(self) -> None:
        """Log the metrics and the learning rate of the training, then step torch's scheduler."""
        if self.trainer.world_size > 1:
            self.train_stage.gather()
        metrics = self.train_stage.finish()
        if self.schedule is not None:
            metrics[LR] = self.schedule.lr
            self.schedule.step_scheduler(self.current_epoch, self._valid_loss)
        self._valid_loss = None
        self._log_metrics(metrics)

    def test_step(self, batch: Batch, _: int) -> dict[str, Tensor | None]:
        """Add a test batch to the metrics, and return its predictions."""
        inputs, targets = batch
        outputs = self.network(inputs)
        self.test_stage.add(outputs, targets)
        return {PREDICTED_ROWS: predict_rows(self.objective, outputs, targets)}

    def on_test_epoch_end(self) -> None:
        """Log the metrics of the test."""
        self._log_metrics(self.test_stage.finish())

    def _log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Log metrics of an epoch for callbacks, without `self.log`.

        A call of `self.log` takes 0.6 ms: for the four metrics of an epoch half as long as the
        whole epoch of a small network.
        """
        values = {name: torch.tensor(value, dtype=torch.float64) for name, value in metrics.items()}
        self.trainer.callback_metrics.update(values)


class NetworkData(pl.LightningDataModule):
    """Hands Lightning the batches of data in memory."""

    def __init__(self, data: ArrayData) -> None:
        super().__init__()
        self._data = data

    def train_dataloader(self) -> Loader:
        """Make the lists of training batches of this process."""
        assert self.trainer is not None
        return self._data.training_batches(self.trainer.global_rank, self.trainer.world_size)

    def val_dataloader(self) -> Loader:
        return self._data.evaluation_batches(self._data.valid)

    def test_dataloader(self) -> Loader:
        return self._data.evaluation_batches(self._data.test)
