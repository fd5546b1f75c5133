"""Connect the processes that train one network together, and report if one of them died.

torchrun or srun has started the processes (see runs.distributed); Lightning's DDP shares batches.
"""

import contextlib
import os
import re
import socket
import subprocess
from datetime import timedelta

from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from dlrun.errors import ConfigError, DlrunError

PATIENCE = timedelta(minutes=5)  # with a process that the others wait for: far longer than any step
FIRST_PORT, PORTS = 15000, 15000  # below those that Linux assigns by itself
SRUN_VARIABLES = {
    "WORLD_SIZE": "SLURM_STEP_NUM_TASKS",
    "RANK": "SLURM_PROCID",
    "LOCAL_RANK": "SLURM_LOCALID",
    "GROUP_RANK": "SLURM_NODEID",
}  # torchrun's environment variables, and those of srun with the same values
TIMEOUT = r"(?i)timed? ?out"
LOST = rf"{TIMEOUT}|\bgloo\b|connection (reset|closed|refused)|broken pipe|by peer|watchdog"


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
        # A port that differs between the steps of a job.
        step = int(environ["SLURM_JOB_ID"]) * 16 + int(environ["SLURM_STEP_ID"])
        environ.setdefault("MASTER_PORT", str(FIRST_PORT + step % PORTS))
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


def explain_error_by_lost_peer(error: Exception, processes: int) -> DlrunError | None:
    """Return a message if an error arose because another process of the run died, else None."""
    if processes == 1 or isinstance(error, DlrunError) or not re.search(LOST, str(error)):
        return None
    how = "has ended"
    if re.search(TIMEOUT, str(error)):
        how = f"has not answered for {PATIENCE.total_seconds():.0f} s"
    return DlrunError(
        f"one of the {processes} processes that train together {how}",
        "its own error, if it had one, is above; `dlrun resume` continues after the last epoch",
    )
