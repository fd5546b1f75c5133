"""Make a Lightning Trainer, which prints nothing, from a config."""

from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.accelerators import AcceleratorRegistry
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins import CheckpointIO

from dlrun.config.network_sections import LightningConfig, Precision
from dlrun.errors import AcceleratorError, ConfigError


def make_trainer(
    config: LightningConfig,
    device: str,
    callbacks: Sequence[pl.Callback] = (),
    *,
    one_batch: bool = False,
    devices: int = 1,
    precision: Precision | None = None,
    logger: Logger | None = None,
    plugins: Sequence[CheckpointIO] = (),
    **trainer_arguments: Any,
) -> pl.Trainer:
    """Make a Trainer that prints nothing, and writes only what a Checkpoint does.

    one_batch: whether an epoch has one batch.
    precision: the precision, if the config's is not meant.
    trainer_arguments: further arguments of Lightning's Trainer.

    Raises AcceleratorError for a device, and ConfigError for values, that Lightning does not take.
    """
    if device not in AcceleratorRegistry.available_accelerators():
        raise AcceleratorError(f"Lightning has no accelerator named {device}")
    section = config.trainer
    if one_batch:
        trainer_arguments |= {"limit_train_batches": 1, "limit_val_batches": 1}
    try:
        return pl.Trainer(
            accelerator=device,
            devices=devices,
            strategy=section.strategy if devices > 1 else "auto",
            # In any environment the processes are those that Lightning starts here.
            plugins=[LightningEnvironment(), *plugins],
            precision=precision or section.precision,
            deterministic=section.deterministic,
            max_epochs=1 if one_batch else section.max_epochs,
            callbacks=list(callbacks),
            logger=logger or False,
            enable_checkpointing=any(isinstance(callback, Checkpoint) for callback in callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            **trainer_arguments,
        )
    except (MisconfigurationException, TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"trainer: Lightning refuses these values: {error}") from None
