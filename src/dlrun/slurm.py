"""Submit runs to SLURM as jobs through submitit, execute them there, and wait for their end.

submitit stores a ResumeJob in a file and loads it in the job, so it consists of texts only.
"""

import contextlib
import io
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from dlrun import run_context
from dlrun.config.sections import ExperimentConfig, PositiveInt, Section
from dlrun.config.validation import validate_layer
from dlrun.config.yaml_loader import ConfigLayer, KeyPath
from dlrun.errors import ConfigError, DlrunError, Interrupted, OutOfTime
from dlrun.execution import checks, run_recorder
from dlrun.experiments.saved_run import Run
from dlrun.run_context import RunSettings, print_results_json
from dlrun.run_folder.find import repair_latest_link
from dlrun.run_folder.folder import RunFolder
from dlrun.run_folder.record import read_run_record, write_run_record
from dlrun.system.console import Screen
from dlrun.system.extras import require_extra
from dlrun.system.signals import EXIT_CODES

SLURM_FOLDER = "slurm"  # the folder of the job's files in a run's folder
STDOUT, STDERR, EXIT_CODE, JOB_ID = "stdout.txt", "stderr.txt", "exit-code", "job"
TICK = 0.5  # seconds between two looks at the run's folder
QUEUE_TICK = 10.0  # seconds between two calls of squeue, which other users call too
SIGNAL_SECONDS = 90  # time between the signal and the end; far longer than a step takes
# Variables of the allocation in which dlrun itself runs. Those of SBATCH would override --slurm.
INHERITED = ("SLURM_", "SLURMD_", "SBATCH_", "SALLOC_", "SRUN_", "SUBMITIT_")
CLIENT = frozenset({"SLURM_CONF", "SLURM_JWT", "SLURM_CLUSTERS"})  # how to connect to SLURM
REQUEUES = 1000  # a job that finishes no step is not requeued (ResumeJob)


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
        """Return the parameters that submitit needs to submit a job of this name."""
        values = self.model_dump(exclude_none=True)
        names = {"cpus": "cpus_per_task", "gpus": "gpus_per_node", "parallel": "array_parallelism"}
        return {names.get(key, key): value for key, value in values.items()} | {
            "job_name": name,
            "ntasks_per_node": 1,
            "signal_delay_s": min(SIGNAL_SECONDS, self.time * 60 // 4),  # of a short job's time
            "additional_parameters": {"requeue": True},
            "wckey": None,
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
        return validate_layer(SlurmOptions, ConfigLayer(values, origins), "")
    except ConfigError as error:
        raise ConfigError(error.message, hint) from None


@dataclass(frozen=True)
class ResumeJob:
    """Starts or continues a run in a SLURM job, by its folder and the arguments of dlrun."""

    run: str
    arguments: tuple[str, ...]

    def __call__(self) -> None:
        """Execute the dlrun command in a child process, and exit with its exit code.

        submitit requeues a run that ran out of time, if it has finished a step since this start.
        """
        if sys.platform == "win32":
            raise DlrunError("there is no SLURM on Windows")
        # SLURM signals the child too, whose step ends; submitit's handler is called afterwards.
        requeue = signal.signal(signal.SIGUSR2, lambda *_: None)
        run = Path(self.run)
        steps_before = read_run_record(run).steps or 0
        folder = run / SLURM_FOLDER
        folder.mkdir(exist_ok=True)
        (folder / EXIT_CODE).unlink(missing_ok=True)
        with (folder / STDOUT).open("ab") as out, (folder / STDERR).open("ab") as err:
            command = [sys.executable, "-P", "-m", "dlrun", *self.arguments]
            ended = subprocess.run(  # noqa: S603 (dlrun's own arguments)
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, check=False
            )
            code = ended.returncode if ended.returncode >= 0 else 128 - ended.returncode
            if code == OutOfTime.exit_code:
                if (read_run_record(run).steps or 0) > steps_before:
                    assert callable(requeue)  # submitit's
                    requeue(signal.SIGUSR2, None)
                err.write(b"error: no step was finished in the time that --slurm requested\n")
        if code:
            output = (folder / STDERR).read_text(encoding="utf-8", errors="replace")
            errors = ["its job ended before it began", *re.findall("^error: (.*)", output, re.M)]
            _mark_waiting_run_failed(run, errors[-1])
        (folder / EXIT_CODE).write_text(f"{code}\n", encoding="utf-8")
        sys.exit(code)

    def checkpoint(self) -> object:
        """Return the job that submitit runs after a requeue: the same job, which will resume."""
        from submitit.helpers import DelayedSubmission  # an extra

        return DelayedSubmission(self)


def _mark_waiting_run_failed(run: Path, why: str) -> None:
    """Set the status of a run that never began to `failed`; leave any other run unchanged."""
    with contextlib.suppress(DlrunError, OSError):
        record = read_run_record(run)
        if record.status == "waiting":
            failed = record.model_copy(update={"status": "failed", "error": why})
            write_run_record(RunFolder(run), failed)


def submit_run_to_slurm(name: str, settings: RunSettings, texts: list[str], *, wait: bool) -> int:
    """Submit a run to SLURM, wait for it if `wait`, and return the exit code."""
    screen = settings.console()
    options = parse_slurm_options(texts)
    if options.parallel is not None:
        raise ConfigError("--slurm parallel: only a sweep has several jobs", "leave it out")
    check_slurm_available()
    config = checks.check_new_run(name, settings, here=False)
    if config is None:  # a dry run
        return 0
    planned = [RunToSubmit(config, settings)]
    ((folder, job_id),) = submit_runs_to_slurm(name, planned, options, name)
    if wait:
        screen.note(f"submitted {name}/{folder.name} as job {job_id}")
        return wait_for_job(folder, job_id, screen, as_json=settings.json)
    if settings.json:
        screen.print_json({"status": "waiting", "run": str(folder), "job": job_id})
    else:
        commands = f"`squeue --job {job_id}` shows it, `scancel {job_id}` ends it"
        screen.note(f"submitted as job {job_id}: {commands}")
        screen.labelled(("job", job_id), ("run", str(folder)))
    return 0


def check_slurm_available() -> None:
    """Raise ConfigError if this machine cannot submit jobs to SLURM."""
    require_extra("--slurm", "slurm", "submitit")
    if shutil.which("sbatch") is None:
        raise ConfigError("--slurm: no sbatch on the PATH", "submit on a login node of SLURM")


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
    """Create waiting runs, submit their SLURM jobs, and return the folder and job id of each.

    submitit's files are in `array_folder`; None: in the folder of the only run. Raises ConfigError
    if SLURM refuses them; then all new runs are removed.
    """
    runs_dir = run_context.resolve_runs_dir(planned[0].settings.runs_dir).absolute()
    jobs: list[ResumeJob] = []
    new: list[Path] = []
    try:
        for run in planned:
            path = run.folder
            if path is None:
                claimed = RunFolder.claim(runs_dir, experiment, run.settings.name)
                path = claimed.path
                new.append(path)
                with claimed.locked():
                    record = run_recorder.new_record(experiment, run.config, run.settings)
                    run_recorder.write_first_files(claimed, record, run.settings)
            jobs.append(make_resume_job(path.absolute(), run.settings))
        parameters = options.submitit_parameters(job_name)
        job_ids = _submit_jobs(jobs, (array_folder or Path(jobs[0].run)) / SLURM_FOLDER, parameters)
    except BaseException:
        for path in new:
            shutil.rmtree(path)
        repair_latest_link(runs_dir, experiment)
        raise
    submitted = []
    for job, job_id in zip(jobs, job_ids, strict=True):
        folder = Path(job.run) / SLURM_FOLDER
        folder.mkdir(exist_ok=True)
        (folder / JOB_ID).write_text(f"{job_id}\n", encoding="utf-8")
        submitted.append((Path(job.run), job_id))
    return submitted


def make_resume_job(run: Path, settings: RunSettings) -> ResumeJob:
    """Return the SLURM job that starts or continues the run in an absolute folder."""
    data_dir = run_context.resolve_data_dir(settings.data_dir).absolute()
    places = ["--runs-dir", str(run.parents[1]), "--data-dir", str(data_dir)]
    flags = [f"--{flag}" for flag in ("quiet", "summary", "force") if getattr(settings, flag)]
    return ResumeJob(str(run), ("resume", str(run), *places, *flags))


def _submit_jobs(
    jobs: Sequence[ResumeJob], folder: Path, parameters: dict[str, object]
) -> list[str]:
    """Submit jobs to SLURM, several as an array; return their ids; raise ConfigError if refused."""
    import submitit  # an extra

    logging.getLogger("submitit").setLevel(logging.CRITICAL)
    names = [name for name in os.environ if name.startswith(INHERITED) and name not in CLIENT]
    hidden = {name: os.environ.pop(name) for name in names}
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # it raises errors too
            python = f"{shlex.quote(sys.executable)} -P"  # imports nothing from the working folder
            executor = submitit.SlurmExecutor(folder, max_num_timeout=REQUEUES, python=python)
            executor.update_parameters(**parameters)
            with executor.batch():
                submitted = [executor.submit(job) for job in jobs]
            return [job.job_id for job in submitted]
    except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
        lines = [line.removeprefix("sbatch: error: ") for line in str(error).splitlines() if line]
        problem = f"SLURM refuses it: {'; '.join(lines)}"
        raise ConfigError(problem, "sinfo shows the partitions") from None
    finally:
        os.environ.update(hidden)


def jobs_in_queue() -> set[str] | None:
    """Return the ids of the user's jobs in SLURM's queue, or None if SLURM does not answer."""
    command = ["squeue", "--me", "--noheader", "--array", "--format=%i"]
    quiet = subprocess.DEVNULL
    try:  # squeue is where PATH says
        output = subprocess.check_output(command, stderr=quiet, text=True, timeout=60)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return set(output.split())


def read_job_id(run: Path) -> str | None:
    """Return the id of the SLURM job of a run, or None if it was not submitted."""
    with contextlib.suppress(OSError):
        return (run / SLURM_FOLDER / JOB_ID).read_text(encoding="utf-8").strip()
    return None


def watch_jobs(job_ids: Mapping[Path, str]) -> Iterator[dict[Path, int | None]]:
    """Wait for jobs, by run folder; yield the exit codes of ended ones, None without a code."""
    waiting, asked = dict(job_ids), float("-inf")
    while waiting:
        time.sleep(TICK)
        if time.monotonic() > asked + QUEUE_TICK:
            queued, asked = jobs_in_queue(), time.monotonic()
        ended = {}
        for run, job_id in waiting.items():
            code = _read_exit_code(run)
            # After a signal the job may be queued again.
            if (queued is not None and job_id not in queued) or code not in {None, *EXIT_CODES}:
                ended[run] = code
        waiting = {run: job_id for run, job_id in waiting.items() if run not in ended}
        yield ended


def _read_exit_code(run: Path) -> int | None:
    file = run / SLURM_FOLDER / EXIT_CODE
    try:
        # NFS remembers for up to a minute that a file was missing, unless its folder is listed.
        if file not in file.parent.iterdir():
            return None
        return int(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # missing, or being written now
        return None


def wait_for_job(run: Path, job_id: str, screen: Screen, *, as_json: bool) -> int:
    """Wait until the SLURM job of a run has ended, show its output, and return its exit code."""
    streams = {STDERR: screen.err.file} | ({} if as_json else {STDOUT: screen.out.file})
    shown = dict.fromkeys(streams, 0)  # bytes of each file
    code = None
    try:
        for ended in watch_jobs({run: job_id}):
            code = ended.get(run)
            for name, stream in streams.items():
                with contextlib.suppress(FileNotFoundError):  # it has not started
                    new = (run / SLURM_FOLDER / name).read_bytes()[shown[name] :]
                    lines = new[: new.rfind(b"\n") + 1]  # whole ones
                    stream.write(lines.decode("utf-8", "replace"))
                    stream.flush()
                    shown[name] += len(lines)
    except Interrupted:
        screen.note(f"job {job_id} continues; `scancel {job_id}` ends it")
        raise
    if code is None:
        problem = (
            f"job {job_id} is no longer in SLURM's queue, its run is {Run.in_folder(run).state}"
        )
        more = f"SLURM's messages are in {run / SLURM_FOLDER}; `dlrun resume {run}` continues here"
        raise DlrunError(problem, more)
    if as_json:
        print_results_json(run, screen)
    return code
