"""Find or start the processes that train one network together (distributed training)."""

import contextlib
import logging
import os
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from dlrun import run_context
from dlrun.config.network_sections import LightningConfig
from dlrun.config.sections import ExperimentConfig
from dlrun.errors import ConfigError, DlrunError
from dlrun.run_context import RunSettings
from dlrun.run_folder.folder import RunFolder
from dlrun.run_folder.record import read_run_record, write_run_record
from dlrun.system.console import Screen
from dlrun.system.signals import StopRequest, handled_stop_signals


@dataclass(frozen=True)
class ProcessGroup:
    """Describes the processes that train one network together, and the rank of this process."""

    by: str  # what starts the processes
    processes: int  # how many there are
    rank: int = 0  # the number of this process; that of rank 0 writes the run's files


def find_process_group() -> ProcessGroup | None:
    """Return the process group in which torchrun or srun started this process, or None."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        processes = _number("WORLD_SIZE")
        is_here = _number("LOCAL_WORLD_SIZE") == processes
        launcher = "torchrun" if is_here else "torchrun --nnodes"
        group = ProcessGroup(launcher, processes, _number("RANK"))
    else:
        group = ProcessGroup("srun", _number("SLURM_STEP_NUM_TASKS"), _number("SLURM_PROCID"))
    return group if group.processes > 1 else None


def _number(variable: str) -> int:
    """Return the number in an environment variable; 0 if it is not set."""
    return int(os.environ.get(variable, "0"))


def check_single_process(action: str) -> None:
    """Raise ConfigError if this is one of several processes, each of which would do an action."""
    if group := find_process_group():
        problem = f"{group.by} starts {group.processes} processes, each of which would {action}"
        raise ConfigError(problem, f"leave out {group.by}")


def set_devices_from_launcher(
    config: ExperimentConfig, *, resumed: bool = False
) -> ExperimentConfig:
    """Return the config with `trainer.devices` set to the number of processes that torchrun starts.

    Raises ConfigError if the config asks for another number, or they cannot train it together.
    """
    group = find_process_group()
    if group is None:
        return config
    problem = f"{group.by} starts {group.processes} processes"
    if not isinstance(config, LightningConfig):
        raise ConfigError(f"{problem}, this experiment runs in one", f"leave out {group.by}")
    if group.by != "torchrun":
        ways = "trainer.devices=N, --slurm tasks=N or torchrun"
        raise ConfigError(f"{problem}, each of which would train alone", f"use {ways} instead")
    devices = config.processes
    if devices not in (1, group.processes) and not resumed:
        raise ConfigError(f"trainer.devices: {devices}, but {problem}", "leave out trainer.devices")
    trainer = config.trainer.model_copy(update={"devices": group.processes})
    return config.model_copy(update={"trainer": trainer})


def is_helper_process() -> bool:
    """Return whether this process is not the one of rank 0, which writes the files of the run."""
    group = find_process_group()
    return group is not None and group.rank > 0


def count_processes_to_start(config: ExperimentConfig) -> int:
    """Return in how many processes a run must be started; 1 if this process can execute it."""
    return config.processes if find_process_group() is None else 1


def launch_training_processes(processes: int, run: Path, settings: RunSettings) -> int:
    """Execute a waiting or resumed run in several processes; return its exit code."""
    from torch.distributed.elastic import multiprocessing  # slow
    from torch.distributed.launcher import api as launcher

    redirects = dict.fromkeys(range(processes), multiprocessing.Std.OUT)
    if settings.screen is None and not settings.json:
        redirects[0] = multiprocessing.Std.NONE
    with (
        tempfile.TemporaryDirectory(prefix="dlrun-") as logs,
        StopRequest().listening(),  # restores the handlers, which torch's launcher replaces
        contextlib.ExitStack() as stack,
    ):
        stack.callback(os.environ.pop, "TORCHELASTIC_SIGNALS_TO_HANDLE", None)  # the launcher's
        stack.callback(logging.disable, logging.root.manager.disable)
        logging.disable()
        config = launcher.LaunchConfig(
            min_nodes=1, max_nodes=1, nproc_per_node=processes, max_restarts=0,
            rdzv_backend="c10d", rdzv_endpoint="localhost:0", local_addr="localhost",
            logs_specs=multiprocessing.DefaultLogsSpecs(logs, redirects),
        )  # fmt: skip
        # What this process ignores, as nohup has it, stays ignored; torch before 2.9 handles all.
        config.signals_to_handle = ",".join(signal.Signals(n).name for n in handled_stop_signals())
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
