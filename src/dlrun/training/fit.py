"""Train and test a network in one process or in several, which this module connects."""

import contextlib
import re
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.accelerators import AcceleratorRegistry
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping
from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.plugins import CheckpointIO
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.model_helpers import is_overridden
from numpy.typing import NDArray
from torch import nn

from dlrun.config.named_classes import class_name, load_class
from dlrun.config.network_sections import CALLBACKS, LightningConfig, NetworkConfig, Precision
from dlrun.errors import (
    AcceleratorError,
    ConfigError,
    DlrunError,
    Faults,
    Stopped,
    describe_with_place,
    did_you_mean,
)
from dlrun.metrics import VALID, describe_metric
from dlrun.networks.files import serialize_tensors
from dlrun.run_context import RunContext
from dlrun.run_folder.checkpoint import NAME as CHECKPOINT
from dlrun.run_folder.folder import EXAMPLE, WEIGHTS
from dlrun.run_folder.progress_recorder import StepCounter, check_metrics_finite
from dlrun.run_folder.recorded_metrics import NO_METRICS, kept_epoch, newest_metrics
from dlrun.system.accelerator import (
    AcceleratorReport,
    Agreement,
    is_accelerator_error,
    run_with_fallback,
)
from dlrun.system.console import pluralize
from dlrun.system.signals import StopRequest
from dlrun.training.agreement import GradientProbe, Measured, compare_with_cpu
from dlrun.training.data import ArrayData
from dlrun.training.lightning_module import (
    LightningNetwork,
    NetworkData,
    NetworkRecorder,
    PredictionCollector,
    epoch_columns,
)
from dlrun.training.objective import Objective, make_training_loss
from dlrun.training.recorder import STATE, EpochRecorder, RunState, columns_of

GROWN = 10.0  # times the first epoch's loss: more than the noise of batches
HUGE = 1e9  # a loss that shows that the first epoch has diverged already
MOMENT = 3.0  # seconds in which the process that writes the run reports an error first
PATIENCE = timedelta(minutes=5)  # longest wait for another process: far longer than a step
LOST = r"(?i)timed? ?out|\bgloo\b|connection (reset|closed|refused)|broken pipe|by peer|watchdog"
OWN_MODULE = "a LightningModule of your own; `dlrun accelerators` compares two networks of dlrun"
NO_PREDICTIONS = (
    "no predictions are written: `predict_step` returns neither scores (rows, classes) of "
    "whole-number targets, nor values (rows,) of other numbers"
)
# Keys of the config that Lightning does by itself; all but the first, dlrun's networks do.
VALIDATION = {"check_val_every_n_epoch"}
AUTOMATIC = VALIDATION | {
    *("gradient_clip_val", "gradient_clip_algorithm", "accumulate_grad_batches"),
    *("limit_train_batches", "limit_val_batches", "limit_test_batches"),
}


@dataclass(frozen=True)
class Trained:
    """Holds a trained network with the metrics of the epoch that was kept and of the test set."""

    metrics: dict[str, float]
    network: nn.Module  # on the CPU: the network, or the user's own module
    predictions: NDArray[np.float64] | None  # of the test, see PredictionCollector.finish
    processes: int  # number of processes that shared each batch
    weights_epoch: int  # the epoch that was kept
    stopped_epoch: int | None  # epoch after which early stopping or a callback ended the training


@dataclass(frozen=True)
class Training:
    """Trains and tests a module of Lightning; changes settings of the process.

    build, load: make the untrained module and its data module; called again for every attempt.
    columns: of metrics.csv; None for those that the module logs. fingerprint: hash of the data.
    """

    config: LightningConfig
    context: RunContext
    build: Callable[[], pl.LightningModule]
    load: Callable[[], pl.LightningDataModule]
    columns: Sequence[str] | None = None
    fingerprint: str = ""

    @classmethod
    def of_network(
        cls,
        config: NetworkConfig,
        context: RunContext,
        build: Callable[[], nn.Module],
        data: ArrayData,
        objective: Objective,
        fingerprint: str,
    ) -> "Training":
        """Return the training of a network on data in memory; `build` makes the network."""
        loss = make_training_loss(config, objective, data.train.targets)
        columns = epoch_columns(objective, with_lr=config.scheduler.changes_rate)

        def build_module() -> LightningNetwork:
            return LightningNetwork(build(), config, objective, loss)

        return cls(
            config, context, build_module, lambda: NetworkData(data, config), columns, fingerprint
        )

    def run_on_accelerator(self) -> tuple[Trained, AcceleratorReport]:
        """Train on the accelerator of the config, or on the CPU if it fails; say which was used."""
        config = self.config
        return run_with_fallback(
            config.accelerator,
            self.context.screen.warn,
            self.probe,
            self.run,
            self.compare,
            fallback=config.fallback,
            processes=config.processes,
        )

    def compare(self, device: str) -> Agreement:
        """Return how far a device is from the CPU for one batch of a network of dlrun."""
        precision = self.config.trainer.precision
        if self.columns is None:  # its hooks may draw or keep anything
            return Agreement(precision, not_compared=OWN_MODULE)
        self.context.screen.note(f"comparing {device} with the CPU on one batch")
        return compare_with_cpu(device, precision, self.probe)

    def probe(
        self, device: str, precision: Precision | None = None, *probes: GradientProbe
    ) -> set[str]:
        """Train on one batch, by default in the run's precision; return what the module logs."""
        module, data = self._seeded(*(probe.seed for probe in probes))
        # An epoch of one batch: callbacks and schedulers of the module may need a validated metric.
        trainer = make_trainer(
            self.config, device, probes, probe=True, logger=DummyLogger(), precision=precision
        )
        with contextlib.suppress(Measured):
            trainer.fit(module, datamodule=data)  # moves the module to the CPU at its end
        return {*trainer.callback_metrics}

    def _check_monitored(self, device: str) -> None:
        """Raise ConfigError, before an epoch, if nobody logs or ranks the metric that decides."""
        config = self.config
        metric = config.early_stopping.monitor or config.keeps_best_by
        if metric is None:
            return
        key = "early_stopping.monitor" if config.early_stopping.monitor else "keep: best"
        names = self.probe(device) if self.columns is None else {*self.columns} - {*NO_METRICS}
        known = sorted(name for name in columns_of(names) if name.startswith(VALID))
        if metric not in known:
            hint = f"there are {', '.join(known)}" if known else "the module logs none"
            raise ConfigError(f"{key}: no metric {metric!r}{did_you_mean(metric, known)}", hint)
        if why := describe_metric(metric, config.metrics).not_ranked:
            raise ConfigError(f"{key}: {why}")

    def _seeded(self, attempt: int = 0) -> tuple[pl.LightningModule, pl.LightningDataModule]:
        """Return the module and its data; what `setup` draws does not depend on the module."""
        self._seed(attempt)
        module, data = self.build(), self.load()
        self._seed(attempt)
        return module, data

    def _seed(self, attempt: int = 0) -> None:
        pl.seed_everything(self.config.seed ^ attempt, verbose=False)

    def run(self, device: str) -> Trained:
        """Do the whole training on a device; the first attempt continues from the checkpoint."""
        config, context, steps = self.config, self.context, self.context.steps
        limit, folder = config.trainer.max_epochs, context.folder.path
        callbacks = make_callbacks(config)
        self._check_monitored(device)
        checkpoint = steps.begin(self.columns, self.fingerprint)
        state = RunState(folder / CHECKPOINT, checkpoint.state if checkpoint else b"")
        module, data = self._seeded()
        network = module if isinstance(module, LightningNetwork) else None
        recorder = EpochRecorder(steps, config, state)
        if network:
            recorder = NetworkRecorder(steps, network.config, state, network)
        trainer = make_trainer(
            config,
            device,
            [recorder, *callbacks],
            logger=RunLogger(steps) if callbacks or network is None else None,
            plugins=[state],
            use_distributed_sampler=network is None,
            default_root_dir=folder,
            **config.trainer.model_dump(include=AUTOMATIC if network is None else VALIDATION),
        )
        world, done = trainer.world_size, len(steps.rows)
        left = 0 if state.is_stopped else limit - done
        with (
            steps.progress("training", limit, "epoch"),
            explain_failures(trainer, callbacks, steps.stop),
        ):
            context.screen.note(self._announcement(device, left, done, world))
            with context.phase("fit"):
                if left:
                    start = STATE if done else None
                    trainer.fit(module, datamodule=data, ckpt_path=start, weights_only=True)
                else:
                    module.load_state_dict(state.read()["state_dict"])
            if not steps.rows:
                raise DlrunError("the training has ended before its first epoch")
            if state.best is not None:
                module.load_state_dict(state.best)
            with context.phase("test"):
                metrics = self._test(trainer, module, data, recorder)
        check_metrics_finite(metrics, "test")
        rows = steps.rows
        losses = [row["train_loss"] for row in rows if "train_loss" in row]
        if losses and (problem := divergence_warning(losses)):
            context.screen.warn(problem)
        stopped = None
        if len(rows) < limit:  # by early_stopping or a callback
            stopped = len(rows)
            context.screen.note(f"the training stopped early, after epoch {stopped} of {limit}")
        trained = (network.network if network else module).cpu()
        context.keep(WEIGHTS, serialize_tensors(trained.state_dict()))
        kept = kept_epoch(rows, config.metrics, config.keeps_best_by)
        metrics = newest_metrics(rows[:kept]) | metrics
        if network is None and recorder.example is not None:
            context.keep(EXAMPLE, serialize_tensors({"inputs": recorder.example}))
        predictions = network.predictions if network else recorder.predictions()
        return Trained(metrics, trained, predictions, world, kept, stopped)

    def _test(
        self,
        trainer: pl.Trainer,
        module: pl.LightningModule,
        data: pl.LightningDataModule,
        recorder: EpochRecorder,
    ) -> dict[str, float]:
        """Test a module, and let it predict the test's rows, if it can; return the metrics."""
        if not (is_overridden("test_step", module) and is_overridden("test_dataloader", data)):
            return {}
        self._seed()  # a resumed run may have trained less before
        trainer.test(module, datamodule=data, verbose=False)
        metrics = recorder.tested(trainer)
        # Several processes would share the rows.
        predicts = trainer.world_size == 1 and self.config.predictions is not False
        if predicts and is_overridden("predict_step", module):
            trainer.predict(module, data.test_dataloader(), return_predictions=False)
            if recorder.predictions() is None:
                self.context.screen.warn(NO_PREDICTIONS)
        return metrics

    def _announcement(self, device: str, left: int, done: int, world: int) -> str:
        by = f" by {world} processes" if world > 1 else ""
        if by and isinstance(self.config, NetworkConfig):
            by += f", batches of {world} x {self.config.batch_size // world} rows"
        before = f", {done:,} finished before" if done else ""
        return f"training {pluralize(left, 'epoch')} on {device}{by}{before}"


@contextlib.contextmanager
def explain_failures(
    trainer: pl.Trainer, callbacks: Sequence[pl.Callback], stop: StopRequest
) -> Iterator[None]:
    """Name the callback that raised an error in the block, or say that a process has ended."""
    try:
        yield
    except (DlrunError, Stopped):
        raise
    except BaseException as error:  # a callback can raise anything
        is_device = isinstance(error, Exception) and is_accelerator_error(error)
        if not is_device and (failed := _find_callback(error, callbacks)):
            name, cause = failed
            raise DlrunError(
                f"{CALLBACKS}: {name} has failed: {describe_with_place(cause, name)}",
                "correct its arguments or its code, or leave it out; the traceback is in log.txt",
            ) from error
        if trainer.world_size == 1 or not re.search(LOST, str(error)):
            raise
        if trainer.global_rank > 0:  # the process that writes the run reports it first
            time.sleep(MOMENT)
            stop.after_step()
        lost = f"has ended, or has not answered for {PATIENCE.total_seconds():.0f} s"
        raise DlrunError(
            f"one of the {trainer.world_size} processes that train together {lost}",
            "its own error, if it had one, is above; `dlrun resume` continues after the last epoch",
        ) from error


def _find_callback(
    error: BaseException, callbacks: Sequence[pl.Callback]
) -> tuple[str, BaseException] | None:
    """Return the name of the callback that raised an error or its cause, and what it raised."""
    cause: BaseException | None = error
    while cause:
        for frame, _ in traceback.walk_tb(cause.__traceback__):
            owner = frame.f_locals.get("self")
            if any(owner is callback for callback in callbacks):
                return f"{type(owner).__module__}.{type(owner).__qualname__}", cause
        cause = cause.__cause__ or cause.__context__  # Lightning exits after KeyboardInterrupt
    return None


def make_callbacks(config: LightningConfig) -> list[pl.Callback]:
    """Return the callbacks that a config names; raise ConfigError if one cannot be made or used."""
    callbacks, faults = [], Faults()
    for item in config.trainer.callbacks:
        with faults.collected():
            make, name = load_class(CALLBACKS, item, pl.Callback, {}), class_name(item)
            try:
                callback = make()
            except (Exception, SystemExit) as error:  # code of other packages can raise anything
                reason = describe_with_place(error, name)
                raise ConfigError(f"{CALLBACKS}: {name} cannot be made: {reason}") from error
            if isinstance(callback, EarlyStopping) and isinstance(config, NetworkConfig):
                hint = "the section early_stopping does this, also in a resumed run"
                raise ConfigError(f"{CALLBACKS}: {name} does not stop this network", hint)
            callbacks.append(callback)
    faults.raise_all()
    return callbacks


class RunLogger(DummyLogger):
    """Hands what callbacks and modules log through Lightning to the loggers of a run."""

    def __init__(self, steps: StepCounter) -> None:
        super().__init__()
        self._steps = steps

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log values of an update."""
        self._steps.log_update(step or 0, metrics)

    @property
    def save_dir(self) -> str:
        """Return the folder of the run, in which callbacks such as ModelCheckpoint write."""
        return str(self._steps.path.absolute())


def make_trainer(
    config: LightningConfig,
    device: str,
    callbacks: Sequence[pl.Callback] = (),
    *,
    probe: bool = False,
    precision: Precision | None = None,
    logger: Logger | None = None,
    plugins: Sequence[CheckpointIO] = (),
    **more: Any,
) -> pl.Trainer:
    """Return a Lightning Trainer that neither prints nor writes files.

    probe: one batch of this process alone. precision: if not the config's. more: of the Trainer.
    Raises AcceleratorError for a device, and ConfigError for values, that Lightning does not take.
    """
    if device not in AcceleratorRegistry.available_accelerators():
        raise AcceleratorError(f"Lightning has no accelerator named {device}")
    section = config.trainer
    several = not probe and config.processes > 1
    if probe:
        more = {"limit_train_batches": 1, "limit_val_batches": 1}
    try:
        return pl.Trainer(
            accelerator=device,
            devices=1 if probe else section.devices,
            strategy=DDPStrategy(timeout=PATIENCE) if several else "auto",
            plugins=[TorchElasticEnvironment() if several else LightningEnvironment(), *plugins],
            precision=precision or section.precision,
            deterministic=section.deterministic,
            max_epochs=1 if probe else section.max_epochs,
            callbacks=[*callbacks],
            logger=logger or False,
            enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            **more,
        )
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        raise ConfigError(f"trainer: Lightning refuses these values: {error}") from None


def divergence_warning(losses: Sequence[float]) -> str | None:
    """Return a warning if the training losses rose instead of falling, else None."""
    first, last = losses[0], losses[-1]
    if last <= HUGE and (first <= 0 or last <= GROWN * first):
        return None
    return (
        f"the training loss is {last:.3g} (in the first epoch {first:.3g}): the training "
        "diverged; try a smaller optimizer.lr"
    )


def predict_test_set(
    network: nn.Module, objective: Objective, data: ArrayData, config: NetworkConfig, processes: int
) -> NDArray[np.float64] | None:
    """Test a trained network again on the CPU, with the precision and the rows of its run.

    processes: how many shared the run. Returns the same as PredictionCollector.finish.
    """
    plugin = make_trainer(config, "cpu", probe=True).precision_plugin
    network = plugin.convert_module(network)
    if (limit := config.trainer.limit_test_batches) is not None:  # a limit for each process
        limit = processes * len(data.evaluation_batches(data.test, 0, processes, limit=limit))
    collector = PredictionCollector(objective)
    with torch.inference_mode(), plugin.forward_context():
        for batch in data.evaluation_batches(data.test, limit=limit):
            inputs, targets = plugin.convert_input(batch)
            collector.add(network(inputs), targets)
    return collector.finish(torch.device("cpu"))
