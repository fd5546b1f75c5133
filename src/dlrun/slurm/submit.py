"""Submit runs to SLURM, through submitit: `dlrun EXPERIMENT --slurm`."""

import contextlib
import importlib.util
import io
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.text import Text

from dlrun import run_context
from dlrun.config.sections import ExperimentConfig, NetworkConfig
from dlrun.config.validation import validate
from dlrun.config.yaml_loader import Layer
from dlrun.errors import ConfigError
from dlrun.experiments import registry
from dlrun.run_context import RunSettings, errors_as_json
from dlrun.run_folder.folder import RunFolder, to_json
from dlrun.run_folder.removal import repair_latest
from dlrun.runs.distributed import (
    ProcessGroup,
    config_for_group,
    find_process_group,
    resume_arguments,
)
from dlrun.runs.runner import Runner
from dlrun.runs.start import check, print_dry_run, read_config_layers
from dlrun.slurm.job import NUMBER, SLURM_FOLDER, Job
from dlrun.slurm.options import SlurmOptions, parse_options
from dlrun.slurm.watch import wait_for
from dlrun.system.accelerator import check_batch
from dlrun.system.console import Screen

# Variables of the allocation in which dlrun itself runs. Those of SBATCH would override --slurm.
INHERITED = ("SLURM_", "SLURMD_", "SBATCH_", "SALLOC_", "SRUN_", "SUBMITIT_")
CLIENT = frozenset({"SLURM_CONF", "SLURM_JWT", "SLURM_CLUSTERS"})  # how to connect to SLURM
REQUEUES = 1000  # a job that finishes no step is not requeued (job.Job)


def submit_run(name: str, options: RunSettings, texts: list[str], *, wait: bool) -> int:
    """Submit a run, and return the exit code: of the run, if it is waited for.

    Raises ConfigError before anything is submitted, or if SLURM refuses it.
    """
    screen = Screen(quiet=options.quiet, results=not options.json)
    with errors_as_json(screen, wanted=options.json):
        wanted = parse_options(texts)
        if wanted.parallel is not None:
            raise ConfigError("--slurm parallel: only a sweep has several jobs", "leave it out")
        check_slurm()
        config = config_for_slurm(name, read_config_layers(name, options), wanted)
        runs_dir = run_context.runs_dir(options.runs_dir).absolute()
        _check_run(name, config, options)
        if options.dry_run:
            print_dry_run(config, runs_dir / name, screen, json=options.json)
            return 0
        folder = RunFolder.claim(runs_dir, name, options.name)
        try:
            write_waiting_run(name, config, folder, screen, options)
            job, about = job_of(folder.path, options), folder.path / SLURM_FOLDER
            (number,) = submit_jobs([job], about, wanted, name, *_shape(config))
        except BaseException:
            shutil.rmtree(folder.path)
            repair_latest(runs_dir, name)
            raise
    if wait:
        screen.note(f"submitted {name}/{folder.path.name} as job {number}")
        return wait_for(folder.path, number, screen, as_json=options.json)
    if options.json:
        result = {"status": "waiting", "run": str(folder.path), "job": number}
        screen.out.file.write(to_json(result))
        return 0
    screen.note(
        f"submitted as job {number}: `squeue --job {number}` shows it, `scancel {number}` ends it"
    )
    screen.show(Text("job    ", style="bold") + Text(number))
    screen.show(Text("run    ", style="bold") + Text(str(folder.path)))
    return 0


def check_slurm() -> None:
    """Raise ConfigError if nothing can be submitted from here."""
    if group := find_process_group():
        raise ConfigError(f"{group}, each of which would submit", f"leave {group.by} out")
    if importlib.util.find_spec("submitit") is None:
        raise ConfigError("--slurm needs the package submitit", "pip install 'dlrun[slurm]'")
    if missing := [name for name in ("sbatch", "srun") if shutil.which(name) is None]:
        raise ConfigError(
            f"--slurm: no {missing[0]} on the PATH", "submit on a login node of SLURM"
        )


def config_for_slurm(name: str, layer: Layer, wanted: SlurmOptions) -> ExperimentConfig:
    """Return the valid config with the devices and nodes that SLURM is asked for.

    Raises ConfigError.
    """
    config: ExperimentConfig = validate(registry.config_class(name), layer, name)
    nodes, tasks = _shape(config)
    nodes, tasks = wanted.nodes or nodes, wanted.tasks or tasks
    if nodes * tasks == 1:
        return config
    return config_for_group(config, ProcessGroup("--slurm", tasks, nodes * tasks))


def _shape(config: ExperimentConfig) -> tuple[int, int]:
    """Return the number of nodes, and of processes on each."""
    if not isinstance(config, NetworkConfig):
        return 1, 1
    devices = config.trainer.devices
    return config.trainer.num_nodes, devices if isinstance(devices, int) else 1


def _check_run(name: str, config: ExperimentConfig, options: RunSettings) -> None:
    """Check what can be known here: devices and cores are those of another machine."""
    if isinstance(config, NetworkConfig):
        check_batch(config.batch_size, config.world or 1)
        one = config.trainer.model_copy(update={"devices": 1, "num_nodes": 1})
        config = config.model_copy(update={"trainer": one})
    check(name, config, options, here=False)


def write_waiting_run(
    name: str, config: ExperimentConfig, folder: RunFolder, screen: Screen, options: RunSettings
) -> None:
    """Write the first files of a run that waits for its job."""
    with folder.locked(screen):
        Runner(registry.load(name), config, folder, options).write_first_files("waiting")


def job_of(run: Path, options: RunSettings) -> Job:
    """Return the job that begins a run in an absolute folder, or continues it."""
    there = replace(
        options,
        runs_dir=run.parents[1],
        data_dir=run_context.data_dir(options.data_dir).absolute(),
        json=False,
    )
    return Job(str(run), tuple(resume_arguments(run, there)))


def submit_jobs(
    jobs: Sequence[Job],
    folder: Path,
    wanted: SlurmOptions,
    name: str,
    nodes: int = 1,
    tasks: int = 1,
) -> list[str]:
    """Submit jobs, several as an array, and return their ids; the runs' folders keep them too.

    Args:
        jobs: at least one.
        folder: for submitit's files.
        wanted: the options of `--slurm`.
        name: of the job, which squeue shows.
        nodes: of each job.
        tasks: processes of each job on each node.

    Raises ConfigError if SLURM refuses them.
    """
    import submitit  # an extra

    logging.getLogger("submitit").setLevel(logging.CRITICAL)
    with _outside_allocation(), contextlib.redirect_stderr(io.StringIO()):  # it raises errors too
        try:
            executor = submitit.SlurmExecutor(folder, max_num_timeout=REQUEUES)
            executor.update_parameters(**wanted.for_submitit(name, nodes, tasks))
            with executor.batch():
                submitted = [executor.submit(job) for job in jobs]
            numbers = [job.job_id for job in submitted]
        except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as e:
            lines = [line.removeprefix("sbatch: error: ") for line in str(e).splitlines() if line]
            raise ConfigError(
                f"SLURM refuses it: {'; '.join(lines)}", "sinfo shows the partitions"
            ) from None
    for job, number in zip(jobs, numbers, strict=True):
        about = Path(job.run, SLURM_FOLDER)
        about.mkdir(exist_ok=True)
        (about / NUMBER).write_text(f"{number}\n", encoding="utf-8")
    return numbers


@contextlib.contextmanager
def _outside_allocation() -> Iterator[None]:
    """Hide the variables of the allocation in which this process runs, if it is in one."""
    names = [name for name in os.environ if name.startswith(INHERITED) and name not in CLIENT]
    hidden = {name: os.environ.pop(name) for name in names}
    try:
        yield
    finally:
        os.environ.update(hidden)
