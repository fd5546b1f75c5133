"""What happens around each epoch: seed, checkpoint, row in metrics.csv, line on the screen."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch

from dlrun.errors import DlrunError
from dlrun.run_folder import RunFolder
from dlrun.screen import Advance
from dlrun.training.checkpoint import Checkpoint
from dlrun.training.module import Classifier

COLUMNS = ["epoch", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "seconds"]


class EpochRecorder(pl.Callback):
    """Saves and shows each epoch. Epochs count from 1, over all sessions of a resumed run.

    Args:
        folder: of the run.
        bar: moves with the batches.
        epochs: how many the run has in all.
        seed: each epoch's random numbers depend on it and on the epoch alone.
        data: the data's fingerprint, for the checkpoint.
        start: where a resumed run goes on.
        after_step: called after every batch; raises where the run is to stop.
    """

    def __init__(
        self,
        folder: RunFolder,
        bar: Advance,
        *,
        epochs: int,
        seed: int,
        data: str,
        start: Checkpoint | None,
        after_step: Callable[[], None],
    ) -> None:
        self.rows = list(start.rows) if start else []
        self._folder, self._bar, self._epochs = folder, bar, epochs
        self._seed, self._data, self._start = seed, data, start
        self._after_step = after_step
        self._began = 0.0
        folder.start_metrics(COLUMNS, self.rows)

    @property
    def last(self) -> dict[str, float]:
        """The metrics of the last epoch."""
        return {name: self.rows[-1][name] for name in COLUMNS[1:-1]} if self.rows else {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A resumed run's optimizer goes on as it was."""
        if self._start is not None:
            trainer.optimizers[0].load_state_dict(self._start.optimizer)
            if self._start.scaler:
                _scaler(trainer).load_state_dict(self._start.scaler)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Before an epoch's first batch, after all that Lightning draws: seed it."""
        if batch_idx == 0:
            entropy = np.random.SeedSequence([self._seed, len(self.rows)])
            torch.manual_seed(int(entropy.generate_state(1)[0]))

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Move the bar; stop here if asked to."""
        self._bar.to(len(self.rows) + (batch_idx + 1) / float(trainer.num_training_batches))
        self._after_step()

    def on_validation_batch_end(self, *_: Any) -> None:
        """Stop here if asked to."""
        self._after_step()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the epoch; its validation is done by now.

        The checkpoint holds the row too and comes first: killed between the two, nothing is lost.
        Raises DlrunError where the loss is no number any more.
        """
        assert isinstance(pl_module, Classifier)  # the only module that we train
        metrics = pl_module.train_metrics.finish() | pl_module.valid_metrics.finish()
        seconds = time.perf_counter() - self._began
        epoch = len(self.rows) + 1
        require_finite(metrics, f"epoch {epoch}")
        row = {"epoch": epoch, **metrics, "seconds": seconds}
        self.rows.append(row)
        scaler = _scaler(trainer)
        Checkpoint(
            epochs=epoch,
            rows=self.rows,
            network=pl_module.network.state_dict(),
            optimizer=trainer.optimizers[0].state_dict(),
            scaler=scaler.state_dict() if scaler is not None else {},
            data=self._data,
        ).save(self._folder)
        self._folder.add_metrics(row)
        self._bar.step(epoch, f"epoch {epoch}/{self._epochs}  {_in_words(metrics)}")


def _in_words(metrics: Mapping[str, float]) -> str:
    """Fits a line of 80 columns."""
    return "  ".join(
        f"{part} loss {metrics[f'{part}_loss']:.4f} acc. {metrics[f'{part}_accuracy']:.4f}"
        for part in ("train", "valid")
    )


def require_finite(metrics: Mapping[str, float], when: str) -> None:
    """Raises DlrunError where a loss is no number any more: then nothing here is a result."""
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise DlrunError(
                f"{when}: {name} is {value}",
                "try a smaller optimizer.lr, or trainer.precision 32-true",
            )


def _scaler(trainer: pl.Trainer) -> Any:
    """The gradients' scaler of 16-mixed precision; None for every other."""
    return getattr(trainer.precision_plugin, "scaler", None)
