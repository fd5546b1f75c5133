"""Record each finished epoch of a training, with the state from which a stopped run continues."""

import copy
import math
import random
import re
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities import CombinedLoader
from numpy.typing import NDArray
from torch import Tensor

from dlrun.config.network_sections import LightningConfig
from dlrun.config.yaml_loader import Values
from dlrun.errors import DlrunError, first_line
from dlrun.metrics import VALID, describe_metric
from dlrun.networks.files import read_tensors, serialize_tensors
from dlrun.run_folder.progress_recorder import ProgressRecorder, check_metrics_finite
from dlrun.run_folder.recorded_metrics import (
    NO_METRICS,
    SECONDS,
    STEP,
    format_metrics_line,
    is_stopped_early,
    kept_epoch,
)
from dlrun.system.console import format_position
from dlrun.system.workarounds import begin_next_epoch_when_resumed

STATE = "the state of the run"  # stands for a path: this checkpoint stays in memory
SPLIT = re.compile(r"(train|val|test)(?:ing|id|idation)?[_/](.+)")
# Objects of any kind, which no checkpoint of dlrun holds.
HYPERPARAMETERS = re.compile(r"(datamodule_)?(hparams_|hyper_parameters)")


class RunState(TorchCheckpointIO):
    """Keeps the checkpoint that Lightning makes in memory, for dlrun's own checkpoint file.

    path: of the file from which `content` was read, for messages. content: the checkpoint of the
    last finished epoch as bytes; none of a new run.
    """

    def __init__(self, path: Path, content: bytes) -> None:
        super().__init__()
        self._path = path
        self._is_checked = False
        self.content: bytes = content
        saved = self.read() if content else {}
        self.logged: dict[str, Tensor] = saved.get("logged", {})  # until the last epoch
        self.is_stopped: bool = saved.get("is_stopped", False)  # by early stopping or a callback
        self.best: Mapping[str, Tensor] | None = saved.get("best")  # the weights of the best epoch

    def save_checkpoint(
        self, checkpoint: Values, path: str | Path, storage_options: Any = None
    ) -> None:
        """Keep the run's state, which must be readable; write any other checkpoint to its file."""
        if path != STATE:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        begin_next_epoch_when_resumed(checkpoint)
        kept = {key: part for key, part in checkpoint.items() if not HYPERPARAMETERS.match(key)}
        kept |= {"logged": self.logged, "is_stopped": self.is_stopped, "best": self.best}
        try:
            self.content = serialize_tensors(kept)
            if not self._is_checked:
                self.read()
        except Exception as error:  # what cannot be pickled can raise anything
            hint = "a module's or callback's state may have tensors, numbers, texts, lists, dicts"
            problem = f"the state of the run cannot be saved: {first_line(error)}"
            raise DlrunError(problem, hint) from error
        self._is_checked = True

    def load_checkpoint(self, path: str | Path, *options: Any, **more: Any) -> Values:
        """Return the state of the run, or read a checkpoint from a file."""
        return self.read() if path == STATE else super().load_checkpoint(path, *options, **more)

    def read(self) -> Any:
        """Return the state of the run; raise DlrunError if it has more than tensors and numbers."""
        return read_tensors(self._path, bytes(self.content))


@dataclass(eq=False)
class EpochRecorder(pl.Callback):
    """Records each finished epoch of a LightningModule, and stops the training at a signal.

    An epoch is recorded when the next one starts, or after the last: only then have all callbacks
    seen its end. Its random numbers and the order of its rows depend only on the seed and the
    epoch, so no random state has to be stored.
    """

    progress: ProgressRecorder
    config: LightningConfig
    state: RunState

    def __post_init__(self) -> None:
        self._seconds: float | None = None  # duration of an epoch that is not recorded yet
        self._predicted: list[Tensor | None] = []  # see `predictions_of_batch`

    def epoch_metrics(self, trainer: pl.Trainer) -> dict[str, float]:
        """Return what the module has logged in the epoch that has ended, by column.

        Lightning keeps the values of earlier epochs: a module may log some in few epochs only.
        """
        logged = trainer.callback_metrics
        earlier = self.state.logged
        return _values_by_column(
            {name: logged[name] for name in logged if logged[name] is not earlier.get(name)}
        )

    def epoch_row(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return a row of metrics.csv: an epoch's metrics, and NaN for others of earlier epochs."""
        earlier = self.progress.rows[-1].keys() - {STEP, SECONDS} if self.progress.rows else set()
        names = sorted(earlier | metrics.keys())
        names.sort(key=lambda name: (not name.startswith("train_"), not name.startswith(VALID)))
        return {name: metrics.get(name, math.nan) for name in names}

    def test_metrics(self, trainer: pl.Trainer) -> dict[str, float]:
        """Return what the module has logged in its test, by column."""
        return _values_by_column(trainer.callback_metrics)

    def test_predictions(self) -> NDArray[np.float64] | None:
        """Return true and predicted values of the test, as `predictions_of_batch`; or None."""
        batches = [rows for rows in self._predicted if rows is not None]
        is_whole = batches and len(batches) == len(self._predicted)
        return torch.cat(batches, dim=1).numpy() if is_whole else None

    def seed_within_epoch(self, *place: int) -> int:
        """Return the seed of the random numbers for one place (some numbers) of this epoch."""
        sequence = np.random.SeedSequence((self.config.seed, len(self.progress.rows), *place))
        return int(sequence.generate_state(1)[0])

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Make the trainer's loaders of training data draw the same numbers in a resumed run."""
        if stage != "fit":
            return
        data: Any = trainer.datamodule  # type: ignore[attr-defined]  # Lightning declares it late
        make_loaders = data.train_dataloader
        device = trainer.strategy.root_device
        data.train_dataloader = lambda: self._seeded_loaders(make_loaders(), device)

    def _seeded_loaders(self, loaders: object, device: torch.device) -> CombinedLoader:
        """Return the loader or loaders of a data module, each as a SeededLoader."""
        combined = loaders
        if not isinstance(combined, CombinedLoader):
            combined = CombinedLoader(loaders, "max_size_cycle")  # as Lightning does
        if any(getattr(loader, "persistent_workers", False) for loader in combined.flattened):
            problem = "persistent_workers: if the run is resumed, its workers draw other numbers"
            self.progress.screen.warn(problem)
        combined.flattened = [
            SeededLoader(loader, self, device, place)
            for place, loader in enumerate(combined.flattened)
        ]
        return combined

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Replace Lightning's signal handlers, and restore what was logged before a resume.

        Schedulers and callbacks may follow it, and Lightning does not save it.
        """
        self.progress.stop.install_handlers()
        trainer.callback_metrics.update(self.state.logged)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Replace Lightning's signal handlers."""
        self.progress.stop.install_handlers()

    on_predict_start = on_test_start

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the epoch before, and start to measure the time of this one."""
        self._record_epoch(trainer)
        self.began = time.perf_counter()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Seed the random generators before the first update, whatever has used them."""
        if batch_idx == 0:
            seed_generators(self.seed_within_epoch(), pl_module.device)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: object, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Advance the progress bar, and stop the training if a signal was received."""
        share = (batch_idx + 1) / float(trainer.num_training_batches)
        self.progress.move(len(self.progress.rows) + share)
        self.progress.stop.raise_if_received()

    def on_validation_batch_end(self, *hook: object) -> None:
        """Stop the validation if a signal was received."""
        self.progress.stop.raise_if_received()

    def on_test_batch_end(self, *hook: object) -> None:
        """Stop the test if a signal was received."""
        self.progress.stop.raise_if_received()

    def on_predict_batch_end(
        self, trainer: pl.Trainer, module: object, outputs: object, batch: object, *place: int
    ) -> None:
        """Keep what was predicted of a batch of the test; stop if a signal was received."""
        self._predicted.append(predictions_of_batch(outputs, batch))
        self.progress.stop.raise_if_received()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the time of the epoch with its validation; stop if it no longer improves."""
        self._seconds = time.perf_counter() - self.began
        if (stopping := self.config.early_stopping).monitor:
            metric = describe_metric(stopping.monitor, self.config.metrics)
            row = {STEP: len(self.progress.rows) + 1, **self.epoch_row(self.epoch_metrics(trainer))}
            rows = [*self.progress.rows, row]
            if is_stopped_early(rows, metric, stopping.patience, stopping.min_delta):
                trainer.should_stop = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the last epoch."""
        self._record_epoch(trainer)

    def _record_epoch(self, trainer: pl.Trainer) -> None:
        """Record the epoch that has ended, if any; raise DlrunError if a metric is not finite."""
        if self._seconds is None:
            return
        number = len(self.progress.rows) + 1
        metrics = self.epoch_metrics(trainer)
        check_metrics_finite(metrics, f"epoch {number}")
        row = {STEP: number, **self.epoch_row(metrics), SECONDS: self._seconds}
        rows = [*self.progress.rows, row]
        self._seconds = None
        best_by = self.config.keeps_best_by
        if best_by and kept_epoch(rows, self.config.metrics, best_by) == number:
            self.state.best = copy.deepcopy(trainer.lightning_module.state_dict())
        self.state.logged = dict(trainer.callback_metrics)
        self.state.is_stopped = trainer.should_stop
        trainer.save_checkpoint(STATE)
        shown = {name: value for name, value in metrics.items() if name not in NO_METRICS}
        position = format_position(number, self.config.trainer.max_epochs)
        line = f"epoch {position}  {format_metrics_line(shown)}"
        self.progress.finish(row, line, self.state.content)


@dataclass(eq=False)
class SeededLoader:
    """Wraps a data loader so that its order depends only on the seed and the epoch.

    place: number of this loader among those of the training data.
    """

    loader: Any
    recorder: EpochRecorder
    device: torch.device
    place: int
    _epoch: int = -1
    _pass: int = 0  # number of the pass within an epoch, of a loader shorter than another

    def __iter__(self) -> Iterator[object]:
        """Yield the batches; the generators are seeded when one of the first two is asked for.

        The second one may be fetched in advance, before or after the hooks of an epoch's start.
        """
        epoch = len(self.recorder.progress.rows)
        self._pass = self._pass + 1 if epoch == self._epoch else 0
        self._epoch = epoch
        self._seed_loader(0)
        batches = iter(self.loader)
        yield from islice(batches, 1)
        self._seed_loader(1)
        yield from batches

    def _seed_loader(self, batch: int) -> None:
        seed = self.recorder.seed_within_epoch(1 + self.place, self._pass, batch)
        seed_generators(seed, self.device)
        if (own := getattr(self.loader, "generator", None)) is not None:
            own.manual_seed(seed)

    def __len__(self) -> int:
        return len(self.loader)

    def __getattr__(self, name: str) -> object:
        return getattr(self.loader, name)


def _values_by_column(logged: Mapping[str, Tensor]) -> dict[str, float]:
    """Return what a module logged by the names of columns of metrics.csv."""
    return {column: float(logged[name]) for column, name in logged_names_by_column(logged).items()}


def logged_names_by_column(logged: Collection[str]) -> dict[str, str]:
    """Map dlrun's column names to the names that a module logged: `valid_loss` to `val/loss`.

    Of a value that was logged by update and by epoch, only the one of the epoch is kept. Raises
    DlrunError if two names are one column.
    """
    names: dict[str, str] = {}
    for name in logged:
        whole, _, kind = name.rpartition("_")
        if name in (STEP, SECONDS) or (kind in ("step", "epoch") and whole in logged):
            continue
        stage = SPLIT.fullmatch(name)
        column = f"{stage[1].replace('val', 'valid')}_{stage[2]}" if stage else name
        if (other := names.setdefault(column, name)) != name:
            problem = f"the module logs {other} and {name}, which are both the column {column}"
            raise DlrunError(problem, "give one of them another name")
    return names


def predictions_of_batch(outputs: object, batch: object) -> Tensor | None:
    """Return the true targets of a batch with what a module predicts of them, or None.

    outputs: scores or probabilities of classes (rows, classes), whose targets are whole numbers; or
    values (rows,) or (rows, 1). batch: a pair of inputs and targets. Returns true and predicted
    classes and probabilities (3, rows), or true and predicted values (2, rows); None if the batch
    or the outputs are of another kind.
    """
    targets = batch[1] if isinstance(batch, list | tuple) and len(batch) == 2 else None
    if not (isinstance(outputs, Tensor) and isinstance(targets, Tensor)):
        return None
    if not targets.numel() == len(targets) == len(outputs):
        return None
    values = outputs.detach().cpu().double()
    true = targets.cpu().flatten()
    if true.is_floating_point():
        is_value = values.numel() == len(true)
        return torch.stack([true.double(), values.flatten()]) if is_value else None
    if values.ndim != 2 or values.shape[1] < 2:
        return None
    sums = values.sum(-1)
    if not ((values >= 0).all() and torch.allclose(sums, torch.ones_like(sums), atol=1e-3)):
        values = values.softmax(-1)
    probability, predicted = values.max(-1)
    return torch.stack([true.double(), predicted.double(), probability])


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed the random generators of Python, numpy and torch, within a millisecond on a CPU."""
    random.seed(seed)
    np.random.seed(seed)
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)
