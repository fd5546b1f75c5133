"""Wait for a job: its own output is shown as it comes, its run's record says what became of it."""

import time
from pathlib import Path
from typing import IO

from dlrun.errors import DlrunError, Interrupted
from dlrun.run_folder.folder import RunFolder
from dlrun.run_folder.stored_run import open_stored
from dlrun.runs import console_summary
from dlrun.slurm.job import EXIT_CODE, SLURM_FOLDER, STDERR, STDOUT
from dlrun.slurm.queue import Queue
from dlrun.system.console import Screen
from dlrun.system.signals import EXIT_CODES

TICK = 0.5  # seconds between two looks at the run's folder


def wait_for(run: Path, job: str, screen: Screen, *, as_json: bool) -> int:
    """Wait until a run's job has ended for good; the run's exit code.

    Raises DlrunError where the job ended without an end of the run, Interrupted by Ctrl-C.
    """
    about = run / SLURM_FOLDER
    shown = [] if as_json else [_Followed(about / STDOUT, screen.out.file)]
    shown.append(_Followed(about / STDERR, screen.err.file))
    watched = WatchedJob(run, job, Queue())
    try:
        while (code := watched.code()) is None:
            time.sleep(TICK)
            for one in shown:
                one.show()
    except Interrupted:
        screen.note(f"job {job} goes on; `scancel {job}` ends it")
        raise
    for one in shown:
        one.show()
    if as_json:
        console_summary.print_json(RunFolder(run), screen)
    return code


class WatchedJob:
    """A job, and the run that it does."""

    def __init__(self, run: Path, job: str, queue: Queue) -> None:
        self.run, self.job, self._queue = run, job, queue

    def has_begun(self) -> bool:
        """Whether the job has, at least once."""
        return (self.run / SLURM_FOLDER / STDERR).exists()

    def code(self) -> int | None:
        """The run's exit code; None while it goes on, or waits to go on after a requeue.

        Raises DlrunError where the job is gone and left none.
        """
        code = self._written()
        if code is not None and code not in EXIT_CODES:
            return code
        if self._queue.has(self.job):
            return None
        code = self._written()  # it may have ended just before
        if code is None:
            state = open_stored(self.run).state
            raise DlrunError(
                f"job {self.job} is gone from SLURM's queue, its run is {state}",
                f"what SLURM said is in {self.run / SLURM_FOLDER}; "
                f"`dlrun resume {self.run}` goes on here",
            )
        return code

    def _written(self) -> int | None:
        try:
            return int((self.run / SLURM_FOLDER / EXIT_CODE).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):  # not yet, or just being written
            return None


class _Followed:
    """A file that grows, and where its lines go."""

    def __init__(self, path: Path, stream: IO[str]) -> None:
        self._path, self._stream = path, stream
        self._done = 0

    def show(self) -> None:
        """What came since, up to the end of the last line."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._done)
                new = file.read()
        except FileNotFoundError:  # not begun
            return
        new = new[: new.rfind(b"\n") + 1]
        self._done += len(new)
        self._stream.write(new.decode("utf-8", "replace"))
        self._stream.flush()
