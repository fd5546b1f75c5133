"""What happens after each epoch: a row in metrics.csv and a line on the screen."""

import math
import time
from typing import Any

import lightning.pytorch as pl

from dlrun.errors import DlrunError
from dlrun.run_folder import RunFolder
from dlrun.screen import Advance
from dlrun.training.module import Classifier

COLUMNS = ["epoch", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "seconds"]


class EpochRecorder(pl.Callback):
    """Writes each epoch's metrics and moves the progress bar. Epochs count from 1."""

    def __init__(self, folder: RunFolder, bar: Advance) -> None:
        self.last: dict[str, float] = {}
        self._folder, self._bar = folder, bar
        self._started = 0.0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """An attempt begins: rows of an earlier one, on another device, are dropped."""
        self._folder.start_metrics(COLUMNS)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Move the bar."""
        self._bar.to(trainer.current_epoch + (batch_idx + 1) / float(trainer.num_training_batches))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the epoch; its validation is done by now.

        Raises DlrunError where the loss is no number any more.
        """
        assert isinstance(pl_module, Classifier)  # the only module that we train
        self.last = pl_module.train_metrics.finish() | pl_module.valid_metrics.finish()
        seconds = time.perf_counter() - self._started
        epoch = trainer.current_epoch + 1
        if not math.isfinite(self.last["train_loss"]):
            raise DlrunError(
                f"epoch {epoch}: the training loss is {self.last['train_loss']}",
                "try a smaller optimizer.lr, or trainer.precision 32-true",
            )
        self._folder.add_metrics({"epoch": epoch, **self.last, "seconds": seconds})
        self._bar.step(epoch, f"epoch {epoch}/{trainer.max_epochs}", self.last)
