"""Watch SLURM jobs until they have ended: the queue, their exit codes and their output."""

import contextlib
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

from dlrun.errors import DlrunError, InterruptedByUser
from dlrun.runs.run import Run, command_to_continue
from dlrun.runs.shown_results import print_results_json
from dlrun.slurm.inside_job import (
    EXIT_CODE_FILE,
    JOB_ID_FILE,
    SLURM_FOLDER,
    STDERR_FILE,
    STDOUT_FILE,
)
from dlrun.system.console import Screen
from dlrun.system.signals import STOP_SIGNAL_EXIT_CODES

TICK = 0.5  # seconds between two looks at the run's folder
QUEUE_TICK = 10.0  # seconds between two calls of squeue, which other users call too


def jobs_in_queue() -> set[str] | None:
    """The ids are those of the user's jobs; None: SLURM does not answer."""
    command = ["squeue", "--me", "--noheader", "--array", "--format=%i"]
    quiet = subprocess.DEVNULL
    try:  # S603 is about input from others: the command has none
        output = subprocess.check_output(command, stderr=quiet, text=True, timeout=60)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return set(output.split())


def read_job_id(run_folder: Path) -> str | None:
    """A run that was not submitted has no id."""
    with contextlib.suppress(OSError):
        return (run_folder / SLURM_FOLDER / JOB_ID_FILE).read_text(encoding="utf-8").strip()
    return None


def watch_jobs(job_ids: Mapping[Path, str]) -> Iterator[dict[Path, int | None]]:
    """Yield, every TICK, the exit codes of the jobs that have ended since, by run folder."""
    unfinished = dict(job_ids)
    queued: set[str] | None = None
    last_asked = float("-inf")
    while unfinished:
        time.sleep(TICK)
        if time.monotonic() > last_asked + QUEUE_TICK:
            queued = jobs_in_queue()
            last_asked = time.monotonic()
        # Read after the queue: a job that has left the queue has left its code by now, if ever.
        exit_codes = {}  # often of no job; the code is None if a job left none
        for run_folder, job_id in unfinished.items():
            code = _read_exit_code(run_folder)
            has_left_queue = queued is not None and job_id not in queued
            # After a signal the job may be queued again.
            has_final_code = code is not None and code not in STOP_SIGNAL_EXIT_CODES
            if has_left_queue or has_final_code:
                exit_codes[run_folder] = code
        unfinished = {folder: job_ids[folder] for folder in unfinished if folder not in exit_codes}
        yield exit_codes


def _read_exit_code(run_folder: Path) -> int | None:
    """A job that has not ended has left no code, and neither has a killed one."""
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
    bytes_shown = dict.fromkeys(streams, 0)
    job_folder = run_folder / SLURM_FOLDER
    code = None
    try:
        for exit_codes in watch_jobs({run_folder: job_id}):
            code = exit_codes.get(run_folder)  # the last one, at the job's end, counts
            for name, stream in streams.items():
                with contextlib.suppress(FileNotFoundError):  # it has not started
                    new = (job_folder / name).read_bytes()[bytes_shown[name] :]
                    bytes_shown[name] += _write_lines(new, stream, run_folder in exit_codes)
    except InterruptedByUser:
        screen.note(f"job {job_id} continues; `scancel {job_id}` ends it")
        raise
    if code is None:
        run = Run.in_folder(run_folder)
        problem = f"job {job_id} is no longer in SLURM's queue, its run is {run.state}"
        hint = f"SLURM's messages are in {job_folder}; `{command_to_continue(run)}` continues here"
        raise DlrunError(problem, hint)
    if as_json:
        print_results_json(run_folder, screen)
    return code


def _write_lines(content: bytes, stream: IO[str], has_ended: bool) -> int:
    """Write the whole lines of a job's new output, and return their length in bytes."""
    if has_ended and content:  # a killed job may end in the middle of a line
        content = content.removesuffix(b"\n") + b"\n"
    lines = content[: content.rfind(b"\n") + 1]
    stream.write(lines.decode("utf-8", "replace"))
    stream.flush()
    return len(lines)
