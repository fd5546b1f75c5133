"""What happens around each epoch: its seed, its batches' progress, its end."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from dlrun.networks import tensor_file
from dlrun.run_folder.steps import Steps, check_finite
from dlrun.system.console import Advance, format_position
from dlrun.training.data import ArrayData
from dlrun.training.lightning_imports import pl
from dlrun.training.network_module import NetworkModule


class EpochRecorder(pl.Callback):
    """Finishes each epoch as a step. Epochs count from 1, over all sessions of a resumed run.

    The order of the batches and every random number of an epoch depend only on the seed and the
    epoch's number (data.EpochBatches, and here), so no random state has to be kept.

    Args:
        steps: the epochs so far.
        bar: moves with the batches.
        epochs: how many the run has in all.
        seed: each epoch's random numbers depend on it and on the epoch alone.
        start: the state that a resumed run goes on from.
    """

    def __init__(
        self, steps: Steps, bar: Advance, *, epochs: int, seed: int, start: Mapping[str, Any] | None
    ) -> None:
        self._steps, self._bar = steps, bar
        self._epochs, self._seed, self._start = epochs, seed, start
        self._began = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A resumed run's optimizer goes on as it was; signals come to us, not to Lightning.

        Its own handler broadcasts between the processes, in the middle of whatever they do.
        """
        self._steps.stop.take_over()
        if self._start is not None:
            trainer.optimizers[0].load_state_dict(self._start["optimizer"])
            if self._start["scaler"]:
                _scaler(trainer).load_state_dict(self._start["scaler"])

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Signals come to us, not to Lightning."""
        self._steps.stop.take_over()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Before an epoch's first batch, after all that Lightning draws: seed it."""
        if batch_idx == 0:
            entropy = np.random.SeedSequence([self._seed, len(self._steps.rows)])
            torch.manual_seed(int(entropy.generate_state(1)[0]))

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Move the bar; stop here if asked to, all processes at the same batch."""
        self._bar.to(len(self._steps.rows) + (batch_idx + 1) / float(trainer.num_training_batches))
        self._stop_together(trainer)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stop here if asked to, where all processes come by: some have a batch more."""
        if batch_idx < self._batches_of_all(trainer, "valid"):
            self._stop_together(trainer)

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """As after a batch of the validation."""
        if batch_idx < self._batches_of_all(trainer, "test"):
            self._stop_together(trainer)

    @staticmethod
    def _batches_of_all(trainer: pl.Trainer, part: str) -> int:
        data = trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it untyped
        assert isinstance(data, ArrayData)
        return data.batches_of_all(part, trainer.world_size)

    def _stop_together(self, trainer: pl.Trainer) -> None:
        """Raise what any of the processes was asked, in all of them at the same batch."""
        asked = self._steps.stop.asked
        if trainer.world_size > 1:
            shared = torch.tensor(asked, device=trainer.strategy.root_device)
            asked = int(trainer.strategy.reduce(shared, reduce_op="max"))
        self._steps.stop.end_with(asked)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Finish the epoch; its validation is done by now.

        Raises DlrunError where the loss is no number any more.
        """
        assert isinstance(pl_module, NetworkModule)  # the only module that we train
        metrics = pl_module.train_metrics.finish() | pl_module.valid_metrics.finish()
        seconds = time.perf_counter() - self._began
        epoch = len(self._steps.rows) + 1
        check_finite(metrics, f"epoch {epoch}")
        scaler = _scaler(trainer)
        state = {
            "network": pl_module.network.state_dict(),
            "optimizer": trainer.optimizers[0].state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else {},
        }
        self._steps.finish(
            {"epoch": epoch, **metrics, "seconds": seconds},
            f"epoch {format_position(epoch, self._epochs)}  {_in_words(metrics)}",
            tensor_file.serialize_tensors(state),
        )


def _in_words(metrics: Mapping[str, float]) -> str:
    """Fits a line of 80 columns, as long as there is one metric beside the loss."""
    words: dict[str, str] = {}
    for name, value in metrics.items():
        part, _, metric = name.partition("_")
        short = {"accuracy": "acc."}.get(metric, metric)
        words[part] = f"{words.get(part, part)} {short} {value:.4f}"
    return "  ".join(words.values())


def _scaler(trainer: pl.Trainer) -> Any:
    """The gradients' scaler of 16-mixed precision; None for every other."""
    return getattr(trainer.precision_plugin, "scaler", None)
