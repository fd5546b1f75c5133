"""Record each finished epoch of a training, with the state from which a stopped run continues."""

import copy
import math
import random
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities import CombinedLoader
from numpy.typing import NDArray
from torch import Tensor

from dlrun.config.network_sections import LightningConfig
from dlrun.errors import DlrunError
from dlrun.metrics import VALID, describe_metric, format_metrics_line
from dlrun.runs.live_run import LiveRun
from dlrun.runs.metrics_csv import NO_METRICS, SECONDS, STEP
from dlrun.runs.ranked_metrics import is_stopped_early, kept_epoch
from dlrun.system.console import format_position
from dlrun.training.run_state import STATE, RunState
from dlrun.training.user_module import predictions_of_batch, values_by_column


@dataclass(eq=False)
class EpochRecorder(pl.Callback):
    """Records each finished epoch of a LightningModule, and stops the training at a signal.

    An epoch is recorded when the next one starts, or after the last: only then have all callbacks
    seen its end. Its random numbers and the order of its rows depend only on the seed and the
    epoch, so no random state has to be stored.
    """

    live_run: LiveRun
    config: LightningConfig
    state: RunState

    def __post_init__(self) -> None:
        self._epoch_began = 0.0
        self._seconds: float | None = None  # duration of an epoch that is not recorded yet
        self._predicted: list[Tensor | None] = []  # see `predictions_of_batch`

    def epoch_metrics(self, trainer: pl.Trainer) -> dict[str, float]:
        """Return what the module has logged in the epoch that has ended, by column.

        Lightning keeps the values of earlier epochs: a module may log some in few epochs only.
        """
        before = self.state.logged_before
        logged = trainer.callback_metrics.items()
        return values_by_column({name: new for name, new in logged if new is not before.get(name)})

    def metric_columns(self, metrics: Collection[str]) -> list[str]:
        """Return the names of an epoch's metrics and of those of earlier epochs, in their order."""
        rows = self.live_run.rows
        earlier_names = rows[-1].keys() - {STEP, SECONDS} if rows else set()
        names = sorted(earlier_names.union(metrics))
        names.sort(key=lambda name: (not name.startswith("train_"), not name.startswith(VALID)))
        return names

    def test_metrics(self, trainer: pl.Trainer) -> dict[str, float]:
        """Return what the module has logged in its test, by column."""
        return values_by_column(trainer.callback_metrics)

    def test_predictions(self) -> NDArray[np.float64] | None:
        """Return true and predicted values of the test, as `predictions_of_batch`; or None."""
        batches = [rows for rows in self._predicted if rows is not None]
        is_whole = batches and len(batches) == len(self._predicted)
        return torch.cat(batches, dim=1).numpy() if is_whole else None

    def seed_within_epoch(self, *stream: int) -> int:
        """Return a seed that depends only on the run's seed, the epoch and `stream`."""
        sequence = np.random.SeedSequence((self.config.seed, len(self.live_run.rows), *stream))
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
            self.live_run.screen.warn(problem)
        combined.flattened = [
            SeededLoader(loader, self, device, place)
            for place, loader in enumerate(combined.flattened)
        ]
        return combined

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Replace Lightning's signal handlers, and restore what was logged before a resume.

        Schedulers and callbacks may follow it, and Lightning does not save it.
        """
        self.live_run.stop.install_handlers()
        trainer.callback_metrics.update(self.state.logged_before)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Replace Lightning's signal handlers."""
        self.live_run.stop.install_handlers()

    on_predict_start = on_test_start

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the epoch before, and start to measure the time of this one."""
        self._record_epoch(trainer)
        self._epoch_began = time.perf_counter()

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
        self.live_run.move_bar(len(self.live_run.rows) + share)
        self.live_run.stop.raise_if_received()

    def on_validation_batch_end(self, *hook: object) -> None:
        """Stop the validation if a signal was received."""
        self.live_run.stop.raise_if_received()

    def on_test_batch_end(self, *hook: object) -> None:
        """Stop the test if a signal was received."""
        self.live_run.stop.raise_if_received()

    def on_predict_batch_end(
        self, trainer: pl.Trainer, module: object, outputs: object, batch: object, *indices: int
    ) -> None:
        """Keep what was predicted of a batch of the test; stop if a signal was received."""
        self._predicted.append(predictions_of_batch(outputs, batch))
        self.live_run.stop.raise_if_received()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the time of the epoch with its validation; stop if it no longer improves."""
        self._seconds = time.perf_counter() - self._epoch_began
        if (stopping := self.config.early_stopping).monitor:
            metric = describe_metric(stopping.monitor, self.config.metrics)
            rows = [*self.live_run.rows, self.epoch_metrics(trainer)]
            if is_stopped_early(rows, metric, stopping.patience, stopping.min_delta):
                trainer.should_stop = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the last epoch."""
        self._record_epoch(trainer)

    def _record_epoch(self, trainer: pl.Trainer) -> None:
        """Record the epoch that has ended, if any; raise DlrunError if a metric is not finite."""
        if self._seconds is None:
            return
        number = len(self.live_run.rows) + 1
        metrics = self.epoch_metrics(trainer)
        check_metrics_finite(metrics, f"epoch {number}")
        values = {name: metrics.get(name, math.nan) for name in self.metric_columns(metrics)}
        row = {STEP: number, **values, SECONDS: self._seconds}
        rows = [*self.live_run.rows, row]
        self._seconds = None
        metric = self.config.best_epoch_metric
        if metric and kept_epoch(rows, self.config.metrics, metric) == number:
            self.state.best_weights = copy.deepcopy(trainer.lightning_module.state_dict())
        self.state.logged_before = dict(trainer.callback_metrics)
        self.state.is_stopped = trainer.should_stop
        trainer.save_checkpoint(STATE)
        shown = {name: value for name, value in metrics.items() if name not in NO_METRICS}
        position = format_position(number, self.config.trainer.max_epochs)
        line = f"epoch {position}  {format_metrics_line(shown)}"
        self.live_run.finish_step(row, line, self.state.content)


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
        epoch = len(self.recorder.live_run.rows)
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
        if (generator := getattr(self.loader, "generator", None)) is not None:
            generator.manual_seed(seed)

    def __len__(self) -> int:
        return len(self.loader)

    def __getattr__(self, name: str) -> object:
        return getattr(self.loader, name)


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed the random generators of Python, numpy and torch, within a millisecond on a CPU."""
    random.seed(seed)
    np.random.seed(seed)
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def check_metrics_finite(metrics: Mapping[str, float], when: str) -> None:
    """Raise DlrunError if a metric is infinite or NaN, as when training has diverged."""
    for name, value in metrics.items():
        if not math.isfinite(value):
            hint = "try a smaller optimizer.lr, or trainer.precision 32-true"
            raise DlrunError(f"{when}: {name} is {value}", hint)
