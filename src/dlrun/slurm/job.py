"""The SLURM job of a run: what the job executes, and how another process waits for its end.

submitit stores a Job in a file and loads it in the job, so a Job consists of texts only.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from dlrun.errors import DlrunError, Interrupted, OutOfTime
from dlrun.experiments.saved_run import Run
from dlrun.run_context import print_results_json
from dlrun.run_folder.record import read_record
from dlrun.runs.distributed import fail_waiting_run
from dlrun.system.console import Screen
from dlrun.system.signals import EXIT_CODES

SLURM_FOLDER = "slurm"  # the folder of the job's files in a run's folder
STDOUT, STDERR, EXIT_CODE, NUMBER = "stdout.txt", "stderr.txt", "exit-code", "job"
TICK = 0.5  # seconds between two looks at the run's folder
QUEUE_TICK = 10.0  # seconds between two calls of squeue, which other users call too


@dataclass(frozen=True)
class Job:
    """A SLURM job: the folder of a run, and the dlrun arguments that start or continue it."""

    run: str
    words: tuple[str, ...]

    def __call__(self) -> None:
        """Execute the dlrun command in a child process, and exit with its exit code.

        submitit requeues a run that was stopped because its time was nearly over, or that failed on
        several nodes, if it has finished a step since this start.
        """
        if sys.platform == "win32":
            raise DlrunError("there is no SLURM on Windows")
        # SLURM signals the child too, whose step ends; submitit's handler is called afterwards.
        requeue = signal.signal(signal.SIGUSR2, lambda *_: None)
        if int(os.environ.get("SLURM_PROCID", "0")) > 0:
            sys.exit(self._execute(None, None))
        run, before = Path(self.run), self._finished_steps()
        about = run / SLURM_FOLDER
        about.mkdir(exist_ok=True)
        (about / EXIT_CODE).unlink(missing_ok=True)
        with (about / STDOUT).open("ab") as out, (about / STDERR).open("ab") as err:
            code = self._execute(out, err)
            # The other nodes notice a lost one before SLURM does, for which their job just failed.
            lost = code == 1 and int(os.environ.get("SLURM_JOB_NUM_NODES", "1")) > 1
            if (code == OutOfTime.exit_code or lost) and self._finished_steps() > before:
                assert callable(requeue)  # submitit's
                if lost:
                    err.write(b"a node may be lost: the job waits in the queue again\n")
                    err.flush()
                requeue(signal.SIGUSR2, None)
            if code == OutOfTime.exit_code:
                err.write(b"error: no step was finished in the time that --slurm requested\n")
        if code:
            fail_waiting_run(run, _last_error(about / STDERR))
        (about / EXIT_CODE).write_text(f"{code}\n", encoding="utf-8")
        sys.exit(code)

    def checkpoint(self) -> object:
        """Return the job that submitit runs after a requeue: the same, as runs have checkpoints."""
        from submitit.helpers import DelayedSubmission  # an extra

        return DelayedSubmission(self)

    def _execute(self, out: IO[bytes] | None, err: IO[bytes] | None) -> int:
        """Execute the dlrun command, and return its exit code as a shell reports it."""
        command = [sys.executable, "-m", "dlrun", *self.words]
        code = subprocess.run(  # noqa: S603 (dlrun's own arguments)
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, check=False
        ).returncode
        return 128 - code if code < 0 else code

    def _finished_steps(self) -> int:
        try:
            return read_record(Path(self.run)).steps or 0
        except DlrunError:
            return 0


def _last_error(stderr: Path) -> str:
    lines = stderr.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return errors[-1] if errors else "its job ended before it began"


class Queue:
    """The user's jobs in SLURM's queue, read with squeue and cached for QUEUE_TICK seconds.

    Every cluster has squeue, but not all have sacct.
    """

    def __init__(self) -> None:
        self._jobs: set[str] | None = None  # if SLURM does not answer
        self._updated = float("-inf")

    def may_have(self, job: str) -> bool:
        """Return whether a job, such as `17` or `17_3` of an array, may still be in the queue."""
        if time.monotonic() > self._updated + QUEUE_TICK:
            command = ["squeue", "--me", "--noheader", "--array", "--format=%i"]
            try:
                done = subprocess.run(  # noqa: S603 (squeue is where PATH says)
                    command, capture_output=True, text=True, check=True, timeout=60
                )
                self._jobs = set(done.stdout.split())
            except (OSError, subprocess.SubprocessError):
                self._jobs = None
            self._updated = time.monotonic()
        return self._jobs is None or job in self._jobs


def has_begun(run: Path) -> bool:
    """Return whether the SLURM job of a run has started at least once."""
    return (run / SLURM_FOLDER / STDERR).exists()


def exit_code(run: Path, job: str, queue: Queue) -> int | None:
    """Return the exit code of a run's SLURM job, or None while it runs or waits in the queue.

    Raises DlrunError if the job has left the queue without an exit code.
    """
    code = _written_exit_code(run)
    if code is not None and code not in EXIT_CODES:
        return code
    if queue.may_have(job):
        return None
    code = _written_exit_code(run)  # the job may have ended just before
    if code is None:
        raise DlrunError(
            f"job {job} is no longer in SLURM's queue, its run is {Run.in_folder(run).state}",
            f"SLURM's messages are in {run / SLURM_FOLDER}; `dlrun resume {run}` continues here",
        )
    return code


def _written_exit_code(run: Path) -> int | None:
    try:
        return int((run / SLURM_FOLDER / EXIT_CODE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # missing, or being written now
        return None


def wait_for_run(run: Path, job: str, screen: Screen, *, as_json: bool) -> int:
    """Wait until the SLURM job of a run has ended, show its output, and return its exit code.

    Raises DlrunError if the job ended before its run did, Interrupted by Ctrl-C.
    """
    streams = {STDERR: screen.err.file} | ({} if as_json else {STDOUT: screen.out.file})
    shown = dict.fromkeys(streams, 0)  # bytes of each file
    queue, code = Queue(), None
    try:
        while code is None:
            time.sleep(TICK)
            code = exit_code(run, job, queue)
            for name, stream in streams.items():
                shown[name] += _show_lines(run / SLURM_FOLDER / name, shown[name], stream)
    except Interrupted:
        screen.note(f"job {job} continues; `scancel {job}` ends it")
        raise
    if as_json:
        print_results_json(run, screen)
    return code


def _show_lines(path: Path, start: int, stream: IO[str]) -> int:
    """Copy the whole lines of a file, from a byte on, to a stream; return their size in bytes."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            new = file.read()
    except FileNotFoundError:  # the job has not begun
        return 0
    new = new[: new.rfind(b"\n") + 1]
    stream.write(new.decode("utf-8", "replace"))
    stream.flush()
    return len(new)
