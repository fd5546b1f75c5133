"""Which of our jobs SLURM still has, by squeue: every cluster has it, not every one has sacct."""

import subprocess
import time

TICK = 10.0  # seconds between two questions; others ask too


class Queue:
    """Our jobs that wait, run or end, as far as was known at most TICK seconds ago."""

    def __init__(self) -> None:
        self._jobs: set[str] | None = None  # where SLURM does not answer
        self._asked = float("-inf")

    def has(self, job: str) -> bool:
        """Whether a job is there, or may be: an array's element is called `17_3`."""
        if time.monotonic() > self._asked + TICK:
            self._jobs = _jobs()
            self._asked = time.monotonic()
        return self._jobs is None or job in self._jobs


def _jobs() -> set[str] | None:
    command = ["squeue", "--me", "--noheader", "--array", "--format=%i"]
    try:
        done = subprocess.run(  # noqa: S603 (squeue is where PATH says)
            command, capture_output=True, text=True, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return None if done.returncode else set(done.stdout.split())
