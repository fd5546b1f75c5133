"""Train and test a network, or a LightningModule of the user's own, by Lightning's Trainer."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import lightning.pytorch as pl
import numpy as np
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.utilities.model_helpers import is_overridden
from numpy.typing import NDArray
from torch import nn

from dlrun.config.network_sections import LightningConfig, NetworkConfig, Precision
from dlrun.errors import ConfigError, DlrunError
from dlrun.metrics import VALID, describe_metric
from dlrun.runs.checkpoint import NAME as CHECKPOINT
from dlrun.runs.live_run import LiveRun
from dlrun.runs.metrics_csv import newest_metrics
from dlrun.runs.ranked_metrics import kept_epoch
from dlrun.system.accelerator import (
    AcceleratorChoice,
    DeviceComparison,
    choose_available_device,
    run_with_fallback,
)
from dlrun.system.spelling import did_you_mean
from dlrun.system.text import pluralize
from dlrun.training.array_batches import ArrayData
from dlrun.training.compare_device_with_cpu import (
    GradientProbe,
    StopAfterFirstGradients,
    compare_with_cpu,
)
from dlrun.training.divergence import check_metrics_finite, divergence_warning
from dlrun.training.epoch_recorder import EpochRecorder
from dlrun.training.lightning_checkpoint import LightningCheckpoint
from dlrun.training.lightning_network import LightningNetwork, NetworkData
from dlrun.training.objective import TrainingObjective, apply_loss_options
from dlrun.training.processes import FurtherProcesses
from dlrun.training.run_callbacks import PredictionsOfTest, SeededEpochs, StopOnSignal
from dlrun.training.seeded_loaders import SeededLoaders
from dlrun.training.stage_metrics import epoch_columns
from dlrun.training.trainer import make_trainer
from dlrun.training.user_module_outputs import logged_names_by_column, values_by_column

M = TypeVar("M", bound=pl.LightningModule)
USER_MODULE = "a LightningModule of your own; `dlrun accelerators` compares two networks of dlrun"
NO_PREDICTIONS = (
    "no predictions are written: `predict_step` returns neither scores (rows, classes) of "
    "whole-number targets, nor values (rows,) of other numbers"
)


@dataclass(frozen=True)
class TrainingResult(Generic[M]):
    """Holds what a training returns: metrics of the kept epoch and the test, and predictions."""

    module: M  # it has the weights of the kept epoch, on the CPU
    metrics: dict[str, float]
    predictions: NDArray[np.float64] | None  # they are of the test, see `join_predictions`
    weights_epoch: int  # the epoch that was kept
    stopped_epoch: int | None  # the epoch after which early stopping or a callback ended all


@dataclass(frozen=True)
class _Attempt(Generic[M]):
    """Holds what one attempt to train on a device needs; after a failure the CPU gets another."""

    device: str
    module: M
    data: pl.LightningDataModule
    recorder: EpochRecorder
    processes: FurtherProcesses
    predictions: PredictionsOfTest


@dataclass(frozen=True)
class Training(Generic[M]):
    """Trains and tests a module of Lightning; seeds the process and changes torch's settings."""

    config: LightningConfig
    live_run: LiveRun
    # Every attempt has its own untrained module, data module and callbacks.
    make_module: Callable[[], M]
    make_data: Callable[[], pl.LightningDataModule]
    make_callbacks: Callable[[], Sequence[pl.Callback]] = tuple
    # The arguments of Lightning's Trainer that `make_trainer` does not take from the config.
    trainer_arguments: Mapping[str, Any] = field(default_factory=dict)
    columns: Sequence[str] = ()  # those of metrics.csv, if they are known before an epoch
    data_digest: str = ""
    not_compared: str = ""  # why a device is not compared with the CPU

    @staticmethod
    def of_network(
        config: NetworkConfig,
        live_run: LiveRun,
        make_network: Callable[[], nn.Module],
        data: ArrayData,
        objective: TrainingObjective,
        data_digest: str,
    ) -> "Training[LightningNetwork]":
        """Make the training of a network of dlrun on data held in memory.

        The network obeys most keys of the section `trainer` by itself, since a call of its
        training_step gets several batches.
        """
        loss = apply_loss_options(config, objective, data.train.targets)
        columns = epoch_columns(objective, with_lr=config.scheduler.changes_rate)

        def make_module() -> LightningNetwork:
            return LightningNetwork(make_network(), config, objective, loss)

        return Training(
            config,
            live_run,
            make_module,
            lambda: NetworkData(data),
            trainer_arguments={
                "check_val_every_n_epoch": config.trainer.check_val_every_n_epoch,
                "use_distributed_sampler": False,  # the data know which rows a process has
            },
            columns=columns,
            data_digest=data_digest,
        )

    @staticmethod
    def of_user_module(
        config: LightningConfig,
        live_run: LiveRun,
        make_module: Callable[[], pl.LightningModule],
        make_data: Callable[[], pl.LightningDataModule],
        make_callbacks: Callable[[], Sequence[pl.Callback]] = tuple,
    ) -> "Training[pl.LightningModule]":
        """Make the training of a user's own module, whose metrics are what the module logs."""
        section = config.trainer
        by_make_trainer = {"max_epochs", "deterministic", "precision", "devices", "strategy"}

        def make_all_callbacks() -> list[pl.Callback]:
            return [SeededLoaders(config.seed, live_run.screen.warn), *make_callbacks()]

        return Training(
            config,
            live_run,
            make_module,
            make_data,
            make_all_callbacks,
            trainer_arguments=section.model_dump(exclude=by_make_trainer)
            | {
                "logger": DummyLogger(),  # a module may use it
                "limit_predict_batches": section.limit_test_batches,  # the test is predicted
            },
            not_compared=USER_MODULE,
        )

    def run_on_accelerator(self) -> tuple[TrainingResult[M], AcceleratorChoice]:
        """Train on the accelerator of the config, or on the CPU if it fails; say which was used."""
        if self.config.trainer.devices > 1:
            device, reason = choose_available_device(self.config.accelerator)
            result = self.run(device)
            return result, AcceleratorChoice(self.config.accelerator, device, reason)
        return run_with_fallback(
            self.config.accelerator,
            self.live_run.screen.warn,
            self.fit_one_batch,
            self.run,
            self.compare,
            fallback=self.config.fallback,
            undo=self.live_run.restart_steps,
        )

    def run(self, device: str) -> TrainingResult[M]:
        """Do the whole training on a device; the first attempt continues from the checkpoint."""
        self._check_monitored_metric(device)
        attempt = self._begin_attempt(device)
        epochs = self.config.trainer.max_epochs
        trainer = self._make_run_trainer(attempt, self.config.trainer.devices)
        with attempt.recorder.steps.progress_bar("training", epochs, "epoch"):
            with self.live_run.phase("fit"), attempt.processes.joined(trainer):
                self._train_remaining_epochs(attempt, trainer)
            if trainer.world_size > 1:  # one process tests: with several, rows would count twice
                trainer = self._make_run_trainer(attempt, devices=1)
            with self.live_run.phase("test"):
                test_metrics, predictions = self._test_and_predict(attempt, trainer)
        return self._make_result(attempt, test_metrics, predictions)

    def _check_monitored_metric(self, device: str) -> None:
        """Raise ConfigError if the metric that chooses an epoch is not logged or not ranked.

        What a user's module logs is not known before the module is trained on one batch.
        """
        config = self.config
        metric = config.early_stopping.monitor or config.best_epoch_metric
        if metric is None:
            return
        key = "early_stopping.monitor" if config.early_stopping.monitor else "keep: best"
        columns = self.columns or logged_names_by_column(
            self.fit_one_batch(device).callback_metrics
        )
        known = sorted(name for name in columns if name.startswith(VALID))
        if metric not in known:
            hint = f"there are {', '.join(known)}" if known else "the module logs none"
            raise ConfigError(f"{key}: no metric {metric!r}{did_you_mean(metric, known)}", hint)
        why = describe_metric(metric, config.metrics).not_ranked
        if why:
            raise ConfigError(f"{key}: {why}")

    def _begin_attempt(self, device: str) -> _Attempt[M]:
        """Build the module and its data, and get the steps that are finished already."""
        live_run = self.live_run
        steps = live_run.begin_steps(self.columns or None, self.data_digest)
        checkpoint = LightningCheckpoint(live_run.folder.path / CHECKPOINT, steps.saved_state)
        module, data = self._build_seeded()
        return _Attempt(
            device,
            module,
            data,
            EpochRecorder(steps, self.config, checkpoint, self.columns),
            FurtherProcesses(live_run),
            PredictionsOfTest(),
        )

    def _make_run_trainer(self, attempt: _Attempt[M], devices: int) -> pl.Trainer:
        """Make the Trainer of the run, with the callbacks of an experiment of another package."""
        return make_trainer(
            self.config,
            attempt.device,
            [
                attempt.processes,
                attempt.recorder,
                SeededEpochs(self.config.seed),
                StopOnSignal(self.live_run.stop),
                attempt.predictions,
                *self.make_callbacks(),
            ],
            devices=devices,
            plugins=[attempt.recorder.checkpoint],
            default_root_dir=self.live_run.folder.path,  # where ModelCheckpoint writes
            **self.trainer_arguments,
        )

    def _train_remaining_epochs(self, attempt: _Attempt[M], trainer: pl.Trainer) -> None:
        """Train the epochs that are left, and give the module the weights that are kept."""
        live_run = self.live_run
        module = attempt.module
        recorder = attempt.recorder
        checkpoint = recorder.checkpoint
        epochs_done = len(live_run.rows)
        if epochs_done:
            saved = checkpoint.read()
            module.load_state_dict(saved["state_dict"])
            recorder.load_state_dict(saved["callbacks"][recorder.state_key])
        epochs_left = 0 if recorder.is_stopped else self.config.trainer.max_epochs - epochs_done
        before = f", {epochs_done:,} finished before" if epochs_done else ""
        live_run.screen.note(
            f"training {pluralize(epochs_left, 'epoch')} on {attempt.device}{before}"
        )
        if epochs_left:
            resume_from = checkpoint.path if epochs_done else None
            trainer.fit(module, datamodule=attempt.data, ckpt_path=resume_from, weights_only=True)
        if not live_run.rows:
            raise DlrunError("the training has ended before its first epoch")
        if recorder.best_weights is not None:
            module.load_state_dict(recorder.best_weights)

    def _test_and_predict(
        self, attempt: _Attempt[M], trainer: pl.Trainer
    ) -> tuple[dict[str, float], NDArray[np.float64] | None]:
        """Test a module, and let the module predict the rows of the test, if it can.

        Returns the metrics of the test, and the predictions in the form of `join_predictions`.
        """
        module = attempt.module
        data = attempt.data
        if not (is_overridden("test_step", module) and is_overridden("test_dataloader", data)):
            return {}, None
        self._seed()  # a resumed run may have trained less before
        trainer.test(module, datamodule=data, verbose=False)
        metrics = values_by_column(trainer.callback_metrics)
        predicts = self.config.predictions is not False and is_overridden("predict_step", module)
        if predicts:
            trainer.predict(module, data.test_dataloader(), return_predictions=False)
        predictions = attempt.predictions.join()
        if predicts and predictions is None:
            self.live_run.screen.warn(NO_PREDICTIONS)
        return metrics, predictions

    def _make_result(
        self,
        attempt: _Attempt[M],
        test_metrics: dict[str, float],
        predictions: NDArray[np.float64] | None,
    ) -> TrainingResult[M]:
        """Choose the kept epoch; raise DlrunError for a metric that is not finite."""
        check_metrics_finite(test_metrics, "test")
        rows = self.live_run.rows
        problem = divergence_warning(rows)
        if problem is not None:
            self.live_run.screen.warn(problem)
        stopped_epoch = self._note_early_stop()
        weights_epoch = kept_epoch(rows, self.config.metrics, self.config.best_epoch_metric)
        metrics = newest_metrics(rows[:weights_epoch]) | test_metrics
        return TrainingResult(
            attempt.module.cpu(), metrics, predictions, weights_epoch, stopped_epoch
        )

    def _note_early_stop(self) -> int | None:
        """Note and return after which epoch the training stopped early, if it did."""
        done = len(self.live_run.rows)
        epochs = self.config.trainer.max_epochs
        if done == epochs:
            return None
        self.live_run.screen.note(f"the training stopped early, after epoch {done} of {epochs}")
        return done

    def compare(self, device: str) -> DeviceComparison:
        """Measure how far a device is from the CPU for one batch of a network of dlrun."""
        precision = self.config.trainer.precision
        if self.not_compared:
            return DeviceComparison(precision, not_compared=self.not_compared)
        self.live_run.screen.note(f"comparing {device} with the CPU on one batch")
        return compare_with_cpu(device, precision, self.fit_one_batch)

    def fit_one_batch(
        self, device: str, precision: Precision | None = None, probe: GradientProbe | None = None
    ) -> pl.Trainer:
        """Train on one batch, by default in the run's precision; return the Trainer that did it."""
        module, data = self._build_seeded(probe.draw if probe else 0)
        probes = [probe] if probe else []
        # An epoch of one batch: callbacks and schedulers of the module may need a validated metric.
        trainer = make_trainer(
            self.config, device, probes, one_batch=True, logger=DummyLogger(), precision=precision
        )
        with contextlib.suppress(StopAfterFirstGradients):
            trainer.fit(module, datamodule=data)  # moves the module to the CPU at its end
        return trainer

    def _build_seeded(self, draw: int = 0) -> tuple[M, pl.LightningDataModule]:
        self._seed(draw)
        module = self.make_module()
        data = self.make_data()
        # Whatever the two have drawn, Lightning calls the data's `setup` with the same numbers.
        self._seed(draw)
        return module, data

    def _seed(self, draw: int = 0) -> None:
        """Seed the process for one draw of the weights; a device check draws them several times."""
        pl.seed_everything(self.config.seed ^ draw, verbose=False)  # a sum may exceed 32 bits
