"""Train a network on the accelerator that works, test it, keep its weights."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import nn

from dlrun.errors import ConfigError
from dlrun.networks import tensor_file
from dlrun.run_context import RunContext
from dlrun.run_folder.steps import check_finite
from dlrun.system.accelerator import (
    AcceleratorReport,
    check_batch,
    check_devices,
    run_with_fallback,
)
from dlrun.system.console import pluralize
from dlrun.training.callbacks import EpochRecorder
from dlrun.training.data import ArrayData
from dlrun.training.distributed import DECIDED, each_decides, end_with_owner, ended, meet
from dlrun.training.lightning_imports import (
    LightningEnvironment,
    MisconfigurationException,
    SLURMEnvironment,
    pl,
)
from dlrun.training.network_module import GroupedModule, NetworkModule
from dlrun.training.objective import Objective
from dlrun.training.test_predictions import Tested

if TYPE_CHECKING:
    from dlrun.config.sections import NetworkConfig

WEIGHTS = "weights.pt"
GROWN = 10.0  # times the first epoch's loss: no noise of batches does that
HUGE = 1e9  # where the first epoch has diverged already


@dataclass(frozen=True)
class Trained:
    """What a fit ends with.

    metrics: the last epoch's and the test's. network: on the CPU. tested: the test's rows (see
    Tested.finish), where they were asked for. processes: that shared each batch.
    """

    metrics: dict[str, float]
    network: nn.Module
    tested: NDArray[np.float64] | None
    processes: int


class Fit:
    """One network, its data and what it is trained for.

    Args:
        config: seed, optimizer, trainer, accelerator.
        context: where everything goes.
        build: makes the untrained network; called again for every attempt.
        data: the batches.
        objective: loss and metrics.
        fingerprint: of the data, which the checkpoints carry.
        predictions: whether the test's rows are wanted; then the objective has probabilities.
    """

    def __init__(
        self,
        config: "NetworkConfig",
        context: RunContext,
        build: Callable[[], nn.Module],
        data: ArrayData,
        objective: Objective,
        fingerprint: str,
        *,
        predictions: bool = False,
    ) -> None:
        self._predictions = predictions
        self._config, self._context = config, context
        self._build, self._data, self._objective = build, data, objective
        self._fingerprint = fingerprint

    def run(self) -> tuple[Trained, AcceleratorReport]:
        """Train and test; writes metrics.csv and weights.pt. Changes the process (own_settings)."""
        decided = os.environ.get(DECIDED)
        if decided and not self._context.folder.writes:  # a helper does as its owner decided
            end_with_owner()
            return self._attempt(decided), AcceleratorReport(
                self._config.accelerator, decided, None
            )
        return run_with_fallback(
            self._config.accelerator,
            fallback=self._config.fallback,
            probe=self._probe,
            run=self._attempt,
            warn=self._context.screen.warn,
            world=self._config.world,
            apart=each_decides(self._config.trainer.num_nodes),
        )

    def _probe(self, device: str) -> None:
        """One real training step on a device, in the run's own precision; raises what fails."""
        pl.seed_everything(self._config.seed, verbose=False)
        trainer = pl.Trainer(
            accelerator=device,
            devices=1,
            precision=self._config.trainer.precision,
            deterministic=self._config.trainer.deterministic,
            max_steps=1,
            limit_val_batches=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            plugins=[LightningEnvironment()],  # alone, whoever started others
        )
        module = self._module()
        trainer.fit(module, self._data.first_batch_loader())
        float(module.train_metrics.finish()["train_loss"])  # waits for the device

    def _module(self) -> NetworkModule:
        kind = GroupedModule if self._data.grouped > 1 else NetworkModule
        return kind(self._build(), self._config.optimizer, self._objective)

    def _attempt(self, device: str) -> Trained:
        """The whole run on a device; the first attempt goes on from the checkpoint."""
        config, context, steps = self._config, self._context, self._context.steps
        epochs = config.trainer.max_epochs
        columns = [
            f"{part}_{name}" for part in ("train", "valid") for name in self._objective.columns()
        ]
        found = steps.begin(["epoch", *columns, "seconds"], self._fingerprint, epochs, "epoch")
        start = tensor_file.parse_tensors(found.state, context.folder.path) if found else None
        pl.seed_everything(config.seed, verbose=False)
        module = self._module()
        module.tested = Tested(self._objective) if self._predictions else None
        if start is not None:
            module.network.load_state_dict(start["network"])
        done = self._data.first_epoch = len(steps.rows)
        left = pluralize(epochs - done, "epoch")
        after = f" after the {done} that are done" if done else ""
        os.environ[DECIDED] = device
        check_devices(device, config.trainer.devices)
        with steps.progress("training", epochs, "epoch") as bar:
            recorder = EpochRecorder(steps, bar, epochs=epochs, seed=config.seed, start=start)
            trainer = make_trainer(config, device, [recorder], epochs - done)
            self._check_share(trainer)
            together = ""
            if (world := trainer.world_size) > 1:
                share = config.batch_size // world
                together = f" by {world} processes, batches of {world} x {share} rows"
            context.screen.note(f"training {left} on {device}{together}{after}")
            try:
                meet(trainer, context.stop)
                with context.phase("fit"):
                    if done < epochs:
                        trainer.fit(module, datamodule=self._data)
                with context.phase("test"):
                    trainer.test(module, datamodule=self._data, verbose=False)
                    metrics = module.test_metrics.finish()
                    own = trainer.strategy.root_device
                    tested = module.tested.finish(own) if module.tested else None
            except Exception as error:
                if lost := ended(trainer, error, owner=context.folder.writes):
                    raise lost from error
                raise
        check_finite(metrics, "test")
        if problem := diverged([row["train_loss"] for row in steps.rows]):
            context.screen.warn(problem)
        network = module.network.cpu()
        context.keep(WEIGHTS, tensor_file.serialize_tensors(network.state_dict()))
        last = {name: steps.rows[-1][name] for name in columns}
        return Trained(last | metrics, network, tested, trainer.world_size)

    def _check_share(self, trainer: pl.Trainer) -> None:
        """Raises ConfigError where the processes cannot share a batch, or the training data."""
        check_batch(self._config.batch_size, trainer.world_size)
        rows = len(self._data.sets["train"])
        if rows < trainer.world_size:
            raise ConfigError(
                f"{pluralize(rows, 'row')} of training data for {trainer.world_size} processes",
                "fewer trainer.devices, or more rows",
            )


def diverged(losses: Sequence[float]) -> str | None:
    """What to say of training losses that grew instead of falling; None where they did not."""
    first, last = losses[0], losses[-1]
    if last <= HUGE and (first <= 0 or last <= GROWN * first):
        return None
    return (
        f"the training loss is {last:.3g} (in the first epoch {first:.3g}): the training "
        "diverged; try a smaller optimizer.lr"
    )


def make_trainer(
    config: "NetworkConfig", device: str, callbacks: list[pl.Callback], epochs: int
) -> pl.Trainer:
    """A quiet Trainer. Raises ConfigError where Lightning refuses the config's values."""
    section = config.trainer
    # srun started the processes; a requeue is ours.
    srun = "SLURM_NTASKS" in os.environ and "TORCHELASTIC_RUN_ID" not in os.environ
    try:
        return pl.Trainer(
            accelerator=device,
            devices=section.devices,
            num_nodes=section.num_nodes,
            strategy=section.strategy,
            precision=section.precision,
            max_epochs=epochs,
            deterministic=section.deterministic,
            callbacks=callbacks,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            plugins=[SLURMEnvironment(auto_requeue=False)] if srun else None,
        )
    except (MisconfigurationException, ValueError, RuntimeError) as error:
        raise ConfigError(f"trainer: Lightning refuses these values: {error}") from None
