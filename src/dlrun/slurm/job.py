"""What a SLURM job does: `dlrun resume` of a run that waits, and again after a requeue.

submitit writes an object of it to a file and reads that in the job: it holds nothing but texts.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from dlrun.errors import DlrunError, OutOfTime

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

SLURM_FOLDER = "slurm"  # the folder in a run's for all that is about its job
STDOUT, STDERR, EXIT_CODE, NUMBER = "stdout.txt", "stderr.txt", "exit-code", "job"


@dataclass(frozen=True)
class Job:
    """A run that waits, and the words after `dlrun` that begin it or go on with it."""

    run: str
    words: tuple[str, ...]

    def __call__(self) -> None:
        """Do it in a process of its own; this one ends with its exit code.

        A run that was stopped because the time was nearly over, or that failed on several nodes, is
        requeued by submitit if it came on since this start.
        """
        if sys.platform == "win32":
            raise DlrunError("there is no SLURM on Windows")
        about = Path(self.run, SLURM_FOLDER)
        first = int(os.environ.get("SLURM_PROCID", "0")) == 0
        # SLURM signals the process below too, which ends its step; submitit's handler is for then.
        requeue = signal.signal(signal.SIGUSR2, lambda *_: None)
        before = _steps(self.run)
        if not first:
            sys.exit(_done(self.words, None, None))
        about.mkdir(exist_ok=True)
        (about / EXIT_CODE).unlink(missing_ok=True)
        with (about / STDOUT).open("ab") as out, (about / STDERR).open("ab") as err:
            code = _done(self.words, out, err)
            # Of a lost node the others hear before SLURM does: to it their job has just failed.
            lost = code == 1 and int(os.environ.get("SLURM_JOB_NUM_NODES", "1")) > 1
            if (code == OutOfTime.exit_code or lost) and _steps(self.run) > before:
                assert callable(requeue)  # submitit's
                if lost:
                    err.write(b"a node may be lost: the job waits in the queue again\n")
                    err.flush()
                requeue(signal.SIGUSR2, None)
            if code == OutOfTime.exit_code:
                err.write(b"error: no step was finished in the time that --slurm asked for\n")
        if code:
            _note_failure(Path(self.run))
        (about / EXIT_CODE).write_text(f"{code}\n", encoding="utf-8")
        sys.exit(code)

    def checkpoint(self) -> "DelayedSubmission":
        """What submitit runs after the requeue: the same, for the run has a checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _done(words: tuple[str, ...], out: IO[bytes] | None, err: IO[bytes] | None) -> int:
    """The exit code of `dlrun WORDS`, as a shell gives it."""
    command = [sys.executable, "-m", "dlrun", *words]
    code = subprocess.run(  # noqa: S603 (our own words)
        command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, check=False
    ).returncode
    return 128 - code if code < 0 else code


def _steps(run: str) -> int:
    from dlrun.run_folder.record import read_record  # needs pydantic

    with suppress(DlrunError):
        return read_record(Path(run)).steps or 0
    return 0


def _note_failure(run: Path) -> None:
    """A run that could not even begin waits no more."""
    from dlrun.run_folder.folder import RunFolder
    from dlrun.run_folder.record import read_record, write_record

    with suppress(DlrunError, OSError):
        record = read_record(run)
        if record.status == "waiting":
            said = (run / SLURM_FOLDER / STDERR).read_text(encoding="utf-8", errors="replace")
            errors = [line for line in said.splitlines() if line.startswith("error: ")]
            why = errors[-1].removeprefix("error: ") if errors else "its job ended before it began"
            changes = {"status": "failed", "error": why}
            write_record(RunFolder(run), record.model_copy(update=changes))
