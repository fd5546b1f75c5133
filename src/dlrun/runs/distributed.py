"""Whether this process is one of several that train one network together."""

import contextlib
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

from dlrun.config.sections import ExperimentConfig, NetworkConfig
from dlrun.errors import ConfigError
from dlrun.system.console import pluralize

C = TypeVar("C", bound=ExperimentConfig)

RANKS = ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "RANK", "SLURM_PROCID")
HERE = ("LOCAL_RANK", "SLURM_LOCALID")
# What else tells Lightning and torch that a process is one of several.
WORLD = (
    "WORLD_SIZE", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RUN_ID", "SLURM_NTASKS", "SLURM_LOCALID",
    "SLURM_NODEID", "SLURM_JOB_NAME", "JSM_NAMESPACE_RANK",
)  # fmt: skip
TORCHRUN = "TORCHELASTIC_RUN_ID"
NODES = (*RANKS, TORCHRUN, "MASTER_ADDR")  # any of them says which node of several this is
FIRST_PORT, PORTS = 15000, 15000  # below those that Linux gives away


@dataclass(frozen=True)
class ProcessGroup:
    """Who starts several processes, how many on each node, how many in all."""

    by: str
    here: int
    world: int

    @property
    def nodes(self) -> int:
        """How many nodes."""
        return self.world // self.here

    def __str__(self) -> str:
        return f"{self.by} starts {self.here} of {self.world} processes on each node"


def as_started(config: C, *, whatever_it_says: bool = False) -> C:
    """The config with the devices and nodes that torchrun or srun started this process for.

    Raises ConfigError where the config asks for others (unless `whatever_it_says`: those of a run
    that is resumed), where the experiment runs in one process, or where it asks for nodes and
    nobody started them.
    """
    started = find_process_group()
    if started is None:
        _check_nodes(config)
        return config
    return config_for_group(config, started, whatever_it_says=whatever_it_says)


def find_process_group() -> ProcessGroup | None:
    """Who started this process as one of several, if anybody did. Raises ConfigError."""
    if TORCHRUN not in os.environ:
        return _srun()
    world, here = _number("WORLD_SIZE"), _number("LOCAL_WORLD_SIZE")
    if world < 2:
        return None
    started = ProcessGroup("torchrun", here, world)
    if here == 0 or world % here:
        raise ConfigError(str(started), "give each node as many")
    return started


def config_for_group(config: C, started: ProcessGroup, *, whatever_it_says: bool = False) -> C:
    """The config with the devices and nodes of the processes. Raises ConfigError."""
    if not isinstance(config, NetworkConfig):
        raise ConfigError(
            f"{started}, but this experiment runs in one",
            f"start it without {started.by}, or as one process",
        )
    trainer = config.trainer
    fits = trainer.devices in (1, "auto", started.here) and trainer.num_nodes in (1, started.nodes)
    if not (fits or whatever_it_says):
        raise ConfigError(
            f"trainer: {trainer.devices} devices on {pluralize(trainer.num_nodes, 'node')}, but "
            f"{started}, on {pluralize(started.nodes, 'node')}",
            f"leave out trainer.devices and trainer.num_nodes: {started.by} says them",
        )
    there = {"devices": started.here, "num_nodes": started.nodes, "strategy": "ddp"}
    return config.model_copy(update={"trainer": trainer.model_copy(update=there)})


def _srun() -> ProcessGroup | None:
    """The tasks of the step that this process is one of; None where it is alone in it.

    An allocation's own numbers, which `salloc` and a batch script have too, start nothing.
    """
    world = _number("SLURM_STEP_NUM_TASKS")
    if "SLURM_STEP_ID" not in os.environ or world < 2:
        return None
    on_each = os.environ.get("SLURM_STEP_TASKS_PER_NODE", "")
    if not re.fullmatch(r"\d+(\(x\d+\))?", on_each):  # as 2,1
        raise ConfigError(
            f"srun starts {world} processes, {on_each} on the nodes",
            "give each node as many: srun --ntasks-per-node=N",
        )
    return ProcessGroup("srun", int(on_each.partition("(")[0]), world)


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


def is_told_by_another() -> bool:
    """Whether the first process on this node says what is wrong with what all were given."""
    return find_process_group() is not None and any(_number(rank) > 0 for rank in HERE)


@contextlib.contextmanager
def alone(config: ExperimentConfig) -> Iterator[None]:
    """A run that no others were started for does not see ranks that are left here.

    One that srun started several processes for sees where they meet.
    """
    shared = _is_shared(config)
    started = find_process_group() if shared else None
    changed = _meeting(started) if started and started.by == "srun" else {}
    names = changed if shared else (*RANKS, *WORLD)
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    os.environ.update(changed)
    try:
        yield
    finally:
        for name in changed:
            os.environ.pop(name, None)
        os.environ.update(before)


def _meeting(started: ProcessGroup) -> dict[str, str]:
    """Where the processes of a step meet, and how many they are, as Lightning reads it.

    SLURM's own variables may be those of the allocation. Each step of a job has its port.
    Raises ConfigError where the first node has no address.
    """
    from dlrun.training.lightning_imports import SLURMEnvironment  # slow

    first = SLURMEnvironment.resolve_root_node_address(os.environ["SLURM_STEP_NODELIST"])
    port = FIRST_PORT + (_number("SLURM_JOB_ID") * 16 + _number("SLURM_STEP_ID")) % PORTS
    return {
        "MASTER_ADDR": os.environ.get("MASTER_ADDR") or _address(first),
        "MASTER_PORT": os.environ.get("MASTER_PORT", str(port)),
        "SLURM_NNODES": str(started.nodes),
        "SLURM_NTASKS_PER_NODE": str(started.here),
    }


def _address(node: str) -> str:
    """Where a node is reached: its name may be one that only SLURM knows. Raises ConfigError."""
    with contextlib.suppress(OSError):
        socket.getaddrinfo(node, None)
        return node
    command = ["scontrol", "--oneliner", "show", "node", node]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        said = subprocess.run(  # noqa: S603 (scontrol is where PATH says)
            command, capture_output=True, text=True, check=False, timeout=60
        ).stdout
        if found := re.search(r"\bNodeAddr=(\S+)", said):
            return found[1]
    raise ConfigError(
        f"the name of {node}, the node where the processes meet, leads nowhere",
        "export MASTER_ADDR, an address of it that all nodes reach",
    )


def _is_shared(config: ExperimentConfig) -> bool:
    if isinstance(config, NetworkConfig) and config.trainer.num_nodes > 1:
        return True
    return config.world != 1 and (_number("WORLD_SIZE") > 1 or _srun() is not None)


def _number(name: str) -> int:
    """An environment variable's number; 0 where there is none."""
    value = os.environ.get(name, "")
    try:
        return int(value or 0)
    except ValueError:
        raise ConfigError(
            f"the environment's {name}={value!r} is no number", f"unset {name}"
        ) from None
