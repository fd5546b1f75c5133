"""Define the base class of experiments whose LightningModule was not written for dlrun.

Lightning's automatic optimization does the updates. Each finished epoch is a row of metrics.csv
with what the module logged, and a checkpoint with the state that Lightning itself would save.
"""

import math
import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.model_summary.model_summary import ModelSummary

from dlrun.config.network_sections import LightningConfig
from dlrun.data.sources import DataOrigin
from dlrun.errors import DlrunError
from dlrun.experiments.base import Experiment
from dlrun.experiments.saved_run import DrawnFigures, Run
from dlrun.networks.files import read_tensors
from dlrun.plots.run import draw_learning_curves
from dlrun.run_context import Results, RunContext
from dlrun.run_folder.folder import WEIGHTS
from dlrun.run_folder.recorded_metrics import NO_METRICS, SECONDS, STEP
from dlrun.system.resources import temporary_training_settings
from dlrun.training.fit import Training
from dlrun.training.recorder import EpochRecorder, seed_generators

L = TypeVar("L", bound=LightningConfig)

SPLIT = re.compile(r"(train|val|test)(?:ing|id|idation)?[_/](.+)")


class LightningExperiment(Experiment[L], Generic[L]):
    """Defines an experiment by an ordinary LightningModule and an ordinary LightningDataModule.

    What the module logs by `self.log` for an epoch becomes the columns of metrics.csv, and what it
    logs in its test the results; `val_loss` and `val/loss` are called `valid_loss`. All random
    numbers of an epoch are seeded by the config's seed and the epoch, so that a resumed run has
    the same bits.
    """

    @abstractmethod
    def module(self, config: L) -> pl.LightningModule:
        """Build the untrained module, with its optimizers and losses."""

    @abstractmethod
    def datamodule(self, config: L, context: RunContext) -> pl.LightningDataModule:
        """Build the data module; it may lack `test_dataloader`, and the module `test_step`."""

    def origin(self, config: L) -> DataOrigin:
        """Return where the data come from, which is shown beside the results."""
        return DataOrigin(f"the data of {self.name}")

    def run(self, config: L, context: RunContext) -> Results:
        """Train and test the module, and write the files of the run."""
        training = Training(
            config,
            context,
            lambda: self.module(config),
            lambda: self.datamodule(config, context),
            ModuleRecorder,
        )
        with temporary_training_settings(context.threads):
            summary = ModelSummary(self.module(config), max_depth=-1)
            context.write_summary(str(summary))
            trained, report = training.run_on_accelerator()
        return Results(
            metrics=trained.metrics,
            accelerator=report,
            origin=self.origin(config),
            extra={"parameters": summary.total_parameters, "epochs": config.trainer.max_epochs},
            processes=trained.processes,
            stopped_epoch=trained.stopped_epoch,
        )

    def network(self, run: Run, config: L) -> pl.LightningModule:
        """Return a run's module with its trained weights, in eval mode, on the CPU."""
        module = self.module(config)
        module.load_state_dict(read_tensors(run.folder / WEIGHTS, run.read(WEIGHTS)))
        return module.eval()

    def draw(self, run: Run, config: L) -> DrawnFigures:
        """Draw the curves of everything that the module logged for each epoch, if anything."""
        if run.table.keys() <= {*NO_METRICS}:
            return {}
        figure = draw_learning_curves(run.table, run.record.metrics, title=self.title(run))
        return {"learning_curves.png": figure}


@dataclass(eq=False)
class ModuleRecorder(EpochRecorder):
    """Records each finished epoch of a LightningModule by what the module has logged."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Make the trainer's loaders of training data draw the same numbers in a resumed run."""
        if stage != "fit":
            return
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

    def metrics(self, trainer: pl.Trainer) -> dict[str, float]:
        """Return what the module has logged in this epoch.

        Lightning keeps the values of an earlier epoch, the last that was validated.
        """
        logged, old = dict(trainer.callback_metrics), self.state.logged
        self.state.logged = logged
        return _by_column({name: one for name, one in logged.items() if one is not old.get(name)})

    def row(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return a row with a column for each metric of this epoch and of the one before."""
        before = self.steps.rows[-1].keys() - {STEP, SECONDS} if self.steps.rows else set()
        return {
            name: metrics.get(name, math.nan)
            for name in sorted(before | metrics.keys(), key=_order)
        }

    def tested(self, trainer: pl.Trainer) -> dict[str, float]:
        """Return what the module has logged in its test."""
        return _by_column(trainer.callback_metrics)


@dataclass(eq=False)
class SeededLoader:
    """Iterates over a loader, in an order that depends only on the seed and the epoch."""

    loader: Any
    recorder: EpochRecorder
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
