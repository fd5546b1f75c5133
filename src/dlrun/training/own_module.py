"""Train and test a LightningModule that was not written for dlrun, with its own data module.

Lightning's automatic optimization does the updates. Each finished epoch is a row of metrics.csv
with what the module logged, and a checkpoint with the state that Lightning itself would save.
"""

import math
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning.pytorch.utilities.model_summary.model_summary import ModelSummary

from dlrun.config.network_sections import LightningConfig
from dlrun.errors import DlrunError
from dlrun.networks.files import read_tensors, serialize_tensors
from dlrun.run_context import RunContext
from dlrun.run_folder.checkpoint import NAME as CHECKPOINT
from dlrun.run_folder.folder import WEIGHTS
from dlrun.run_folder.progress_recorder import check_metrics_finite
from dlrun.run_folder.recorded_metrics import SECONDS, STEP, format_metrics_line, newest_metrics
from dlrun.system.accelerator import check_cpu_devices, note_slow_precision
from dlrun.system.console import format_position, pluralize
from dlrun.training.callbacks import RunLogger, make_guarded_callbacks
from dlrun.training.fit import explain_lost_peers, make_trainer
from dlrun.training.lightning_module import (
    TrainingRecorder,
    derive_seed,
    seed_torch,
    stop_together,
)

STATE = "the state of the run"  # stands for a path: this checkpoint stays in memory
# Keys of the config that Lightning does by itself where it does the updates.
AUTOMATIC = {
    *("gradient_clip_val", "gradient_clip_algorithm", "accumulate_grad_batches"),
    *("check_val_every_n_epoch", "limit_train_batches", "limit_val_batches", "limit_test_batches"),
}
SPLIT = re.compile(r"(train|val|test)(?:ing|id|idation)?[_/](.+)")
HYPERPARAMETERS = re.compile(r"(datamodule_)?(hparams_|hyper_parameters)")


@dataclass(frozen=True)
class TrainedModule:
    """Holds the newest metrics and those of the test, and the number of processes.

    stopped_epoch: the epoch after which a callback ended the training; None if none did.
    """

    metrics: dict[str, float]
    processes: int
    stopped_epoch: int | None


@dataclass(frozen=True)
class ModuleTraining:
    """Trains and tests a LightningModule, and writes metrics.csv and weights.pt.

    It changes settings of the process, see process_settings.temporary_training_settings.

    build, load: make the untrained module and its data module; called again for every attempt.
    """

    config: LightningConfig
    context: RunContext
    build: Callable[[], pl.LightningModule]
    load: Callable[[], pl.LightningDataModule]

    def write_summary(self) -> int:
        """Write Lightning's table of layers to summary.txt; return the number of parameters."""
        summary = ModelSummary(self.build(), max_depth=-1)
        self.context.write_summary(str(summary))
        return summary.total_parameters

    def probe(self, device: str) -> None:
        """Update the weights once, in the run's own precision; raise the error of a failure."""
        module, data = self._seeded()
        # An epoch of one batch: callbacks and schedulers of the module may need a validated metric.
        trainer = make_trainer(
            self.config,
            device,
            probe=True,
            logger=DummyLogger(),
            max_steps=-1,
            limit_train_batches=1,
            limit_val_batches=1,
        )
        trainer.fit(module, datamodule=data)  # moves the module to the CPU at its end

    def _seeded(self) -> tuple[pl.LightningModule, pl.LightningDataModule]:
        """Return the module and its data; what `setup` draws does not depend on the module."""
        self._seed()
        module, data = self.build(), self.load()
        self._seed()
        return module, data

    def _seed(self) -> None:
        pl.seed_everything(self.config.seed, verbose=False)

    def run(self, device: str) -> TrainedModule:
        """Do the whole training on a device; the first attempt continues from the checkpoint."""
        config, context, steps = self.config, self.context, self.context.steps
        epochs = config.trainer.max_epochs
        found = steps.begin(None, "", epochs, "epoch")
        state = InMemoryCheckpoint(context.folder.path / CHECKPOINT, found.state if found else b"")
        done = len(steps.rows)
        left = 0 if state.is_stopped else epochs - done
        check_cpu_devices(device, config.trainer.devices)
        module, data = self._seeded()
        with steps.progress("training", epochs, "epoch") as bar:
            recorder = ModuleRecorder(steps, bar, config, state)
            trainer = make_trainer(
                config,
                device,
                [recorder, *make_guarded_callbacks(config, context.screen.warn)],
                epochs,
                logger=RunLogger(steps),
                plugins=[state],
                use_distributed_sampler=True,
                **config.trainer.model_dump(include=AUTOMATIC),
            )
            recorder.seed_loaders_of(trainer)
            context.screen.note(
                f"training {pluralize(left, 'epoch')} on {device}"
                f"{f', {done:,} finished before' if done else ''}"
            )
            note_slow_precision(device, config.trainer.precision, context.screen.note)
            with explain_lost_peers(context, trainer.world_size):
                with context.phase("fit"):
                    if left:
                        resumed = STATE if done else None
                        trainer.fit(module, datamodule=data, ckpt_path=resumed, weights_only=True)
                    else:
                        module.load_state_dict(state.read()["state_dict"])
                if not steps.rows:
                    raise DlrunError("the data module has no batches to train on")
                with context.phase("test"):
                    metrics = self._test(trainer, module, data)
        context.keep(WEIGHTS, serialize_tensors(module.cpu().state_dict()))
        metrics = newest_metrics(steps.rows) | metrics
        stopped = len(steps.rows) if state.is_stopped else None
        return TrainedModule(metrics, trainer.world_size, stopped)

    def _test(
        self, trainer: pl.Trainer, module: pl.LightningModule, data: pl.LightningDataModule
    ) -> dict[str, float]:
        """Return the metrics of the test; none if the module or its data have no test."""
        if not (is_overridden("test_step", module) and is_overridden("test_dataloader", data)):
            return {}
        self._seed()  # a resumed run may have trained less before
        trainer.test(module, datamodule=data, verbose=False)
        metrics = _by_column(trainer.callback_metrics)
        check_metrics_finite(metrics, "test")
        return metrics


class InMemoryCheckpoint(TorchCheckpointIO):
    """Keeps the checkpoint of a run, as Lightning makes it, for dlrun's own checkpoint file.

    Checkpoints that a callback of the user's writes go to their files. The hyperparameters are
    left out: the module is made from the config, and they may be objects of any kind.

    logged: what the module logged until the last epoch. is_stopped: whether a callback has
    ended the training.
    """

    def __init__(self, path: Path, content: bytes) -> None:
        super().__init__()
        self._path = path  # named in messages
        self.content: bytes | memoryview = content
        saved = self.read() if content else {}
        self.logged: dict[str, torch.Tensor] = saved.get("logged", {})
        self.is_stopped: bool = saved.get("is_stopped", False)

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Keep the state of the run, or write a checkpoint to a file."""
        if path != STATE:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        progress = checkpoint["loops"]["fit_loop"]["epoch_progress"]
        for counts in (progress["total"], progress["current"]):
            counts["ready"] = counts["started"]  # the next epoch begins when a run is resumed
        kept = {key: one for key, one in checkpoint.items() if not HYPERPARAMETERS.match(key)}
        kept |= {"logged": self.logged, "is_stopped": self.is_stopped}
        self.content = serialize_tensors(kept)

    def load_checkpoint(self, path: str | Path, *options: Any, **more: Any) -> dict[str, Any]:
        """Return the state of the run, or read a checkpoint from a file."""
        return self.read() if path == STATE else super().load_checkpoint(path, *options, **more)

    def read(self) -> Any:
        """Return the state of the run; raise DataError if it has more than tensors and numbers."""
        return read_tensors(self._path, bytes(self.content))


@dataclass(eq=False)
class ModuleRecorder(TrainingRecorder):
    """Records each finished epoch of a LightningModule; epochs count from 1.

    An epoch is recorded when the next one starts, or after the last: only then are the learning
    rates updated too. Its order of rows and its random numbers depend only on the seed and the
    epoch (`SeededLoader`, and here).
    """

    config: LightningConfig
    state: InMemoryCheckpoint
    _seconds: float | None = None  # duration of an epoch that is not recorded yet
    _has_saved: bool = False

    def seed_loaders_of(self, trainer: pl.Trainer) -> None:
        """Make the trainer's loaders of training data draw the same numbers in a resumed run."""
        strategy, places = trainer.strategy, iter(range(1000))
        process = strategy.process_dataloader

        def seeded(loader: object) -> object:
            loader = process(loader)
            if not trainer.training:
                return loader
            if getattr(loader, "persistent_workers", False):
                self.steps.screen.warn(
                    "persistent_workers: if the run is resumed, its workers draw other numbers"
                )
            return SeededLoader(loader, self, strategy.root_device, next(places))

        strategy.process_dataloader = seeded  # type: ignore[method-assign, assignment]

    def seed_of(self, *place: int) -> int:
        """Return the seed of a place within the current epoch."""
        return derive_seed(self.config.seed, len(self.steps.rows), *place)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Replace Lightning's signal handlers, and restore what was logged before a resume.

        A scheduler may follow a metric of an earlier epoch, the last that was validated.
        """
        self.steps.stop.install_handlers()
        trainer.callback_metrics.update(self.state.logged)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the epoch before, and start to measure the time of this one."""
        self._record(trainer)
        self.began = time.perf_counter()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Seed the random generators before the first update, whatever has used them."""
        if batch_idx == 0:
            seed_generators(self.seed_of(), pl_module.device)

    def on_validation_batch_end(self, trainer: pl.Trainer, *hook: Any) -> None:
        """Stop the validation if a signal was received; of several processes, the next epoch."""
        if trainer.world_size == 1:
            stop_together(trainer, self.steps.stop)

    def on_test_batch_end(self, trainer: pl.Trainer, *hook: Any) -> None:
        """Stop the test if a signal was received."""
        self.on_validation_batch_end(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Measure the time of the epoch, validation included."""
        self._seconds = time.perf_counter() - self.began

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Record the last epoch."""
        self._record(trainer)

    def _record(self, trainer: pl.Trainer) -> None:
        """Finish the epoch that has ended, if any; raise DlrunError if a metric is not finite."""
        if self._seconds is None:
            return
        number, logged = len(self.steps.rows) + 1, dict(trainer.callback_metrics)
        # Lightning keeps the values of an earlier epoch, the last that was validated.
        old = self.state.logged
        metrics = _by_column(
            {name: one for name, one in logged.items() if one is not old.get(name)}
        )
        check_metrics_finite(metrics, f"epoch {number}")
        self.state.logged, self.state.is_stopped = logged, trainer.should_stop
        trainer.save_checkpoint(STATE)
        if not self._has_saved and trainer.is_global_zero:
            self.state.read()  # a state that could not be read again is an error now
        self._has_saved, seconds, self._seconds = True, self._seconds, None
        before = self.steps.rows[-1].keys() - {STEP, SECONDS} if self.steps.rows else set()
        names = sorted(before | metrics.keys(), key=_order)
        values = {name: metrics.get(name, math.nan) for name in names}
        position = format_position(number, self.config.trainer.max_epochs)
        shown = format_metrics_line({name: values[name] for name in names if name in metrics})
        self.steps.finish(
            {STEP: number, **values, SECONDS: seconds},
            f"epoch {position}  {shown}",
            self.state.content,
        )


@dataclass(eq=False)
class SeededLoader:
    """Iterates over a loader, in an order that depends only on the seed and the epoch."""

    loader: Any
    recorder: ModuleRecorder
    device: torch.device
    place: int  # number of this loader among those of the training data
    _epoch: int = -1
    _turn: int = 0  # number of the pass within an epoch, of a loader shorter than another

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches; the generators are seeded when one of the first two is asked for.

        The second one may be fetched in advance, before or after the hooks of an epoch's start.
        """
        epoch = len(self.recorder.steps.rows)
        self._turn = self._turn + 1 if epoch == self._epoch else 0
        self._epoch = epoch
        self._seed(0)
        batches = iter(self.loader)
        yield from islice(batches, 1)
        self._seed(1)
        yield from batches

    def _seed(self, batch: int) -> None:
        seed = self.recorder.seed_of(1 + self.place, self._turn, batch)
        seed_generators(seed, self.device)
        if (own := getattr(self.loader, "generator", None)) is not None:
            own.manual_seed(seed)

    def __len__(self) -> int:
        return len(self.loader)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed the random generators of Python, numpy and torch."""
    random.seed(seed)
    np.random.seed(seed)
    seed_torch(seed, device)


def _by_column(logged: Mapping[str, Any]) -> dict[str, float]:
    """Return what a module logged by the names of dlrun's columns: `valid_loss` for `val/loss`.

    Of a value that was logged by update and by epoch, only the one of the epoch is kept.
    `epoch` and `seconds` are columns of dlrun. Raises DlrunError if two names are one column.
    """
    metrics: dict[str, float] = {}
    names: dict[str, str] = {}
    for name, value in logged.items():
        whole, _, kind = name.rpartition("_")
        if name in (STEP, SECONDS) or (kind in ("step", "epoch") and whole in logged):
            continue
        found = SPLIT.fullmatch(name)
        column = f"{found[1].replace('val', 'valid')}_{found[2]}" if found else name
        if (other := names.setdefault(column, name)) != name:
            problem = f"the module logs {other} and {name}, which are both the column {column}"
            raise DlrunError(problem, "give one of them another name")
        metrics[column] = float(value)
    return metrics


def _order(name: str) -> tuple[int, str]:
    """Return what columns are sorted by: those of the training come first, then the validation."""
    return (0 if name.startswith("train_") else 1 if name.startswith("valid_") else 2), name
