"""Execute a run in a SLURM job, and let another process wait until the job has ended.

submitit stores a Job in a file and loads it in the job, so a Job consists of texts only.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from dlrun.errors import DlrunError, Interrupted, OutOfTime
from dlrun.experiments.saved_run import Run
from dlrun.run_context import print_results_json
from dlrun.run_folder.record import read_run_record
from dlrun.runs.distributed import mark_waiting_run_failed
from dlrun.system.console import Screen
from dlrun.system.signals import EXIT_CODES

SLURM_FOLDER = "slurm"  # the folder of the job's files in a run's folder
STDOUT, STDERR, EXIT_CODE, NUMBER = "stdout.txt", "stderr.txt", "exit-code", "job"
TICK = 0.5  # seconds between two looks at the run's folder
QUEUE_TICK = 10.0  # seconds between two calls of squeue, which other users call too


@dataclass(frozen=True)
class Job:
    """Represents a SLURM job by a run's folder and the dlrun arguments that continue the run."""

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
            lines = (about / STDERR).read_text(encoding="utf-8", errors="replace").splitlines()
            errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
            mark_waiting_run_failed(run, (errors or ["its job ended before it began"])[-1])
        (about / EXIT_CODE).write_text(f"{code}\n", encoding="utf-8")
        sys.exit(code)

    def checkpoint(self) -> object:
        """Return the job that submitit runs after a requeue: the same job, which will resume."""
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
            return read_run_record(Path(self.run)).steps or 0
        except DlrunError:
            return 0


def jobs_in_queue() -> set[str] | None:
    """Return the ids of the user's jobs in SLURM's queue, such as `17`, or `17_3` of a job array.

    Returns None if SLURM does not answer. Every cluster has squeue, but not all have sacct.
    """
    command = ["squeue", "--me", "--noheader", "--array", "--format=%i"]
    try:
        done = subprocess.run(  # noqa: S603 (squeue is where PATH says)
            command, capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return set(done.stdout.split())


def job_has_started(run: Path) -> bool:
    """Return whether the SLURM job of a run has started at least once."""
    return (run / SLURM_FOLDER / STDERR).exists()


def watch_jobs(jobs: Mapping[Path, str]) -> Iterator[dict[Path, int | None]]:
    """Wait for the SLURM jobs of runs; yield the exit codes of the jobs that have just ended.

    Yields a dictionary by the run's folder, as `jobs` is, twice a second. The exit code is None if
    the job has left the queue without one.
    """
    waiting, asked = dict(jobs), float("-inf")
    while waiting:
        time.sleep(TICK)
        if time.monotonic() > asked + QUEUE_TICK:
            queued, asked = jobs_in_queue(), time.monotonic()
        ended = {}
        for run, job in waiting.items():
            code = _read_exit_code(run)
            # After a signal the job may be queued again.
            if (queued is not None and job not in queued) or code not in {None, *EXIT_CODES}:
                ended[run] = code
        waiting = {run: job for run, job in waiting.items() if run not in ended}
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


def wait_for_job(run: Path, job: str, screen: Screen, *, as_json: bool) -> int:
    """Wait until the SLURM job of a run has ended, show its output, and return its exit code.

    Raises DlrunError if the job ended before its run did, Interrupted by Ctrl-C.
    """
    streams = {STDERR: screen.err.file} | ({} if as_json else {STDOUT: screen.out.file})
    shown = dict.fromkeys(streams, 0)  # bytes of each file
    code = None
    try:
        for ended in watch_jobs({run: job}):
            code = ended.get(run)
            for name, stream in streams.items() if job_has_started(run) else ():
                with (run / SLURM_FOLDER / name).open("rb") as file:
                    file.seek(shown[name])
                    new = file.read()
                lines = new[: new.rfind(b"\n") + 1]  # whole ones
                stream.write(lines.decode("utf-8", "replace"))
                stream.flush()
                shown[name] += len(lines)
    except Interrupted:
        screen.note(f"job {job} continues; `scancel {job}` ends it")
        raise
    if code is None:
        raise DlrunError(
            f"job {job} is no longer in SLURM's queue, its run is {Run.in_folder(run).state}",
            f"SLURM's messages are in {run / SLURM_FOLDER}; `dlrun resume {run}` continues here",
        )
    if as_json:
        print_results_json(run, screen)
    return code
