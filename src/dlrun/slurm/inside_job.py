"""Carry out a run on a compute node of a cluster, inside the SLURM job of the run.

submitit stores a RunJob in a file and loads it in the job, so it consists of texts only.
"""

import contextlib
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from dlrun.errors import DlrunError, OutOfTime
from dlrun.runs.folder import OutputFolder
from dlrun.runs.options import RunOptions, resolve_data_dir
from dlrun.runs.record import WritableRecord, read_run_record, write_run_record

SLURM_FOLDER = "slurm"  # the folder of the job's files in a run's folder
STDOUT_FILE, STDERR_FILE = "stdout.txt", "stderr.txt"
EXIT_CODE_FILE, JOB_ID_FILE = "exit-code", "job"


@dataclass(frozen=True)
class RunJob:
    """Begins or continues a run inside a SLURM job, by its folder and the arguments of dlrun."""

    run: str  # its folder; jobs in the queue name this module, class and field
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
        """The exit code is 128 + signal after a signal, as in a shell; files get the output."""
        command = [sys.executable, "-P", "-m", "dlrun", *self.arguments]
        with (folder / STDOUT_FILE).open("ab") as out, (folder / STDERR_FILE).open("ab") as err:
            process = subprocess.run(  # noqa: S603 (dlrun's own arguments)
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, check=False
            )
        return process.returncode if process.returncode >= 0 else 128 - process.returncode

    def checkpoint(self) -> object:
        """After a requeue submitit runs the same job again, which will resume."""
        from submitit.helpers import DelayedSubmission  # an extra

        return DelayedSubmission(self)


def _mark_waiting_run_failed(run_folder: Path) -> None:
    """Set a run that never began to `failed`, with its job's last error; leave others unchanged."""
    with contextlib.suppress(DlrunError, OSError):
        record = read_run_record(run_folder)
        if record.status == "waiting":
            file = run_folder / SLURM_FOLDER / STDERR_FILE
            output = file.read_text(encoding="utf-8", errors="replace")
            errors = re.findall("^error: (.*)", output, re.M)
            error = errors[-1] if errors else "its job ended before it began"
            failed = WritableRecord.of(record)
            failed.status = "failed"
            failed.error = error
            write_run_record(OutputFolder(run_folder), failed)


def make_run_job(run_folder: Path, options: RunOptions) -> RunJob:
    """The run's folder is absolute; the job begins or continues the run."""
    data_dir = resolve_data_dir(options.data_dir).absolute()
    places = ["--runs-dir", str(run_folder.parents[1]), "--data-dir", str(data_dir)]
    flags = [f"--{flag}" for flag in ("quiet", "summary", "force") if getattr(options, flag)]
    return RunJob(str(run_folder), ("resume", str(run_folder), *places, *flags))
