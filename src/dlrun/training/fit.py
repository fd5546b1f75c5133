"""Train a network on the accelerator that works, test it, and keep its weights."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import lightning.pytorch as pl
import numpy as np
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.strategies import DDPStrategy
from numpy.typing import NDArray
from torch import nn

from dlrun.errors import ConfigError
from dlrun.networks.network_files import parse_tensors, serialize_tensors
from dlrun.run_context import RunContext
from dlrun.run_folder.steps import check_finite
from dlrun.system.accelerator import (
    AcceleratorChoice,
    AcceleratorReport,
    check_batch,
    check_devices,
)
from dlrun.system.console import pluralize
from dlrun.training import distributed
from dlrun.training.data import ArrayData
from dlrun.training.network_module import EpochRecorder, NetworkModule, epoch_columns
from dlrun.training.objective import Objective
from dlrun.training.test_predictions import Tested

if TYPE_CHECKING:
    from dlrun.config.sections import NetworkConfig

WEIGHTS = "weights.pt"
GROWN = 10.0  # times the first epoch's loss: more than the noise of batches
HUGE = 1e9  # a loss that shows that the first epoch has diverged already
MOMENT = 3.0  # seconds in which the process that writes the run reports an error first


@dataclass(frozen=True)
class Trained:
    """The result of a training.

    Args:
        metrics: of the last epoch and of the test.
        network: on the CPU.
        tested: the test set's rows (see Tested.finish), if they were asked for.
        processes: how many shared each batch.
        accelerator: on which it was trained.
    """

    metrics: dict[str, float]
    network: nn.Module
    tested: NDArray[np.float64] | None
    processes: int
    accelerator: AcceleratorReport


def train(
    config: "NetworkConfig",
    context: RunContext,
    build: Callable[[], nn.Module],
    data: ArrayData,
    objective: Objective,
    fingerprint: str,
    *,
    predictions: bool = False,
) -> Trained:
    """Train and test a network; writes metrics.csv and weights.pt.

    It changes settings of the process, see torch_state.training_settings.

    Args:
        config: seed, optimizer, trainer, accelerator.
        context: the run's folder, steps and screen.
        build: makes the untrained network; called again for every attempt.
        data: the batches.
        objective: loss and metrics.
        fingerprint: of the data, which the checkpoints carry.
        predictions: whether the test set's rows are wanted; then the objective has probabilities.
    """

    def make_module() -> NetworkModule:
        grouped = data.grouped > 1
        module = NetworkModule(build(), config.optimizer, objective, grouped=grouped)
        module.tested = Tested(objective) if predictions else None
        return module

    def probe(device: str) -> None:
        """Do one real training step in the run's own precision; raises what fails."""
        pl.seed_everything(config.seed, verbose=False)
        module = make_module()
        trainer = make_trainer(config, device, [], 1, probe=True)
        trainer.fit(module, data.first_batch_loader())
        float(module.train_metrics.finish()["train_loss"])  # waits for the device

    columns = epoch_columns(objective)
    choice = AcceleratorChoice(
        config.accelerator,
        config.fallback,
        context.screen.warn,
        config.world or 1,
        config.trainer.num_nodes,
    )
    report = choice.first(probe)
    try:
        return _train_on(report, config, context, make_module, data, columns, fingerprint)
    except Exception as error:
        report = choice.after_failure(error, report)
    return _train_on(report, config, context, make_module, data, columns, fingerprint)


def _train_on(
    accelerator: AcceleratorReport,
    config: "NetworkConfig",
    context: RunContext,
    make_module: Callable[[], NetworkModule],
    data: ArrayData,
    columns: list[str],
    fingerprint: str,
) -> Trained:
    """Do the whole training on a device; the first attempt continues from the checkpoint."""
    device, steps, epochs = accelerator.used, context.steps, config.trainer.max_epochs
    found = steps.begin(["epoch", *columns, "seconds"], fingerprint, epochs, "epoch")
    start = parse_tensors(found.state, context.folder.path) if found else None
    pl.seed_everything(config.seed, verbose=False)
    module = make_module()
    if start is not None:
        module.network.load_state_dict(start["network"])
    done = data.first_epoch = len(steps.rows)
    check_devices(device, config.trainer.devices)
    with steps.progress("training", epochs, "epoch") as bar:
        recorder = EpochRecorder(steps, bar, epochs=epochs, seed=config.seed, start=start)
        trainer = make_trainer(config, device, [recorder], epochs - done)
        world = trainer.world_size
        _check_shares(config.batch_size, len(data.sets["train"]), world)
        what = f"training {pluralize(epochs - done, 'epoch')} on {device}"
        if world > 1:
            what += f" by {world} processes, batches of {world} x {config.batch_size // world} rows"
        if done:
            what += f" after the {done} that are done"
        context.screen.note(what)
        try:
            with context.phase("fit"):
                if done < epochs:
                    trainer.fit(module, datamodule=data)
            with context.phase("test"):
                trainer.test(module, datamodule=data, verbose=False)
                metrics = module.test_metrics.finish()
                root = trainer.strategy.root_device
                tested = module.tested.finish(root) if module.tested else None
        except Exception as error:
            lost = distributed.process_lost(error, world)
            if lost is None:
                raise
            if not context.folder.writes:  # the process that writes the run reports it
                time.sleep(MOMENT)
                context.stop.after_step()
            raise lost from error
    check_finite(metrics, "test")
    if problem := diverged([row["train_loss"] for row in steps.rows]):
        context.screen.warn(problem)
    network = module.network.cpu()
    context.keep(WEIGHTS, serialize_tensors(network.state_dict()))
    last = {name: steps.rows[-1][name] for name in columns}
    return Trained(last | metrics, network, tested, world, accelerator)


def make_trainer(
    config: "NetworkConfig",
    device: str,
    callbacks: list[pl.Callback],
    epochs: int,
    *,
    probe: bool = False,
) -> pl.Trainer:
    """Return a Trainer that prints and writes nothing.

    A `probe` is one training step of this process alone. Raises ConfigError if Lightning refuses
    the config's values.
    """
    section = config.trainer
    several = not probe and (config.world or 1) > 1
    try:
        return pl.Trainer(
            accelerator=device,
            devices=1 if probe else section.devices,
            num_nodes=section.num_nodes if several else 1,
            strategy=DDPStrategy(timeout=distributed.PATIENCE) if several else "auto",
            plugins=[distributed.cluster_environment() if several else LightningEnvironment()],
            precision=section.precision,
            deterministic=section.deterministic,
            max_epochs=epochs,
            max_steps=1 if probe else -1,
            limit_val_batches=0 if probe else None,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        raise ConfigError(f"trainer: Lightning refuses these values: {error}") from None


def _check_shares(batch_size: int, rows: int, processes: int) -> None:
    """Raise ConfigError if the processes cannot share a batch, or the training data."""
    check_batch(batch_size, processes)
    if rows < processes:
        raise ConfigError(
            f"{pluralize(rows, 'row')} of training data for {processes} processes",
            "fewer trainer.devices, or more rows",
        )


def diverged(losses: Sequence[float]) -> str | None:
    """Return a warning if the training losses grew instead of falling, None otherwise."""
    first, last = losses[0], losses[-1]
    if last <= HUGE and (first <= 0 or last <= GROWN * first):
        return None
    return (
        f"the training loss is {last:.3g} (in the first epoch {first:.3g}): the training "
        "diverged; try a smaller optimizer.lr"
    )
