"""The processes that train one network together: who started them, and which part is this one's.

torchrun or srun may have started this process as one of several. If nobody did and the config asks
for several devices, runs.launcher starts the run again under torch's own launcher.
"""

import contextlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dlrun import run_context
from dlrun.config.sections import ExperimentConfig, NetworkConfig
from dlrun.errors import ConfigError, DlrunError
from dlrun.run_context import RunSettings, errors_as_json
from dlrun.run_folder.folder import RunFolder
from dlrun.run_folder.record import read_record, write_record
from dlrun.system.accelerator import device_count
from dlrun.system.console import pluralize

C = TypeVar("C", bound=ExperimentConfig)


@dataclass(frozen=True)
class ProcessGroup:
    """Several processes that share a run.

    Args:
        by: the program that starts them.
        here: how many on each node.
        world: how many in all.
        rank: of this process among all; the one of rank 0 writes the run.
        local_rank: of this process on its node.
    """

    by: str
    here: int
    world: int
    rank: int = 0
    local_rank: int = 0

    @property
    def nodes(self) -> int:
        """The number of nodes."""
        return self.world // self.here

    def __str__(self) -> str:
        return f"{self.by} starts {self.here} of {self.world} processes on each node"


def find_process_group() -> ProcessGroup | None:
    """Return the processes of which torchrun or srun started this one; None if it is alone.

    Raises ConfigError if the nodes have different numbers of processes.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return _srun()
    world, here = _number("WORLD_SIZE"), _number("LOCAL_WORLD_SIZE")
    if world < 2:
        return None
    group = ProcessGroup("torchrun", here, world, _number("RANK"), _number("LOCAL_RANK"))
    if here == 0 or world % here:
        raise ConfigError(str(group), "give each node the same number")
    return group


def _srun() -> ProcessGroup | None:
    """Return the tasks of this process's step of a SLURM job; None if it is the only one.

    The numbers of an allocation, which `salloc` and a batch script have too, start nothing.
    """
    world = _number("SLURM_STEP_NUM_TASKS")
    if "SLURM_STEP_ID" not in os.environ or world < 2:
        return None
    on_each = os.environ.get("SLURM_STEP_TASKS_PER_NODE", "")
    if not re.fullmatch(r"\d+(\(x\d+\))?", on_each):  # as in 2,1
        raise ConfigError(
            f"srun starts {world} processes, {on_each} on the nodes",
            "give each node the same number: srun --ntasks-per-node=N",
        )
    here = int(on_each.partition("(")[0])
    return ProcessGroup("srun", here, world, _number("SLURM_PROCID"), _number("SLURM_LOCALID"))


def _number(name: str) -> int:
    """Return the number in an environment variable; 0 if it is not set."""
    value = os.environ.get(name, "")
    try:
        return int(value or 0)
    except ValueError:
        raise ConfigError(
            f"the environment variable {name}={value!r} is not a number", f"unset {name}"
        ) from None


def as_started(config: C, *, whatever_it_says: bool = False) -> C:
    """Return the config with the devices and nodes for which this process was started.

    Raises ConfigError if the config asks for others (unless `whatever_it_says`: a resumed run takes
    what there is), if the experiment runs in one process, or if it asks for several nodes and
    nobody started it on them.
    """
    group = find_process_group()
    if group is not None:
        return config_for_group(config, group, whatever_it_says=whatever_it_says)
    nodes = config.trainer.num_nodes if isinstance(config, NetworkConfig) else 1
    if nodes > 1:
        raise ConfigError(
            f"trainer.num_nodes: {nodes}, but this process runs on one node",
            f"start it on each node: `torchrun --nnodes={nodes} --nproc-per-node=... -m dlrun ...`",
        )
    return config


def config_for_group(config: C, group: ProcessGroup, *, whatever_it_says: bool = False) -> C:
    """Return the config with the devices and nodes of a group of processes. Raises ConfigError."""
    if not isinstance(config, NetworkConfig):
        raise ConfigError(
            f"{group}, but this experiment runs in one",
            f"start it without {group.by}, or as one process",
        )
    trainer = config.trainer
    listed = isinstance(trainer.devices, list) and len(trainer.devices) == group.here
    fits = listed or trainer.devices in (1, "auto", group.here)
    if not ((fits and trainer.num_nodes in (1, group.nodes)) or whatever_it_says):
        raise ConfigError(
            f"trainer: {trainer.devices} devices on {pluralize(trainer.num_nodes, 'node')}, but "
            f"{group}, on {pluralize(group.nodes, 'node')}",
            f"leave out trainer.devices and trainer.num_nodes: {group.by} sets them",
        )
    changes: dict[str, object] = {"num_nodes": group.nodes, "strategy": "ddp"}
    if not listed:
        changes["devices"] = group.here
    return config.model_copy(update={"trainer": trainer.model_copy(update=changes)})


def is_helper(config: ExperimentConfig) -> bool:
    """Return whether another process, that of rank 0, writes the run of this one."""
    group = find_process_group()
    return config.world != 1 and group is not None and group.rank > 0


def is_told_by_another() -> bool:
    """Return whether another process of this node prints the message of an error they all have."""
    group = find_process_group()
    return group is not None and group.local_rank > 0


def processes_to_start(config: ExperimentConfig) -> int:
    """Return how many processes must be started for a run; 1 if this process does it."""
    if not isinstance(config, NetworkConfig) or find_process_group() is not None:
        return 1
    return config.world or device_count(config.accelerator)


def launch(processes: int, run: Path, settings: RunSettings, overrides: Sequence[str] = ()) -> int:
    """Do a waiting or resumed run in several processes of this machine; return its exit code.

    Raises DlrunError if the process that writes the run was lost.
    """
    from dlrun.runs import launcher  # slow: torch

    with errors_as_json(settings.console(), wanted=settings.json):
        return launcher.launch(processes, run, settings, resume_words(run, settings, overrides))


def resume_words(run: Path, options: RunSettings, overrides: Sequence[str] = ()) -> list[str]:
    """Return the command line, after `dlrun`, that begins a waiting run or continues a run."""
    places = {
        "--runs-dir": run_context.runs_dir(options.runs_dir),
        "--data-dir": run_context.data_dir(options.data_dir),
    }
    flags = {
        "--quiet": options.quiet,
        "--summary": options.summary,
        "--json": options.json,
        "--force": options.force,
    }
    words = ["resume", str(run)]
    words += [word for flag, path in places.items() for word in (flag, str(path))]
    words += [word for text in overrides for word in ("--set", text)]
    return words + [flag for flag, wanted in flags.items() if wanted]


def fail_waiting_run(run: Path, why: str) -> None:
    """Record that a run failed before it began; any other run stays as it is."""
    with contextlib.suppress(DlrunError, OSError):
        record = read_record(run)
        if record.status == "waiting":
            changes = {"status": "failed", "error": why}
            write_record(RunFolder(run), record.model_copy(update=changes))
