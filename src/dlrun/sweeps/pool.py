"""Workers that do one run after the other, and the lines between them and this process."""

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlrun.errors import DlrunError
from dlrun.system import memory
from dlrun.system.files import check_appendable

LOCKS = ".worker-*.lock"
LOG = "workers.txt"  # what libraries print, and how a worker died
TRIES = 3  # workers that end before they can begin: it is no accident
LAST_SECONDS = 40.0  # for the end of a step, and then by force


@dataclass(eq=False)
class Worker:
    """A process, and the number of the point that it is at."""

    process: "subprocess.Popen[str]"
    lock: Path
    ready: bool = False
    at: int | None = None
    peak: int | None = None

    def tell(self, **what: Any) -> None:
        """Write it a line; one that is dead is found out by its end."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self.process.stdin.write(json.dumps(what) + "\n")
            self.process.stdin.flush()


@dataclass(frozen=True)
class Ended:
    """How a worker left a point: an exit code, negative for the signal that killed it."""

    code: int
    error: str


@dataclass
class Pool:
    """The workers of a sweep.

    Args:
        folder: of the sweep; each worker holds a lock there as long as it lives.
        environment: of the workers, beside this process's.
    """

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    workers: list[Worker] = field(default_factory=list)
    device: str = ""  # where the runs are done, once one worker knows
    _never_ready: int = 0  # of the last ones
    _said: "queue.Queue[tuple[Worker, dict[str, Any] | None]]" = field(default_factory=queue.Queue)

    @property
    def living(self) -> list[Worker]:
        """Those that are at a point."""
        return [one for one in self.workers if one.at is not None]

    @property
    def idle(self) -> list[Worker]:
        """Those that wait for one."""
        return [one for one in self.workers if one.ready and one.at is None]

    @property
    def peak(self) -> int | None:
        """The most bytes that a run has held."""
        return max((one.peak for one in self.workers if one.peak), default=None)

    @property
    def held(self) -> int:
        """The bytes that all workers hold now."""
        return sum(memory.held(one.process.pid) for one in self.workers)

    def start(self, accelerator: str = "") -> None:
        """Start another worker, which says on which device it will run what asks for this one.

        Raises DlrunError.
        """
        names = {one.lock.name for one in self.workers}
        lock = next(
            self.folder / name
            for name in (LOCKS.replace("*", str(number)) for number in range(1, 10_000))
            if name not in names
        )
        check_appendable(self.folder / LOG)
        try:
            with (self.folder / LOG).open("ab") as log:
                process = subprocess.Popen(  # noqa: S603 (ourselves)
                    # -P: nothing of the working folder is imported
                    [sys.executable, "-P", "-m", "dlrun.sweeps.worker", str(lock), accelerator],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    encoding="utf-8",
                    env=os.environ | self.environment,
                    # A terminal's Ctrl-C comes to this process alone, which tells the others.
                    start_new_session=sys.platform != "win32",
                    creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                )
        except OSError as error:
            raise DlrunError(f"no worker can be started: {error.strerror}") from None
        worker = Worker(process, lock)
        self.workers.append(worker)
        threading.Thread(target=self._listen, args=(worker,), daemon=True).start()

    def _listen(self, worker: Worker) -> None:
        assert worker.process.stdout is not None
        for line in worker.process.stdout:
            self._said.put((worker, json.loads(line)))
        self._said.put((worker, None))

    def give(self, worker: Worker, number: int, task: Mapping[str, Any]) -> None:
        """Have a worker do a point."""
        worker.at = number
        worker.tell(**task)

    def next(
        self, seconds: float, hear: Callable[[int, dict[str, Any]], None]
    ) -> tuple[int, Ended] | None:
        """Wait for what a worker says, so long at most; a point that ended, and how.

        `hear` is told of the rest. Raises DlrunError where a worker could not even begin.
        """
        try:
            worker, said = self._said.get(timeout=seconds)
        except queue.Empty:
            return None
        if said is None:
            return self._gone(worker)
        if "ready" in said:
            worker.ready, self._never_ready = True, 0
            self.device = said["ready"]
        elif "code" in said:
            number, worker.at = worker.at, None
            worker.peak = said["peak"]
            worker.ready = said["again"]
            assert number is not None
            return number, Ended(said["code"], said["error"])
        elif worker.at is not None:
            hear(worker.at, said)
        return None

    def _gone(self, worker: Worker) -> tuple[int, Ended] | None:
        """A worker has ended: as it should, or in the middle of a point."""
        code = worker.process.wait()
        self.workers.remove(worker)
        if worker.at is None:
            if not worker.ready and code:
                self._never_ready += 1
            if self._never_ready == TRIES:
                raise DlrunError(
                    f"{TRIES} workers ended before they could begin, the last with {code}",
                    f"what they said is in {self.folder / LOG}",
                )
            return None
        how = f"killed by signal {-code}" if code < 0 else f"its process ended with {code}"
        return worker.at, Ended(code, how)

    def stop(self, number: int) -> None:
        """Pass a signal on: the first lets the step end, the second stops at once."""
        for one in self.workers:
            one.tell(stop=number)

    def close(self) -> None:
        """End all workers: their stdin ends, and so do they."""
        for one in self.workers:
            assert one.process.stdin is not None
            with contextlib.suppress(OSError):
                one.process.stdin.close()
        for one in self.workers:
            try:
                one.process.wait(LAST_SECONDS)
            except subprocess.TimeoutExpired:
                one.process.kill()
                one.process.wait()
        self.workers.clear()
        for path in self.folder.glob(LOCKS):
            path.unlink(missing_ok=True)
