"""Execute a run in its SLURM job, and watch such jobs until they have ended.

submitit stores a ResumeJob in a file and loads it in the job, so it consists of texts only.
"""

import contextlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from dlrun import run_context
from dlrun.errors import DlrunError, Interrupted, OutOfTime
from dlrun.experiments.saved_run import Run
from dlrun.run_context import RunSettings, print_results_json
from dlrun.run_folder.folder import RunFolder
from dlrun.run_folder.record import read_run_record, write_run_record
from dlrun.system.console import Screen
from dlrun.system.signals import STOP_SIGNAL_EXIT_CODES

SLURM_FOLDER = "slurm"  # the folder of the job's files in a run's folder
STDOUT_FILE, STDERR_FILE = "stdout.txt", "stderr.txt"
EXIT_CODE_FILE, JOB_ID_FILE = "exit-code", "job"
TICK = 0.5  # seconds between two looks at the run's folder
QUEUE_TICK = 10.0  # seconds between two calls of squeue, which other users call too


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
        # SLURM signals the child too: submitit must not act before the child has saved its step.
        submitit_handler = signal.signal(signal.SIGUSR2, lambda *_: None)
        run_folder = Path(self.run)
        steps_before = read_run_record(run_folder).steps or 0
        job_folder = run_folder / SLURM_FOLDER
        job_folder.mkdir(exist_ok=True)
        (job_folder / EXIT_CODE_FILE).unlink(missing_ok=True)
        code = self._run_command(job_folder)
        if code == OutOfTime.exit_code:
            if (read_run_record(run_folder).steps or 0) > steps_before:
                assert callable(submitit_handler)
                submitit_handler(signal.SIGUSR2, None)  # requeues the job and exits the process
            with (job_folder / STDERR_FILE).open("ab") as err:
                err.write(b"error: no step was finished in the time that --slurm requested\n")
        if code:
            _mark_waiting_run_failed(run_folder)
        (job_folder / EXIT_CODE_FILE).write_text(f"{code}\n", encoding="utf-8")
        sys.exit(code)

    def _run_command(self, folder: Path) -> int:
        """Return the exit code of the dlrun command, whose output is appended to files."""
        command = [sys.executable, "-P", "-m", "dlrun", *self.arguments]
        with (folder / STDOUT_FILE).open("ab") as out, (folder / STDERR_FILE).open("ab") as err:
            process = subprocess.run(  # noqa: S603 (dlrun's own arguments)
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, check=False
            )
        return process.returncode if process.returncode >= 0 else 128 - process.returncode

    def checkpoint(self) -> object:
        """Return the job that submitit runs after a requeue: the same job, which will resume."""
        from submitit.helpers import DelayedSubmission  # an extra

        return DelayedSubmission(self)


def _mark_waiting_run_failed(run_folder: Path) -> None:
    """Set a run that never began to `failed`, with its job's last error; leave others unchanged."""
    with contextlib.suppress(DlrunError, OSError):
        record = read_run_record(run_folder)
        if record.status == "waiting":
            file = run_folder / SLURM_FOLDER / STDERR_FILE
            output = file.read_text(encoding="utf-8", errors="replace")
            errors = ["its job ended before it began", *re.findall("^error: (.*)", output, re.M)]
            failed = record.model_copy(update={"status": "failed", "error": errors[-1]})
            write_run_record(RunFolder(run_folder), failed)


def make_resume_job(run_folder: Path, settings: RunSettings) -> ResumeJob:
    """Return the SLURM job that starts or continues the run in an absolute folder."""
    data_dir = run_context.resolve_data_dir(settings.data_dir).absolute()
    places = ["--runs-dir", str(run_folder.parents[1]), "--data-dir", str(data_dir)]
    flags = [f"--{flag}" for flag in ("quiet", "summary", "force") if getattr(settings, flag)]
    return ResumeJob(str(run_folder), ("resume", str(run_folder), *places, *flags))


def jobs_in_queue() -> set[str] | None:
    """Return the ids of the user's jobs in SLURM's queue, or None if SLURM does not answer."""
    command = ["squeue", "--me", "--noheader", "--array", "--format=%i"]
    quiet = subprocess.DEVNULL
    try:  # squeue is where PATH says
        output = subprocess.check_output(command, stderr=quiet, text=True, timeout=60)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return set(output.split())


def read_job_id(run_folder: Path) -> str | None:
    """Return the id of the SLURM job of a run, or None if it was not submitted."""
    with contextlib.suppress(OSError):
        return (run_folder / SLURM_FOLDER / JOB_ID_FILE).read_text(encoding="utf-8").strip()
    return None


def watch_jobs(job_ids: Mapping[Path, str]) -> Iterator[dict[Path, int | None]]:
    """Yield, every half second, the exit codes of the jobs that have ended since, by run folder."""
    unfinished = dict(job_ids)
    last_asked = float("-inf")
    while unfinished:
        time.sleep(TICK)
        if time.monotonic() > last_asked + QUEUE_TICK:
            queued = jobs_in_queue()
            last_asked = time.monotonic()
        exit_codes = {}  # often of no job; the code is None if a job left none
        for run_folder, job_id in unfinished.items():
            code = _read_exit_code(run_folder)
            has_left_queue = queued is not None and job_id not in queued
            # After a signal the job may be queued again.
            has_final_code = code is not None and code not in STOP_SIGNAL_EXIT_CODES
            if has_left_queue or has_final_code:
                exit_codes[run_folder] = code
        for run_folder in exit_codes:
            del unfinished[run_folder]
        yield exit_codes


def _read_exit_code(run_folder: Path) -> int | None:
    """Return the exit code that a job has left, or None if it has left none, or not yet."""
    file = run_folder / SLURM_FOLDER / EXIT_CODE_FILE
    try:
        # NFS remembers for up to a minute that a file was missing, unless its folder is listed.
        if file not in file.parent.iterdir():
            return None
        return int(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # missing, or being written now
        return None


def wait_for_job(run_folder: Path, job_id: str, screen: Screen, *, as_json: bool) -> int:
    """Wait until the SLURM job of a run has ended, show its output, and return its exit code."""
    streams = {STDERR_FILE: screen.err.file} | ({} if as_json else {STDOUT_FILE: screen.out.file})
    shown = dict.fromkeys(streams, 0)  # bytes of each file
    job_folder = run_folder / SLURM_FOLDER
    code = None
    try:
        for exit_codes in watch_jobs({run_folder: job_id}):
            code = exit_codes.get(run_folder)
            for name, stream in streams.items():
                with contextlib.suppress(FileNotFoundError):  # it has not started
                    shown[name] += _copy_new_lines(job_folder / name, stream, shown[name])
    except Interrupted:
        screen.note(f"job {job_id} continues; `scancel {job_id}` ends it")
        raise
    if code is None:
        state = Run.in_folder(run_folder).state
        problem = f"job {job_id} is no longer in SLURM's queue, its run is {state}"
        hint = f"SLURM's messages are in {job_folder}; `dlrun resume {run_folder}` continues here"
        raise DlrunError(problem, hint)
    if as_json:
        print_results_json(run_folder, screen)
    return code


def _copy_new_lines(file: Path, stream: IO[str], shown: int) -> int:
    """Write the whole lines after the first `shown` bytes of a file; return how many bytes."""
    new = file.read_bytes()[shown:]
    lines = new[: new.rfind(b"\n") + 1]
    stream.write(lines.decode("utf-8", "replace"))
    stream.flush()
    return len(lines)
