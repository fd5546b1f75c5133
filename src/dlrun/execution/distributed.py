"""Find or start the processes that train one network together (distributed training)."""

import contextlib
import logging
import os
import re
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from dlrun import run_context
from dlrun.config.network_sections import LightningConfig
from dlrun.config.sections import ExperimentConfig
from dlrun.errors import ConfigError, DlrunError
from dlrun.run_context import RunSettings
from dlrun.run_folder.folder import RunFolder
from dlrun.run_folder.record import read_run_record, write_run_record
from dlrun.system.accelerator import count_devices
from dlrun.system.console import Screen, pluralize
from dlrun.system.signals import SIGNALS, handled_stop_signals
from dlrun.system.workarounds import handle_signals

C = TypeVar("C", bound=ExperimentConfig)


@dataclass(frozen=True)
class ProcessGroup:
    """Describes the processes that train one network together, and the rank of this process."""

    by: str  # the program that starts the processes
    here: int  # the number of processes on each node
    world: int  # the number of processes on all nodes
    rank: int = 0  # number of this process among all; that of rank 0 writes the run's files
    local_rank: int = 0  # number of this process on its node

    @property
    def nodes(self) -> int:
        """Return the number of nodes that the processes run on."""
        return self.world // self.here


def find_process_group() -> ProcessGroup | None:
    """Return the process group in which torchrun or srun started this process, or None."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        names = ["LOCAL_WORLD_SIZE", "WORLD_SIZE", "RANK", "LOCAL_RANK"]
        group = ProcessGroup("torchrun", *(int(os.environ.get(name, "0")) for name in names))
    elif "SLURM_STEP_ID" in os.environ:
        tasks = re.fullmatch(r"(\d+)(\(x\d+\))?", os.environ.get("SLURM_STEP_TASKS_PER_NODE", ""))
        names = ["SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_LOCALID"]
        numbers = (int(os.environ.get(name, "0")) for name in names)
        group = ProcessGroup("srun", int(tasks[1]) if tasks else 0, *numbers)
    else:
        return None
    if group.world < 2:
        return None
    if group.here == 0 or group.world % group.here:  # as 2,1 tasks
        problem = f"{group.by} starts {group.world} processes, not as many on each node"
        raise ConfigError(problem, "give each node the same number")
    return group


def set_devices_from_launcher(
    config: C, group: ProcessGroup | None = None, *, resumed: bool = False
) -> C:
    """Return the config with its devices and nodes set to those of a process group."""
    group = group or find_process_group()
    if not isinstance(config, LightningConfig):
        if group is not None:
            problem = f"{group.by} starts {group.world} processes, this experiment runs in one"
            raise ConfigError(problem, f"leave out {group.by}")
        return config
    trainer = config.trainer
    if group is None:
        if (nodes := trainer.num_nodes) > 1:
            problem = f"trainer.num_nodes: {nodes}, but this process runs on one node"
            raise ConfigError(problem, f"start it on each by `torchrun --nnodes={nodes}`, or srun")
        return config
    listed = isinstance(trainer.devices, list) and len(trainer.devices) == group.here
    fits = listed or trainer.devices in (1, "auto", group.here)
    if not ((fits and trainer.num_nodes in (1, group.nodes)) or resumed):
        wish = f"trainer: {trainer.devices} devices on {pluralize(trainer.num_nodes, 'node')}"
        problem = f"{wish}, but {group.by} starts {group.here} on {pluralize(group.nodes, 'node')}"
        raise ConfigError(problem, "leave out trainer.devices and trainer.num_nodes")
    changes: dict[str, object] = {"num_nodes": group.nodes, "strategy": "ddp"}
    if not listed:
        changes["devices"] = group.here
    return config.model_copy(update={"trainer": trainer.model_copy(update=changes)})


def is_helper_process() -> bool:
    """Return whether this process is not the one of rank 0, which writes the files of the run."""
    group = find_process_group()
    return group is not None and group.rank > 0


def another_process_prints_errors() -> bool:
    """Return whether another process on this node prints an error that all the processes raise."""
    group = find_process_group()
    return group is not None and group.local_rank > 0


def count_processes_to_start(config: ExperimentConfig) -> int:
    """Return in how many processes a run must be started; 1 if this process can execute it."""
    if not isinstance(config, LightningConfig) or find_process_group() is not None:
        return 1
    return config.world or count_devices(config.accelerator)


def launch_training_processes(processes: int, run: Path, settings: RunSettings) -> int:
    """Execute a waiting or resumed run in several processes; return its exit code."""
    from torch.distributed.elastic import multiprocessing  # slow
    from torch.distributed.launcher import api as launcher

    redirects = dict.fromkeys(range(processes), multiprocessing.Std.OUT)
    if settings.screen is None and not settings.json:
        redirects[0] = multiprocessing.Std.NONE
    with tempfile.TemporaryDirectory(prefix="dlrun-") as logs, _settings_restored():
        config = launcher.LaunchConfig(
            min_nodes=1, max_nodes=1, nproc_per_node=processes, max_restarts=0,
            rdzv_backend="c10d", rdzv_endpoint="localhost:0", local_addr="localhost",
            logs_specs=multiprocessing.DefaultLogsSpecs(logs, redirects),
        )  # fmt: skip
        handle_signals(config, handled_stop_signals())
        words = ["-P", "-m", "dlrun", *resume_command_arguments(run, settings)]
        code = 0
        try:
            launcher.elastic_launch(config, sys.executable)(*words)
        except multiprocessing.SignalException as stopped:
            code = 128 + stopped.sigval
        except multiprocessing.errors.ChildFailedError as failed:
            code = failed.get_first_failure()[1].exitcode
            how = f"exit code {code}" if code > 0 else signal.Signals(-code).name
            message = f"one of the {processes} processes that train together ended with {how}"
            # If torch sees the end of a process before the first does, the run is interrupted.
            is_recorded = read_run_record(run).status in ("failed", "finished")
            mark_waiting_run_failed(run, message)
            if code < 0 and not is_recorded:
                raise DlrunError(
                    message, "perhaps memory is short; `dlrun resume` continues the run"
                ) from None
            code = max(code, 1)
    if settings.json:
        run_context.print_results_json(run, Screen())
    return code


@contextlib.contextmanager
def _settings_restored() -> Iterator[None]:
    """Restore the signal handlers that torch's launcher replaces, and silence its log messages."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    disabled = logging.root.manager.disable
    logging.disable()
    try:
        yield
    finally:
        logging.disable(disabled)
        for number, handler in handlers.items():
            with contextlib.suppress(ValueError):  # not in the main thread: nothing was changed
                signal.signal(number, handler)
        os.environ.pop("TORCHELASTIC_SIGNALS_TO_HANDLE", None)  # of handle_signals


def resume_command_arguments(run: Path, settings: RunSettings) -> list[str]:
    """Return the command-line arguments of dlrun that start a waiting run or continue a run."""
    runs_dir = run_context.resolve_runs_dir(settings.runs_dir)
    data_dir = run_context.resolve_data_dir(settings.data_dir)
    words = ["resume", str(run), "--runs-dir", str(runs_dir), "--data-dir", str(data_dir)]
    words += [word for text in settings.overrides for word in ("--set", text)]
    flags = ("quiet", "summary", "json", "force", "trust")
    return words + [f"--{flag}" for flag in flags if getattr(settings, flag)]


def mark_waiting_run_failed(run: Path, why: str) -> None:
    """Set the status of a run that never began to `failed`; leave any other run unchanged."""
    with contextlib.suppress(DlrunError, OSError):
        record = read_run_record(run)
        if record.status == "waiting":
            failed = record.model_copy(update={"status": "failed", "error": why})
            write_run_record(RunFolder(run), failed)
