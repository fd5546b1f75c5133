"""Submit runs to SLURM through submitit, for `dlrun EXPERIMENT --slurm KEY=VALUE,...`."""

import contextlib
import io
import logging
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from dlrun import run_context
from dlrun.config.network_sections import LightningConfig, NetworkConfig
from dlrun.config.plugins import require_extra
from dlrun.config.sections import ExperimentConfig, PositiveInt, Section
from dlrun.config.validation import validate_layer
from dlrun.config.yaml_loader import ConfigLayer, KeyPath
from dlrun.errors import ConfigError
from dlrun.experiments import registry
from dlrun.run_context import RunSettings, errors_as_json
from dlrun.run_folder.find import repair_latest_link
from dlrun.run_folder.folder import RunFolder, check_runs_folder_writable
from dlrun.runs import distributed
from dlrun.runs.start import (
    check_run_can_start,
    merge_experiment_config,
    new_record,
    print_dry_run,
    write_first_files,
)
from dlrun.slurm.job import NUMBER, SLURM_FOLDER, Job, wait_for_job
from dlrun.system.accelerator import check_batch_divisible
from dlrun.system.console import Screen

SIGNAL_SECONDS = 90  # time between the signal and the end; far longer than a step takes
# Variables of the allocation in which dlrun itself runs. Those of SBATCH would override --slurm.
INHERITED = ("SLURM_", "SLURMD_", "SBATCH_", "SALLOC_", "SRUN_", "SUBMITIT_")
CLIENT = frozenset({"SLURM_CONF", "SLURM_JWT", "SLURM_CLUSTERS"})  # how to connect to SLURM
REQUEUES = 1000  # a job that finishes no step is not requeued (job.Job)


class SlurmOptions(Section, strict=False, str_min_length=1):
    """Holds the keys of the option `--slurm`; SLURM chooses the values that are not given."""

    time: PositiveInt = 60  # minutes; then the job waits in the queue again, and the run continues
    partition: str | None = None
    cpus: PositiveInt | None = None  # cores of each process
    mem: Annotated[str, Field(pattern=r"^\d+[KMGT]?$")] | None = None  # memory of a node: 8G
    gpus: PositiveInt | None = None  # GPUs of each node
    nodes: PositiveInt | None = None
    tasks: PositiveInt | None = None  # processes on each node
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gres: str | None = None
    nodelist: str | None = None
    exclude: str | None = None
    reservation: str | None = None
    dependency: str | None = None
    parallel: PositiveInt | None = None  # points of a sweep that run at once

    def submitit_parameters(self, name: str, nodes: int, tasks: int) -> dict[str, object]:
        """Return the parameters that submitit needs to submit a job with these options.

        SLURM checks the time once a minute, and may send the signal that much earlier: a quarter
        of a short job's time is enough.
        """
        given = self.model_dump(exclude={"nodes", "tasks", "reservation"}, exclude_none=True)
        names = {"cpus": "cpus_per_task", "gpus": "gpus_per_node", "parallel": "array_parallelism"}
        reservation = {"reservation": self.reservation} if self.reservation else {}
        return {names.get(key, key): value for key, value in given.items()} | {
            "job_name": name,
            "nodes": nodes,
            "ntasks_per_node": tasks,
            "signal_delay_s": min(SIGNAL_SECONDS, self.time * 60 // 4),
            "additional_parameters": {"requeue": True, **reservation},
            "wckey": None,
        }


def parse_slurm_options(texts: Sequence[str]) -> SlurmOptions:
    """Parse `--slurm` texts such as `partition=gpu,time=30`. Raises ConfigError if invalid."""
    hint = f"--slurm KEY=VALUE,...: {', '.join(SlurmOptions.model_fields)}"
    values: dict[str, object] = {}
    # A value may have commas, as in nodelist=n1,n2.
    for part in (part for text in texts if text for part in re.split(r",(?=[a-z_-]+=)", text)):
        key, equals, value = part.partition("=")
        if not equals:
            raise ConfigError(f"--slurm {part}: expected KEY=VALUE", hint)
        if key in values:
            raise ConfigError(f"--slurm {part}: {key} is given twice", "leave one out")
        values[key] = value
    origins: dict[KeyPath, str] = {(key,): f"--slurm {key}={one}" for key, one in values.items()}
    try:
        return validate_layer(SlurmOptions, ConfigLayer(values, origins), "")
    except ConfigError as error:
        raise ConfigError(error.message, hint) from None


def submit_run_to_slurm(name: str, settings: RunSettings, texts: list[str], *, wait: bool) -> int:
    """Submit a run to SLURM, wait for it if `wait`, and return the exit code."""
    screen = Screen(quiet=settings.quiet, results=not settings.json)
    with errors_as_json(screen, wanted=settings.json):
        options = parse_slurm_options(texts)
        if options.parallel is not None:
            raise ConfigError("--slurm parallel: only a sweep has several jobs", "leave it out")
        check_slurm_available()
        layer = merge_experiment_config(name, settings)
        config: ExperimentConfig = validate_layer(registry.load_config_class(name), layer, name)
        nodes, tasks = _nodes_and_tasks(config)
        nodes, tasks = options.nodes or nodes, options.tasks or tasks
        if nodes * tasks > 1:
            group = distributed.ProcessGroup("--slurm", tasks, nodes * tasks)
            config = distributed.set_devices_from_launcher(config, group)
        checked = config
        if isinstance(config, NetworkConfig):
            check_batch_divisible(config.batch_size, config.world or 1)
        if isinstance(config, LightningConfig):  # devices and cores are those of another machine
            one = config.trainer.model_copy(update={"devices": 1, "num_nodes": 1})
            checked = config.model_copy(update={"trainer": one})
        check_runs_folder_writable(run_context.resolve_runs_dir(settings.runs_dir))
        check_run_can_start(name, checked, settings, here=False)
        if settings.dry_run:
            place = run_context.resolve_runs_dir(settings.runs_dir).absolute() / name
            print_dry_run(config, place, screen, json=settings.json)
            return 0
        runs = [RunToSubmit(config, settings)]
        ((folder, job),) = submit_runs_to_slurm(name, runs, options, name)
    if wait:
        screen.note(f"submitted {name}/{folder.name} as job {job}")
        return wait_for_job(folder, job, screen, as_json=settings.json)
    if settings.json:
        screen.print_json({"status": "waiting", "run": str(folder), "job": job})
        return 0
    screen.note(f"submitted as job {job}: `squeue --job {job}` shows it, `scancel {job}` ends it")
    screen.labelled(("job", job), ("run", str(folder)))
    return 0


def check_slurm_available() -> None:
    """Raise ConfigError if this machine cannot submit jobs to SLURM."""
    if group := distributed.find_process_group():
        raise ConfigError(f"{group}, each of which would submit this run", f"leave {group.by} out")
    require_extra("--slurm", "slurm", "submitit")
    if missing := [name for name in ("sbatch", "srun") if shutil.which(name) is None]:
        raise ConfigError(
            f"--slurm: no {missing[0]} on the PATH", "submit on a login node of SLURM"
        )


def _nodes_and_tasks(config: ExperimentConfig) -> tuple[int, int]:
    """Return the number of nodes in a config, and the number of processes on each."""
    if not isinstance(config, LightningConfig):
        return 1, 1
    devices = config.trainer.devices
    return config.trainer.num_nodes, devices if isinstance(devices, int) else 1


@dataclass(frozen=True)
class RunToSubmit:
    """Holds the config and settings of a run to submit, and its folder if the run continues."""

    config: ExperimentConfig
    settings: RunSettings
    folder: Path | None = None


def submit_runs_to_slurm(
    experiment: str,
    planned: Sequence[RunToSubmit],
    options: SlurmOptions,
    job_name: str,
    array_folder: Path | None = None,
) -> list[tuple[Path, str]]:
    """Create waiting runs, submit their SLURM jobs, and return the folder and job of each.

    Several runs are submitted as a job array, with submitit's files in `array_folder`; None: in the
    folder of the only run. Raises ConfigError if SLURM refuses them; then all new runs are removed.
    """
    runs_dir = run_context.resolve_runs_dir(planned[0].settings.runs_dir).absolute()
    jobs: list[Job] = []
    new: list[Path] = []
    try:
        for run in planned:
            path = run.folder
            if path is None:
                folder = RunFolder.claim(runs_dir, experiment, run.settings.name)
                path = folder.path
                new.append(path)
                with folder.locked():
                    record = new_record(experiment, run.config, run.settings)
                    write_first_files(folder, record, run.settings)
            jobs.append(make_resume_job(path.absolute(), run.settings))
        parameters = options.submitit_parameters(job_name, *_nodes_and_tasks(planned[0].config))
        numbers = _submit_jobs(jobs, (array_folder or Path(jobs[0].run)) / SLURM_FOLDER, parameters)
    except BaseException:
        for path in new:
            shutil.rmtree(path)
        repair_latest_link(runs_dir, experiment)
        raise
    submitted = [(Path(job.run), number) for job, number in zip(jobs, numbers, strict=True)]
    for path, number in submitted:
        (path / SLURM_FOLDER).mkdir(exist_ok=True)
        (path / SLURM_FOLDER / NUMBER).write_text(f"{number}\n", encoding="utf-8")
    return submitted


def make_resume_job(run: Path, settings: RunSettings) -> Job:
    """Return the SLURM job that starts or continues the run in an absolute folder."""
    data_dir = run_context.resolve_data_dir(settings.data_dir).absolute()
    there = replace(settings, overrides=(), runs_dir=run.parents[1], data_dir=data_dir, json=False)
    return Job(str(run), tuple(distributed.resume_command_arguments(run, there)))


def _submit_jobs(jobs: Sequence[Job], folder: Path, parameters: dict[str, object]) -> list[str]:
    """Submit jobs to SLURM, several as an array; return their ids; raise ConfigError if refused."""
    import submitit  # an extra

    logging.getLogger("submitit").setLevel(logging.CRITICAL)
    names = [name for name in os.environ if name.startswith(INHERITED) and name not in CLIENT]
    hidden = {name: os.environ.pop(name) for name in names}
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # it raises errors too
            executor = submitit.SlurmExecutor(folder, max_num_timeout=REQUEUES)
            executor.update_parameters(**parameters)
            with executor.batch():
                submitted = [executor.submit(job) for job in jobs]
            return [job.job_id for job in submitted]
    except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
        lines = [line.removeprefix("sbatch: error: ") for line in str(error).splitlines() if line]
        raise ConfigError(
            f"SLURM refuses it: {'; '.join(lines)}", "sinfo shows the partitions"
        ) from None
    finally:
        os.environ.update(hidden)
