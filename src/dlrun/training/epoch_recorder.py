"""Record each finished epoch of a training, with the state from which a stopped run continues."""

import copy
import math
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from dlrun.config.network_sections import LightningConfig
from dlrun.metrics import VALID, describe_metric, format_metrics_line
from dlrun.runs.metrics_csv import NO_METRICS, SECONDS, STEP
from dlrun.runs.ranked_metrics import is_stopped_early, kept_epoch
from dlrun.runs.steps import Steps
from dlrun.system.text import format_position
from dlrun.training.divergence import check_metrics_finite
from dlrun.training.lightning_checkpoint import LightningCheckpoint
from dlrun.training.user_module_outputs import values_by_column
from dlrun.training.workarounds import begin_next_epoch_when_resumed


class EpochRecorder(pl.Callback):
    """Records each finished epoch: what the module has logged, and the state that a resume needs.

    An epoch is recorded when the next one starts, or after the last: only then have all callbacks
    seen its end.
    """

    def __init__(
        self,
        steps: Steps,
        config: LightningConfig,
        checkpoint: LightningCheckpoint,
        columns: Sequence[str] = (),
    ) -> None:
        self.steps = steps
        self.config = config
        self.checkpoint = checkpoint
        # The columns of metrics.csv, if they are known before an epoch.
        self.columns = columns
        # Whether early stopping or a callback has ended the training.
        self.is_stopped = False
        # The weights of the best epoch, if that epoch is kept.
        self.best_weights: Mapping[str, Tensor] | None = None
        # Whether the end is asked for; `min_epochs` and `min_steps` may put it off.
        self._should_stop = False
        # All values that the module had logged by the end of the last recorded epoch.
        self._logged_before: dict[str, Tensor] = {}
        self._epoch_began = 0.0
        # The duration of an epoch that has ended and is not recorded yet.
        self._seconds: float | None = None

    def state_dict(self) -> dict[str, Any]:
        """Hand Lightning what a resumed run needs besides the state that Lightning saves."""
        return {
            "is_stopped": self.is_stopped,
            "should_stop": self._should_stop,
            "best_weights": self.best_weights,
            "logged": {name: float(value) for name, value in self._logged_before.items()},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of the last recorded epoch."""
        self.is_stopped = state_dict["is_stopped"]
        self._should_stop = state_dict["should_stop"]
        self.best_weights = state_dict["best_weights"]
        logged = state_dict["logged"]
        self._logged_before = {
            name: torch.tensor(value, dtype=torch.float64) for name, value in logged.items()
        }

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Let a resumed run begin the next epoch."""
        begin_next_epoch_when_resumed(checkpoint)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore what Lightning does not save: what was logged, and whether to stop.

        Schedulers and callbacks may follow what was logged.
        """
        trainer.callback_metrics.update(self._logged_before)
        trainer.should_stop = trainer.should_stop or self._should_stop

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the epoch before, and start to measure the time of this one."""
        self._record_epoch(trainer, pl_module)
        self._epoch_began = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Advance the progress bar."""
        share = (batch_idx + 1) / float(trainer.num_training_batches)
        self.steps.move_bar(len(self.steps.rows) + share)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the time of the epoch with its validation; stop if it no longer improves."""
        self._seconds = time.perf_counter() - self._epoch_began
        stopping = self.config.early_stopping
        if stopping.monitor:
            metric = describe_metric(stopping.monitor, self.config.metrics)
            rows = [*self.steps.rows, self._epoch_metrics(trainer)]
            if is_stopped_early(rows, metric, stopping.patience, stopping.min_delta):
                trainer.should_stop = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the last epoch, which no other epoch follows."""
        self._record_epoch(trainer, pl_module)

    def _record_epoch(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the epoch that has ended, if any; raise DlrunError if a metric is not finite.

        The row tells whether the weights are the best, and the state holds the best weights: row,
        weights and state are made in this order, and `Steps.finish` writes row and state together.
        """
        if self._seconds is None:
            return
        number = len(self.steps.rows) + 1
        metrics = self._epoch_metrics(trainer)
        check_metrics_finite(metrics, f"epoch {number}")
        values = {name: metrics.get(name, math.nan) for name in self._metric_columns(metrics)}
        row = {STEP: number, **values, SECONDS: self._seconds}
        self._seconds = None
        self._keep_best_weights(row, pl_module)
        self._save_state(trainer)
        shown = {
            name: value
            for name, value in values.items()
            if name in metrics and name not in NO_METRICS
        }
        position = format_position(number, self.config.trainer.max_epochs)
        line = f"epoch {position}  {format_metrics_line(shown)}"
        self.steps.finish(row, line, self.checkpoint.content)

    def _keep_best_weights(self, row: Mapping[str, float], pl_module: pl.LightningModule) -> None:
        best_by = self.config.best_epoch_metric
        if best_by is None:
            return
        rows = [*self.steps.rows, row]
        if kept_epoch(rows, self.config.metrics, best_by) == len(rows):
            self.best_weights = copy.deepcopy(pl_module.state_dict())

    def _save_state(self, trainer: pl.Trainer) -> None:
        """Save the state after the epoch in memory, as the content of the checkpoint."""
        self._logged_before = dict(trainer.callback_metrics)
        self._should_stop = trainer.should_stop
        self.is_stopped = trainer.should_stop and trainer.fit_loop.done
        trainer.save_checkpoint(self.checkpoint.path)

    def _epoch_metrics(self, trainer: pl.Trainer) -> dict[str, float]:
        """Collect what the module has logged in the epoch that has ended, by column.

        A module may log some values in few epochs only. Lightning keeps the tensors of earlier
        epochs and makes a new tensor for each value that is logged: the same tensor as before is
        no value of this epoch, while an equal value in another tensor is.
        """
        logged = {
            name: value
            for name, value in trainer.callback_metrics.items()
            if value is not self._logged_before.get(name)
        }
        # If several processes train, the first one decides: all have to keep and stop the same.
        return trainer.strategy.broadcast(values_by_column(logged))

    def _metric_columns(self, metrics: Collection[str]) -> list[str]:
        """Name all metrics of the run so far, in the order of metrics.csv."""
        if self.columns:
            return [name for name in self.columns if name not in (STEP, SECONDS)]
        rows = self.steps.rows
        earlier_names = rows[-1].keys() - {STEP, SECONDS} if rows else set()
        names = sorted(earlier_names.union(metrics))
        train = [name for name in names if name.startswith("train_")]
        valid = [name for name in names if name.startswith(VALID)]
        others = [name for name in names if not name.startswith(("train_", VALID))]
        return [*train, *valid, *others]
