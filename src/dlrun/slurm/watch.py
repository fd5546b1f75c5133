"""Wait for the job of a run: show its output as it is written, and return the run's exit code."""

import subprocess
import time
from pathlib import Path
from typing import IO

from dlrun.errors import DlrunError, Interrupted
from dlrun.experiments.run import Run
from dlrun.run_context import print_results_json
from dlrun.slurm.job import EXIT_CODE, SLURM_FOLDER, STDERR, STDOUT
from dlrun.system.console import Screen
from dlrun.system.signals import EXIT_CODES

TICK = 0.5  # seconds between two looks at the run's folder
QUEUE_TICK = 10.0  # seconds between two calls of squeue, which other users call too


class Queue:
    """The user's jobs that wait, run or end, as squeue showed them at most QUEUE_TICK ago.

    Every cluster has squeue, but not all have sacct.
    """

    def __init__(self) -> None:
        self._jobs: set[str] | None = None  # if SLURM does not answer
        self._updated = float("-inf")

    def has(self, job: str) -> bool:
        """Return whether a job is or may be in the queue; an element of an array is `17_3`."""
        if time.monotonic() > self._updated + QUEUE_TICK:
            self._jobs = _squeue()
            self._updated = time.monotonic()
        return self._jobs is None or job in self._jobs


def _squeue() -> set[str] | None:
    command = ["squeue", "--me", "--noheader", "--array", "--format=%i"]
    try:
        done = subprocess.run(  # noqa: S603 (squeue is where PATH says)
            command, capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if done.returncode else set(done.stdout.split())


class WatchedJob:
    """A job, and the run that it does."""

    def __init__(self, run: Path, job: str, queue: Queue) -> None:
        self.run, self.job, self._queue = run, job, queue

    def has_begun(self) -> bool:
        """Return whether the job has begun, at least once."""
        return (self.run / SLURM_FOLDER / STDERR).exists()

    def code(self) -> int | None:
        """Return the run's exit code; None while it runs, or waits to continue after a requeue.

        Raises DlrunError if the job is gone and left no exit code.
        """
        code = self._written_code()
        if code is not None and code not in EXIT_CODES:
            return code
        if self._queue.has(self.job):
            return None
        code = self._written_code()  # the job may have ended just before
        if code is None:
            state = Run.in_folder(self.run).state
            raise DlrunError(
                f"job {self.job} is gone from SLURM's queue, its run is {state}",
                f"SLURM's messages are in {self.run / SLURM_FOLDER}; "
                f"`dlrun resume {self.run}` continues here",
            )
        return code

    def _written_code(self) -> int | None:
        try:
            return int((self.run / SLURM_FOLDER / EXIT_CODE).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):  # not yet, or just being written
            return None


def wait_for(run: Path, job: str, screen: Screen, *, as_json: bool) -> int:
    """Wait until a run's job has ended for good, and return the run's exit code.

    Raises DlrunError if the job ended before its run did, Interrupted by Ctrl-C.
    """
    about = run / SLURM_FOLDER
    outputs = [] if as_json else [_Output(about / STDOUT, screen.out.file)]
    outputs.append(_Output(about / STDERR, screen.err.file))
    watched = WatchedJob(run, job, Queue())
    try:
        while (code := watched.code()) is None:
            time.sleep(TICK)
            for output in outputs:
                output.show()
    except Interrupted:
        screen.note(f"job {job} goes on; `scancel {job}` ends it")
        raise
    for output in outputs:
        output.show()
    if as_json:
        print_results_json(run, screen)
    return code


class _Output:
    """A file that a job writes, and the stream that shows its lines."""

    def __init__(self, path: Path, stream: IO[str]) -> None:
        self._path, self._stream = path, stream
        self._shown = 0

    def show(self) -> None:
        """Show what is new, up to the end of the last line."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._shown)
                new = file.read()
        except FileNotFoundError:  # the job has not begun
            return
        new = new[: new.rfind(b"\n") + 1]
        self._shown += len(new)
        self._stream.write(new.decode("utf-8", "replace"))
        self._stream.flush()
