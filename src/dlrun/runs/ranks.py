"""Whether this process is one of several that train one network together."""

import contextlib
import os
from collections.abc import Iterator
from typing import TypeVar

from dlrun.config.sections import ExperimentConfig, NetworkConfig
from dlrun.errors import ConfigError
from dlrun.screen import counted

C = TypeVar("C", bound=ExperimentConfig)

RANKS = ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "RANK", "SLURM_PROCID")
# What else tells Lightning and torch that a process is one of several.
WORLD = (
    "WORLD_SIZE", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID", "SLURM_NTASKS", "SLURM_LOCALID",
    "SLURM_NODEID", "SLURM_JOB_NAME", "JSM_NAMESPACE_RANK",
)  # fmt: skip
TORCHRUN = "TORCHELASTIC_RUN_ID"
NODES = (*RANKS, TORCHRUN, "MASTER_ADDR")  # any of them says which node of several this is


def as_started(config: C, *, whatever_it_says: bool = False) -> C:
    """The config with the devices and nodes that torchrun started this process for.

    Raises ConfigError where the config asks for others (unless `whatever_it_says`: those of a run
    that is resumed), where the experiment runs in one process, or where it asks for nodes and
    nobody started them.
    """
    world, here = _number("WORLD_SIZE"), _number("LOCAL_WORLD_SIZE")
    if TORCHRUN not in os.environ or world < 2:
        _check_nodes(config)
        return config
    started = f"torchrun started {here} of {world} processes here"
    if not isinstance(config, NetworkConfig):
        raise ConfigError(
            f"{started}, but this experiment runs in one", "start it without torchrun"
        )
    if here == 0 or world % here:
        raise ConfigError(started, "give each node as many")
    trainer = config.trainer
    nodes = world // here
    fits = trainer.devices in (1, "auto", here) and trainer.num_nodes in (1, nodes)
    if not (fits or whatever_it_says):
        raise ConfigError(
            f"trainer: {trainer.devices} devices on {counted(trainer.num_nodes, 'node')}, but "
            f"{started}, on {counted(nodes, 'node')}",
            "leave out trainer.devices and trainer.num_nodes: torchrun says them",
        )
    there = {"devices": here, "num_nodes": nodes, "strategy": "ddp"}
    return config.model_copy(update={"trainer": trainer.model_copy(update=there)})


def _check_nodes(config: ExperimentConfig) -> None:
    nodes = config.trainer.num_nodes if isinstance(config, NetworkConfig) else 1
    if nodes > 1 and not any(name in os.environ for name in NODES):
        raise ConfigError(
            f"trainer.num_nodes: {nodes}, but nothing says which of them this is",
            f"start it on each node: `torchrun --nnodes={nodes} --nproc-per-node=... -m dlrun ...`",
        )


def is_helper(config: ExperimentConfig) -> bool:
    """Whether this process helps another, which owns the run.

    Only a run that several processes share has helpers, and only where whoever started them said
    how many they are; whatever else a scheduler left here, a run is its own.
    """
    return _is_shared(config) and any(_number(rank) > 0 for rank in RANKS)


@contextlib.contextmanager
def alone(config: ExperimentConfig) -> Iterator[None]:
    """A run that no others were started for does not see ranks that are left here."""
    names = () if _is_shared(config) else (*RANKS, *WORLD)
    hidden = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _is_shared(config: ExperimentConfig) -> bool:
    if isinstance(config, NetworkConfig) and config.trainer.num_nodes > 1:
        return True
    return config.world != 1 and max(_number("WORLD_SIZE"), _number("SLURM_NTASKS")) > 1


def _number(name: str) -> int:
    """An environment variable's number; 0 where there is none."""
    value = os.environ.get(name, "")
    try:
        return int(value or 0)
    except ValueError:
        raise ConfigError(
            f"the environment's {name}={value!r} is no number", f"unset {name}"
        ) from None
