"""Connect the processes that train one network together, and report when one of them is lost.

torchrun or srun has started them (see runs.distributed); Lightning's DDP shares the batches.
"""

import contextlib
import os
import re
import socket
import subprocess
from datetime import timedelta

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from dlrun.errors import ConfigError, DlrunError

PATIENCE = timedelta(minutes=5)  # with a process that the others wait for: far longer than any step
FIRST_PORT, PORTS = 15000, 15000  # below those that Linux assigns by itself
TIMEOUT = r"(?i)timed? ?out"
LOST = rf"{TIMEOUT}|\bgloo\b|connection (reset|closed|refused)|broken pipe|by peer|watchdog"


def cluster_environment() -> ClusterEnvironment:
    """Return the object that tells Lightning each process's rank and where they connect."""
    by_torchrun = TorchElasticEnvironment.detect()
    return TorchElasticEnvironment() if by_torchrun else SrunEnvironment()


class SrunEnvironment(ClusterEnvironment):
    """Tells Lightning the ranks and the address of the processes of one SLURM job step.

    Lightning's own SLURMEnvironment reads the variables of the whole allocation, and accepts the
    step's number of tasks only if it was given for each node.
    """

    @property
    def creates_processes_externally(self) -> bool:
        """Return True, because srun has started the processes."""
        return True

    @staticmethod
    def detect() -> bool:
        """Return whether this process is a task of a SLURM job step."""
        return "SLURM_STEP_ID" in os.environ

    @property
    def main_address(self) -> str:
        """Return the address of the step's first node, unless MASTER_ADDR is set.

        Raises ConfigError if the node's name cannot be resolved.
        """
        first = SLURMEnvironment.resolve_root_node_address(os.environ["SLURM_STEP_NODELIST"])
        return os.environ.get("MASTER_ADDR") or _node_address(first)

    @property
    def main_port(self) -> int:
        """Return a port that differs between the steps of a job, unless MASTER_PORT is set."""
        step = int(os.environ["SLURM_JOB_ID"]) * 16 + int(os.environ["SLURM_STEP_ID"])
        return int(os.environ.get("MASTER_PORT") or FIRST_PORT + step % PORTS)

    def world_size(self) -> int:
        """Return the number of the step's processes."""
        return int(os.environ["SLURM_STEP_NUM_TASKS"])

    def global_rank(self) -> int:
        """Return this process's number among all processes of the step."""
        return int(os.environ["SLURM_PROCID"])

    def local_rank(self) -> int:
        """Return this process's number on its node."""
        return int(os.environ["SLURM_LOCALID"])

    def node_rank(self) -> int:
        """Return the node's number in the step."""
        return int(os.environ["SLURM_NODEID"])

    def set_world_size(self, size: int) -> None:
        """Do nothing, because srun sets the number of processes."""

    def set_global_rank(self, rank: int) -> None:
        """Do nothing, because srun sets the rank."""


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


def explain_lost_process(error: Exception, processes: int) -> DlrunError | None:
    """Return a message if the loss of another process caused an error, None otherwise."""
    if processes == 1 or isinstance(error, DlrunError) or not re.search(LOST, str(error)):
        return None
    how = "has ended"
    if re.search(TIMEOUT, str(error)):
        how = f"has not answered for {PATIENCE.total_seconds():.0f} s"
    return DlrunError(
        f"one of the {processes} processes that train together {how}",
        "its own error, if it had one, is above; `dlrun resume` continues after the last epoch",
    )
