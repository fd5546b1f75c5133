"""The SLURM job of a run: `dlrun resume` of a waiting run, and again after each requeue.

submitit stores a Job in a file and loads it in the job: it consists of texts alone.
"""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from dlrun.errors import DlrunError, OutOfTime

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

SLURM_FOLDER = "slurm"  # the folder of the job's files in a run's folder
STDOUT, STDERR, EXIT_CODE, NUMBER = "stdout.txt", "stderr.txt", "exit-code", "job"


@dataclass(frozen=True)
class Job:
    """A waiting run, and the words after `dlrun` that begin or continue it."""

    run: str
    words: tuple[str, ...]

    def __call__(self) -> None:
        """Execute the words in a child process, and end this process with its exit code.

        submitit requeues a run that was stopped because its time was nearly over, or that failed on
        several nodes, if it has finished a step since this start.
        """
        if sys.platform == "win32":
            raise DlrunError("there is no SLURM on Windows")
        # SLURM signals the child too, whose step ends; submitit's handler is called afterwards.
        requeue = signal.signal(signal.SIGUSR2, lambda *_: None)
        if int(os.environ.get("SLURM_PROCID", "0")) > 0:
            sys.exit(_execute(self.words, None, None))
        run, before = Path(self.run), _finished_steps(self.run)
        about = run / SLURM_FOLDER
        about.mkdir(exist_ok=True)
        (about / EXIT_CODE).unlink(missing_ok=True)
        with (about / STDOUT).open("ab") as out, (about / STDERR).open("ab") as err:
            code = _execute(self.words, out, err)
            # The other nodes notice a lost one before SLURM does, for which their job just failed.
            lost = code == 1 and int(os.environ.get("SLURM_JOB_NUM_NODES", "1")) > 1
            if (code == OutOfTime.exit_code or lost) and _finished_steps(self.run) > before:
                assert callable(requeue)  # submitit's
                if lost:
                    err.write(b"a node may be lost: the job waits in the queue again\n")
                    err.flush()
                requeue(signal.SIGUSR2, None)
            if code == OutOfTime.exit_code:
                err.write(b"error: no step was finished in the time that --slurm asked for\n")
        if code:
            _record_failure(run)
        (about / EXIT_CODE).write_text(f"{code}\n", encoding="utf-8")
        sys.exit(code)

    def checkpoint(self) -> "DelayedSubmission":
        """Return what submitit runs after a requeue: the same job, as the run has a checkpoint."""
        from submitit.helpers import DelayedSubmission  # an extra

        return DelayedSubmission(self)


def _execute(words: tuple[str, ...], out: IO[bytes] | None, err: IO[bytes] | None) -> int:
    """Execute `dlrun WORDS`, and return its exit code as a shell reports it."""
    command = [sys.executable, "-m", "dlrun", *words]
    code = subprocess.run(  # noqa: S603 (dlrun's own words)
        command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, check=False
    ).returncode
    return 128 - code if code < 0 else code


def _finished_steps(run: str) -> int:
    from dlrun.run_folder.record import read_record  # needs pydantic

    try:
        return read_record(Path(run)).steps or 0
    except DlrunError:
        return 0


def _record_failure(run: Path) -> None:
    """Record that a run which could not begin has failed, with the last error of its job."""
    from dlrun.runs.distributed import fail_waiting_run  # needs pydantic

    shown = (run / SLURM_FOLDER / STDERR).read_text(encoding="utf-8", errors="replace")
    errors = [line for line in shown.splitlines() if line.startswith("error: ")]
    why = errors[-1].removeprefix("error: ") if errors else "its job ended before it began"
    fail_waiting_run(run, why)
