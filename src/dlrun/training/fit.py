"""Train and test a network in one process or in several, which this module connects."""

import contextlib
import os
import re
import socket
import subprocess
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.accelerators import AcceleratorRegistry
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping
from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.plugins import CheckpointIO
from lightning.pytorch.strategies import DDPStrategy
from numpy.typing import NDArray
from torch import nn

from dlrun.config.named_classes import class_name, load_class
from dlrun.config.network_sections import LightningConfig, NetworkConfig
from dlrun.errors import AcceleratorError, ConfigError, DlrunError, describe_with_place
from dlrun.networks.files import serialize_tensors
from dlrun.run_context import RunContext
from dlrun.run_folder.checkpoint import NAME as CHECKPOINT
from dlrun.run_folder.folder import WEIGHTS
from dlrun.run_folder.progress_recorder import ProgressRecorder, check_metrics_finite
from dlrun.run_folder.recorded_metrics import kept_epoch, newest_metrics
from dlrun.system.accelerator import (
    AcceleratorReport,
    check_batch_divisible,
    check_cpu_devices,
    is_accelerator_error,
    run_with_fallback,
)
from dlrun.system.console import pluralize
from dlrun.training.data import ArrayData
from dlrun.training.lightning_module import (
    LightningNetwork,
    NetworkRecorder,
    PredictionCollector,
    epoch_columns,
)
from dlrun.training.objective import Objective, make_training_loss
from dlrun.training.recorder import STATE, EpochRecorder, RunState

GROWN = 10.0  # times the first epoch's loss: more than the noise of batches
HUGE = 1e9  # a loss that shows that the first epoch has diverged already
MOMENT = 3.0  # seconds in which the process that writes the run reports an error first
PATIENCE = timedelta(minutes=5)  # longest wait for another process: far longer than a step
FIRST_PORT, PORTS = 15000, 15000  # below those that Linux assigns by itself
SRUN_VARIABLES = {
    "WORLD_SIZE": "SLURM_STEP_NUM_TASKS",
    "RANK": "SLURM_PROCID",
    "LOCAL_RANK": "SLURM_LOCALID",
    "GROUP_RANK": "SLURM_NODEID",
}  # torchrun's environment variables, and those of srun with the same values
TIMEOUT = r"(?i)timed? ?out"
LOST = rf"{TIMEOUT}|\bgloo\b|connection (reset|closed|refused)|broken pipe|by peer|watchdog"
CALLBACKS = "trainer.callbacks"
T = TypeVar("T")


@dataclass(frozen=True)
class TrainedNetwork:
    """Holds a trained network with the metrics of the epoch that was kept and of the test set."""

    metrics: dict[str, float]
    network: nn.Module  # on the CPU
    predictions: NDArray[np.float64] | None  # see PredictionCollector.finish
    processes: int  # number of processes that shared each batch
    weights_epoch: int  # the epoch that was kept
    stopped_epoch: int | None  # epoch after which early stopping or a callback ended the training


@dataclass(frozen=True)
class Training:
    """Trains and tests a network, and writes metrics.csv and weights.pt.

    It changes settings of the process, see resources.temporary_training_settings.
    """

    config: NetworkConfig
    context: RunContext
    build: Callable[[], nn.Module]  # makes the untrained network, for every attempt
    data: ArrayData
    objective: Objective
    fingerprint: str  # hash of the data, for the checkpoints

    def probe(self, device: str) -> None:
        """Update the weights once, in the run's own precision; raise the error of a failure."""
        module = self._seeded_module()
        trainer = make_trainer(self.config, device, probe=True)
        trainer.fit(module, self.data.first_training_batch())
        float(module.train_metrics.finish()["train_loss"])  # waits for the device

    def _seeded_module(self) -> LightningNetwork:
        pl.seed_everything(self.config.seed, verbose=False)
        loss = make_training_loss(self.config, self.objective, self.data.train.targets)
        return LightningNetwork(self.build(), self.config, self.objective, loss)

    def run(self, device: str) -> TrainedNetwork:
        """Do the whole training on a device; the first attempt continues from the checkpoint."""
        config, context, data, steps = self.config, self.context, self.data, self.context.steps
        section = config.trainer
        columns = epoch_columns(self.objective, with_lr=config.scheduler.changes_rate)
        state = begin_training(config, context, device, columns, self.fingerprint)
        module = self._seeded_module()
        with steps.progress("training", section.max_epochs, "epoch") as bar:
            recorder = NetworkRecorder(steps, bar, config, state, module, columns)
            callbacks = make_callbacks(config)
            trainer = make_trainer(
                config,
                device,
                [recorder, *callbacks],
                section.max_epochs,
                logger=RunLogger(steps) if callbacks else None,
                plugins=[state],
                check_val_every_n_epoch=section.check_val_every_n_epoch,
            )
            rank, world = trainer.global_rank, trainer.world_size
            data = data.on(trainer.strategy.root_device)
            check_batch_divisible(config.batch_size, world)
            if (rows := len(data.train)) < world:
                raise ConfigError(
                    f"{pluralize(rows, 'row')} of training data for {world} processes",
                    "fewer trainer.devices, or more rows",
                )
            limit = section.limit_train_batches
            module.batches = data.count_training_batches(world, limit)
            train = data.training_batches(rank, world, limit=limit)
            limit = section.limit_val_batches
            valid = data.evaluation_batches(data.valid, rank, world, limit=limit)
            test = data.evaluation_batches(data.test, rank, world, limit=section.limit_test_batches)
            with explain_failures(context, world, callbacks):
                fit(
                    trainer,
                    module,
                    recorder,
                    context,
                    device,
                    train_dataloaders=train,
                    val_dataloaders=valid,
                )
                if state.best is not None:
                    module.network.load_state_dict(state.best)
                with context.phase("test"):
                    trainer.test(module, test, verbose=False)
                    metrics = module.test_metrics.finish()
                    predictions = module.test_predictions.finish(trainer.strategy.root_device)
        return self._result(module, metrics, predictions, world)

    def _result(
        self,
        module: LightningNetwork,
        metrics: dict[str, float],
        predictions: NDArray[np.float64] | None,
        processes: int,
    ) -> TrainedNetwork:
        """Return the tested network, after keeping its weights; raise DlrunError if it diverged."""
        config, context, rows = self.config, self.context, self.context.steps.rows
        check_metrics_finite(metrics, "test")
        if problem := divergence_warning([row["train_loss"] for row in rows]):
            context.screen.warn(problem)
        stopped, limit = None, config.trainer.max_epochs
        if len(rows) < limit:  # by early_stopping or a callback
            stopped = len(rows)
            context.screen.note(f"the training stopped early, after epoch {stopped} of {limit}")
        network = module.network.cpu()
        context.keep(WEIGHTS, serialize_tensors(network.state_dict()))
        kept = kept_epoch(rows, config.keeps_best_by)
        metrics = newest_metrics(rows[:kept]) | metrics
        return TrainedNetwork(metrics, network, predictions, processes, kept, stopped)


def train_on_accelerator(
    config: LightningConfig,
    warn: Callable[[str], None],
    probe: Callable[[str], None],
    train: Callable[[str], T],
) -> tuple[T, AcceleratorReport]:
    """Train on the accelerator of a config, or on the CPU if it fails; say which was used."""
    return run_with_fallback(
        config.accelerator,
        warn,
        probe,
        train,
        fallback=config.fallback,
        processes=config.world or 1,
        nodes=config.trainer.num_nodes,
    )


def begin_training(
    config: LightningConfig,
    context: RunContext,
    device: str,
    columns: Sequence[str] | None = None,
    fingerprint: str = "",
) -> RunState:
    """Begin the epochs of a run, and return the state from which they continue.

    columns: of metrics.csv; None for those that the module logs. fingerprint: hash of the data.
    """
    found = context.steps.begin(columns, fingerprint)
    check_cpu_devices(device, config.trainer.devices)
    return RunState(context.folder.path / CHECKPOINT, found.state if found else b"")


def fit(
    trainer: pl.Trainer,
    module: pl.LightningModule,
    recorder: EpochRecorder,
    context: RunContext,
    device: str,
    **data: Any,
) -> None:
    """Train a module for the epochs that are left, or restore it if none is.

    data: the arguments of Trainer.fit for the data. Raises DlrunError if there is no epoch at all.
    """
    config, state = recorder.config, recorder.state
    done, world = len(context.steps.rows), trainer.world_size
    left = 0 if state.is_stopped else config.trainer.max_epochs - done
    by = f" by {world} processes" if world > 1 else ""
    before = f", {done:,} finished before" if done else ""
    context.screen.note(f"training {pluralize(left, 'epoch')} on {device}{by}{before}")
    with context.phase("fit"):
        if left:
            trainer.fit(module, **data, ckpt_path=STATE if done else None, weights_only=True)
        else:
            module.load_state_dict(state.read()["state_dict"])
    if not context.steps.rows:
        raise DlrunError("the training has ended before its first epoch")


@contextlib.contextmanager
def explain_failures(
    context: RunContext, processes: int, callbacks: Sequence[pl.Callback]
) -> Iterator[None]:
    """Name the callback that raised an error in the block, or the process that has ended before."""
    try:
        yield
    except (Exception, SystemExit) as error:  # a callback can raise anything
        if isinstance(error, DlrunError):
            raise
        if isinstance(error, SystemExit) or not is_accelerator_error(error):
            for frame, _ in traceback.walk_tb(error.__traceback__):
                owner = frame.f_locals.get("self")
                if any(owner is callback for callback in callbacks):
                    name = f"{type(owner).__module__}.{type(owner).__qualname__}"
                    hint = "correct its arguments or its code, or leave it out"
                    raise DlrunError(
                        f"{CALLBACKS}: {name} has failed: {describe_with_place(error, name)}",
                        f"{hint}; the traceback is in log.txt",
                    ) from error
        if processes == 1 or not re.search(LOST, str(error)):
            raise
        if not context.folder.writes:  # the process that writes the run reports it
            time.sleep(MOMENT)
            context.stop.after_step()
        how = "has ended"
        if re.search(TIMEOUT, str(error)):
            how = f"has not answered for {PATIENCE.total_seconds():.0f} s"
        raise DlrunError(
            f"one of the {processes} processes that train together {how}",
            "its own error, if it had one, is above; `dlrun resume` continues after the last epoch",
        ) from error


def make_callbacks(config: LightningConfig) -> list[pl.Callback]:
    """Return the callbacks that a config names.

    Raises ConfigError, which names the key, if a class cannot be imported, is no callback or
    cannot be made with its arguments, or if dlrun does itself what it does.
    """
    callbacks = []
    for item in config.trainer.callbacks:
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
    return callbacks


class RunLogger(DummyLogger):
    """Hands what callbacks and modules log through Lightning to the loggers of a run.

    Its `experiment` accepts every call and does nothing.
    """

    def __init__(self, steps: ProgressRecorder) -> None:
        super().__init__()
        self._steps = steps

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log values of an update."""
        if self._steps.loggers is not None:
            self._steps.loggers.log_update(step or 0, metrics)

    @property
    def save_dir(self) -> str:
        """Return the folder of the run, in which callbacks such as ModelCheckpoint write."""
        return str(self._steps.folder.path.absolute())


def make_trainer(
    config: LightningConfig,
    device: str,
    callbacks: Sequence[pl.Callback] = (),
    epochs: int = 1,
    *,
    probe: bool = False,
    logger: Logger | None = None,
    plugins: Sequence[CheckpointIO] = (),
    **more: Any,
) -> pl.Trainer:
    """Return a Lightning Trainer that neither prints nor writes files.

    A `probe` is one update by this process alone; `more` are further arguments of the Trainer.
    Raises AcceleratorError if Lightning does not know the device, ConfigError if it refuses the
    config's values.
    """
    if device not in AcceleratorRegistry.available_accelerators():
        raise AcceleratorError(f"Lightning has no accelerator named {device}")
    section = config.trainer
    several = not probe and (config.world or 1) > 1
    defaults: dict[str, Any] = {"use_distributed_sampler": False}
    if probe:
        defaults |= {"max_steps": 1, "limit_val_batches": 0}
    try:
        return pl.Trainer(
            accelerator=device,
            devices=1 if probe else section.devices,
            num_nodes=section.num_nodes if several else 1,
            strategy=DDPStrategy(timeout=PATIENCE) if several else "auto",
            plugins=[cluster_environment() if several else LightningEnvironment(), *plugins],
            precision=section.precision,
            deterministic=section.deterministic,
            max_epochs=epochs,
            callbacks=[*callbacks],
            logger=logger or False,
            enable_checkpointing=any(isinstance(one, Checkpoint) for one in callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            **{**defaults, **more},
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

    processes: how many shared the run. Returns the same as PredictionCollector.finish. The network
    is converted in place.
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


def cluster_environment() -> TorchElasticEnvironment:
    """Return the object that tells Lightning each process's rank and where all processes connect.

    It reads torchrun's environment variables, which are set here if srun started the processes:
    Lightning's own SLURMEnvironment reads the variables of the whole allocation, not those of the
    job step, and accepts the step's number of tasks only if it was given for each node.

    Raises ConfigError if the name of the step's first node cannot be resolved.
    """
    environ = os.environ
    if not TorchElasticEnvironment.detect():
        for name, variable in SRUN_VARIABLES.items():
            environ[name] = environ[variable]
        if not environ.get("MASTER_ADDR"):
            nodes = environ["SLURM_STEP_NODELIST"]
            environ["MASTER_ADDR"] = _node_address(
                SLURMEnvironment.resolve_root_node_address(nodes)
            )
        if not environ.get("MASTER_PORT"):  # a port that differs between the steps of a job
            step = int(environ["SLURM_JOB_ID"]) * 16 + int(environ["SLURM_STEP_ID"])
            environ["MASTER_PORT"] = str(FIRST_PORT + step % PORTS)
    return TorchElasticEnvironment()


def _node_address(node: str) -> str:
    """Return the address of a node, whose name may be known to SLURM alone."""
    with contextlib.suppress(OSError):
        socket.getaddrinfo(node, None)
        return node
    command = ["scontrol", "--oneliner", "show", "node", node]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        shown = subprocess.run(  # noqa: S603 (scontrol is where PATH says)
            command, capture_output=True, text=True, check=False, timeout=60
        ).stdout
        if found := re.search(r"\bNodeAddr=(\S+)", shown):
            return found[1]
    raise ConfigError(
        f"the name of {node}, the first of the nodes, cannot be resolved",
        "set MASTER_ADDR to an address of it that all nodes can reach",
    )
