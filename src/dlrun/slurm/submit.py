"""Submit runs to the queue of a SLURM cluster, as the option `--slurm` asks for."""

import contextlib
import io
import logging
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from dlrun.config.sections import PositiveInt, Section
from dlrun.config.validation import validate_layer
from dlrun.config.yaml_loader import ConfigLayer, KeyPath
from dlrun.errors import ConfigError
from dlrun.experiments import checks
from dlrun.experiments.experiment import AnyExperiment
from dlrun.runs.new_run import make_waiting_run, remove_unless_begun
from dlrun.runs.options import RunOptions
from dlrun.runs.run import Run
from dlrun.slurm.inside_job import JOB_ID_FILE, SLURM_FOLDER, RunJob, make_run_job
from dlrun.slurm.watch import wait_for_job
from dlrun.system.extras import require_extra

SIGNAL_SECONDS = 90  # time between the signal and the end; far longer than a batch or a fit takes
# Variables of the allocation in which dlrun itself runs. Those of SBATCH would override --slurm.
HIDDEN_PREFIXES = ("SLURM_", "SLURMD_", "SBATCH_", "SALLOC_", "SRUN_", "SUBMITIT_")
KEPT_VARIABLES = frozenset({"SLURM_CONF", "SLURM_JWT", "SLURM_CLUSTERS"})  # how to connect to SLURM
REQUEUES = 1000  # a job that finishes no step is not requeued (RunJob)


class SlurmOptions(Section, strict=False, str_min_length=1):
    """Holds the keys of the option `--slurm`; SLURM chooses the values that are not given."""

    time: PositiveInt = 60  # minutes; then the job waits in the queue again, and the run continues
    partition: str | None = None
    cpus: PositiveInt | None = None  # cores of the job
    mem: Annotated[str, Field(pattern=r"^\d+[KMGT]?$")] | None = None  # memory of the job: 8G
    gpus: PositiveInt | None = None  # GPUs of the job
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    parallel: PositiveInt | None = None  # points of a sweep that run at once

    def submitit_parameters(self, name: str) -> dict[str, object]:
        """submitit and sbatch have other names for some of the keys."""
        values = self.model_dump(exclude_none=True)
        names = {"cpus": "cpus_per_task", "gpus": "gpus_per_node", "parallel": "array_parallelism"}
        return {names.get(key, key): value for key, value in values.items()} | {
            "job_name": name,
            "ntasks_per_node": 1,
            "signal_delay_s": min(SIGNAL_SECONDS, self.time * 60 // 4),  # of a short job's time
            "additional_parameters": {"requeue": True},
            "wckey": None,  # instead of submitit's own, "submitit"
        }


def parse_slurm_options(texts: Sequence[str]) -> SlurmOptions:
    """Parse `--slurm` texts such as `partition=gpu,time=30`. Raises ConfigError if invalid."""
    hint = f"--slurm KEY=VALUE,...: {', '.join(SlurmOptions.model_fields)}"
    values: dict[str, object] = {}
    for part in ",".join(texts).split(","):
        key, equals, value = part.partition("=")
        if not equals:
            raise ConfigError(f"--slurm {part}: expected KEY=VALUE", hint)
        if key in values:
            raise ConfigError(f"--slurm {part}: {key} is given twice", "leave one out")
        values[key] = value
    origins: dict[KeyPath, str] = {(key,): f"--slurm {key}={values[key]}" for key in values}
    try:
        return validate_layer(SlurmOptions, ConfigLayer(values, origins))
    except ConfigError as error:
        raise ConfigError(error.message, hint) from None


def submit_run(
    experiment: AnyExperiment, options: RunOptions, slurm_options: SlurmOptions, *, wait: bool
) -> int:
    """Submit a run to SLURM, wait for it if `wait`, and return the exit code."""
    screen = options.console()
    require_slurm()
    config = checks.checked_config_of_new_run(experiment, options, is_local=False)
    if config is None:  # a dry run
        return 0
    run = make_waiting_run(experiment, config, options)
    try:
        submitted = submit_runs([run], options, slurm_options, job_name=experiment.name)
    except BaseException:  # SLURM has no job of it
        remove_unless_begun(run.folder)
        raise
    ((run_folder, job_id),) = submitted.items()
    if wait:
        screen.note(f"submitted {experiment.name}/{run_folder.name} as job {job_id}")
        return wait_for_job(run_folder, job_id, screen, as_json=options.json)
    if options.json:
        screen.print_json({"status": "waiting", "run": str(run_folder), "job": job_id})
    else:
        commands = f"`squeue --job {job_id}` shows it, `scancel {job_id}` ends it"
        screen.note(f"submitted as job {job_id}: {commands}")
        screen.show_labelled(("job", job_id), ("run", str(run_folder)))
    return 0


def require_slurm() -> None:
    """Raise ConfigError if this machine cannot submit jobs to SLURM."""
    require_extra("--slurm", "slurm", "submitit")
    if shutil.which("sbatch") is None:
        raise ConfigError("--slurm: no sbatch on the PATH", "submit on a login node of SLURM")


def submit_runs(
    runs: Sequence[Run],
    options: RunOptions,
    slurm_options: SlurmOptions,
    job_name: str,
    array_folder: Path | None = None,
) -> dict[Path, str]:
    """Submit a SLURM job that resumes each run, and return the id of the job by the run's folder.

    The id is written into that folder, too. submitit's files are in `array_folder`; None: in the
    folder of the only run. Raises ConfigError if SLURM refuses the jobs.
    """
    jobs = [make_run_job(run.folder.absolute(), options) for run in runs]
    slurm_folder = (array_folder or Path(jobs[0].run)) / SLURM_FOLDER
    job_ids = _call_sbatch(jobs, slurm_folder, slurm_options.submitit_parameters(job_name))
    submitted = {Path(job.run): job_id for job, job_id in zip(jobs, job_ids, strict=True)}
    for run_folder, job_id in submitted.items():
        job_folder = run_folder / SLURM_FOLDER
        job_folder.mkdir(exist_ok=True)
        (job_folder / JOB_ID_FILE).write_text(f"{job_id}\n", encoding="utf-8")
    return submitted


def _call_sbatch(
    jobs: Sequence[RunJob], slurm_folder: Path, parameters: dict[str, object]
) -> list[str]:
    """Submit jobs to SLURM, several as an array; return their ids; raise ConfigError if refused."""
    import submitit  # an extra

    logging.getLogger("submitit").setLevel(logging.CRITICAL)
    try:
        # submitit prints what it also raises.
        with _without_allocation_variables(), contextlib.redirect_stderr(io.StringIO()):
            python = f"{shlex.quote(sys.executable)} -P"  # imports nothing from the working folder
            executor = submitit.SlurmExecutor(slurm_folder, max_num_timeout=REQUEUES, python=python)
            executor.update_parameters(**parameters)
            with executor.batch():
                submitted = [executor.submit(job) for job in jobs]
            return [job.job_id for job in submitted]
    except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
        lines = [line.removeprefix("sbatch: error: ") for line in str(error).splitlines() if line]
        problem = f"SLURM refuses it: {'; '.join(lines)}"
        raise ConfigError(problem, "sinfo shows the partitions") from None


@contextlib.contextmanager
def _without_allocation_variables() -> Iterator[None]:
    """Hide the variables of the SLURM job in which dlrun itself runs, during a `with` block."""
    names = [name for name in os.environ if name.startswith(HIDDEN_PREFIXES)]
    hidden = {name: os.environ.pop(name) for name in names if name not in KEPT_VARIABLES}
    try:
        yield
    finally:
        os.environ.update(hidden)
