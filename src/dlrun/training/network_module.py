"""One LightningModule for every network, and the callback that finishes each of its epochs."""

import time
from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import numpy as np
import torch
import torchmetrics
from torch import Tensor, nn

from dlrun.networks.network_files import serialize_tensors
from dlrun.run_folder.steps import Steps, check_finite
from dlrun.system.console import Advance, format_position
from dlrun.training.objective import Objective
from dlrun.training.test_predictions import Tested

if TYPE_CHECKING:
    from dlrun.config.sections import Optimizer


class StageMetrics(nn.Module):
    """Mean loss and the objective's metrics of a stage: train, valid or test.

    The batches' outputs are kept until the stage ends and measured once: a call of torchmetrics
    per batch would take longer than a training step of the small networks.
    """

    def __init__(self, stage: str, objective: Objective) -> None:
        super().__init__()
        self.stage = stage
        # Two sums: the MeanMetric of torchmetrics 1.9 drops NaN, or ignores its weights.
        self.loss_sum = torchmetrics.SumMetric(nan_strategy="disable")
        self.rows = torchmetrics.SumMetric(nan_strategy="disable")
        self.metrics = nn.ModuleDict(objective.metrics())
        self._batches: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, loss: Tensor, predicted: Tensor, targets: Tensor) -> None:
        """Add a batch: its mean loss (), predictions (batch, ...), targets (batch, ...)."""
        self._batches.append((loss.detach(), predicted.detach(), targets))

    def finish(self) -> dict[str, float]:
        """Return the metrics over all batches and processes, and reset them.

        One of several processes may have no batch: it adds nothing to the sums.
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
    """Trains a network for an objective.

    Args:
        network: the network.
        optimizer: the config's section.
        objective: loss, predictions and metrics.
        grouped: a call of training_step gets a list of batches: Lightning's work between two calls
            takes as long as a whole step of a small network.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: "Optimizer",
        objective: Objective,
        *,
        grouped: bool = False,
    ) -> None:
        super().__init__()
        self.network, self.objective, self.optimizer_config = network, objective, optimizer
        self.automatic_optimization = not grouped
        self.train_metrics = StageMetrics("train", objective)
        self.valid_metrics = StageMetrics("valid", objective)
        self.test_metrics = StageMetrics("test", objective)
        self.tested: Tested | None = None  # collects the test set's rows if they are wanted

    def forward(self, inputs: Any) -> Tensor:
        """Return the network's outputs."""
        outputs: Tensor = self.network(inputs)
        return outputs

    def training_step(self, batch: Any, _: int) -> Tensor | None:
        """Return the loss of a training batch, or do a step for each batch of a group."""
        if self.automatic_optimization:
            return self._measure(self.train_metrics, batch)
        optimizer: Any = self.optimizers()
        mixed = "mixed" in str(self.trainer.precision)
        # As in Lightning, gradient and optimizer run outside of autocast.
        outside = torch.autocast(self.device.type, enabled=False) if mixed else nullcontext()
        for one in batch:
            loss = self._measure(self.train_metrics, one)
            with outside:
                optimizer.zero_grad()
                self.manual_backward(loss)
                optimizer.step()
        return None

    def validation_step(self, batch: tuple[Any, Tensor], _: int) -> None:
        """Measure a validation batch."""
        self._measure(self.valid_metrics, batch)

    def test_step(self, batch: tuple[Any, Tensor], _: int) -> None:
        """Measure a test batch."""
        self._measure(self.test_metrics, batch, self.tested)

    def _measure(
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


def epoch_columns(objective: Objective) -> list[str]:
    """Return the names of an epoch's metrics, as metrics.csv has them."""
    return [f"{stage}_{name}" for stage in ("train", "valid") for name in objective.columns()]


class EpochRecorder(pl.Callback):
    """Finishes each epoch as a step of the run. Epochs count from 1, also after a resume.

    The order of the batches and every random number of an epoch depend only on the seed and the
    epoch's number (data.EpochBatches, and here), so no random state has to be stored.

    Args:
        steps: the epochs so far.
        bar: moves with the batches.
        epochs: how many the run has in all.
        seed: of the run.
        start: the state that a resumed run continues from.
    """

    def __init__(
        self, steps: Steps, bar: Advance, *, epochs: int, seed: int, start: Mapping[str, Any] | None
    ) -> None:
        self._steps, self._bar = steps, bar
        self._epochs, self._seed, self._start = epochs, seed, start
        self._began = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore the optimizer of a resumed run, and handle signals instead of Lightning.

        Lightning's own handler broadcasts among the processes, whatever they are doing.
        """
        self._steps.stop.take_over()
        if self._start is not None:
            trainer.optimizers[0].load_state_dict(self._start["optimizer"])
            if self._start["scaler"]:
                _scaler(trainer).load_state_dict(self._start["scaler"])

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Handle signals instead of Lightning."""
        self._steps.stop.take_over()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Seed an epoch before its first batch, after all that Lightning draws."""
        if batch_idx == 0:
            entropy = np.random.SeedSequence([self._seed, len(self._steps.rows)])
            torch.manual_seed(int(entropy.generate_state(1)[0]))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar, and stop here if a signal came."""
        self._bar.to(len(self._steps.rows) + (batch_idx + 1) / float(trainer.num_training_batches))
        self._stop_together(trainer)

    def on_validation_batch_end(self, trainer: pl.Trainer, *arguments: Any) -> None:
        """Stop here if a signal came."""
        self._stop_together(trainer, "valid", arguments[3])

    def on_test_batch_end(self, trainer: pl.Trainer, *arguments: Any) -> None:
        """Stop here if a signal came."""
        self._stop_together(trainer, "test", arguments[3])

    def _stop_together(self, trainer: pl.Trainer, part: str = "", batch: int = 0) -> None:
        """Raise the exception of a signal that any process received, in all at the same batch.

        Of the validation and the test some processes may have a batch more: it is skipped here.
        """
        asked = self._steps.stop.asked
        if trainer.world_size > 1:
            data = trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it untyped
            if part and batch >= data.common_batches(part, trainer.world_size):
                return
            shared = torch.tensor(asked, device=trainer.strategy.root_device)
            asked = int(trainer.strategy.reduce(shared, reduce_op="max"))
        self._steps.stop.end_with(asked)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Finish the epoch; its validation is done. Raises DlrunError if its loss is not finite."""
        assert isinstance(pl_module, NetworkModule)  # the only module that is trained here
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
            f"epoch {format_position(epoch, self._epochs)}  {_progress_line(metrics)}",
            serialize_tensors(state),
        )


def _progress_line(metrics: Mapping[str, float]) -> str:
    """Return the metrics as a text that fits 80 columns for one metric beside the loss."""
    words: dict[str, str] = {}
    for name, value in metrics.items():
        part, _, metric = name.partition("_")
        short = {"accuracy": "acc."}.get(metric, metric)
        words[part] = f"{words.get(part, part)} {short} {value:.4f}"
    return "  ".join(words.values())


def _scaler(trainer: pl.Trainer) -> Any:
    """Return the gradient scaler of 16-mixed precision; None for every other precision."""
    return getattr(trainer.precision_plugin, "scaler", None)
