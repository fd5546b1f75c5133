"""A process that does one run after the other; `python -m dlrun.sweeps.worker LOCK ACCELERATOR`.

It is told what to do by lines of JSON on stdin, and tells of it by such lines on stdout. It ends
when stdin does: whatever became of the process that started it, its run ends in order.
"""

import gc
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO, Any

from dlrun.system.console import Advance, Screen, keep_stdout
from dlrun.system.signals import SIGNALS

OFTEN = 0.1  # seconds between two words about a run's progress
ENDED_ALONE = signal.SIGTERM  # how a run ends whose sweep is gone


class Line:
    """The connection to the process that started this one."""

    def __init__(self, to: IO[str]) -> None:
        self._to = to
        self.tasks: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.running, self.asked = False, 0
        threading.Thread(target=self._listen, daemon=True).start()

    def say(self, **what: Any) -> None:
        """Tell something; nobody need be there to hear it."""
        with suppress(OSError, ValueError):  # it is gone: stdin ends too
            self._to.write(json.dumps(what) + "\n")
            self._to.flush()

    def _listen(self) -> None:
        for text in sys.stdin:
            said = json.loads(text)
            if "stop" in said:
                self._stop(said["stop"])
            else:
                self.tasks.put(said)
        self._stop(ENDED_ALONE)

    def _stop(self, number: int) -> None:
        self.asked = number
        self.tasks.put(None)
        if self.running and sys.platform == "win32":
            signal.raise_signal(number)  # there os.kill would end it at once
        elif self.running:
            os.kill(os.getpid(), number)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """A signal while no run listens: before it begins, at its end, or between two."""
        if self.running:
            raise SIGNALS[number]
        self.tasks.put(None)


class _Told(Screen):
    """What a run shows goes to the process that started this one."""

    def __init__(self, line: Line) -> None:
        super().__init__(quiet=True, results=False)
        self._line = line

    def note(self, text: str) -> None:
        """Only into the run's log."""
        self.log(text)

    def warn(self, text: str) -> None:
        """Tell it."""
        self._line.say(warning=self.log(text, warning=True))

    @contextmanager
    def progress(
        self,
        what: str,
        total: float | None,
        unit: str,
        *,
        aloud: bool = False,
        lines: int | None = None,
    ) -> Iterator[Advance]:
        """Tell it; where data are prepared, their share comes first."""
        yield _Progress(self._line, total)


class _Progress:
    def __init__(self, line: Line, total: float | None) -> None:
        self._line, self._total, self._said = line, total, 0.0

    def to(self, done: float) -> None:
        if self._total and time.monotonic() - self._said > OFTEN:
            self._said = time.monotonic()
            self._line.say(share=done / self._total)

    def step(self, done: float, line: str) -> None:
        self.to(done)


def main() -> None:
    """Do what is said until nothing more is."""
    with ExitStack() as stack:
        told = keep_stdout()
        from dlrun.system.locks import hold_lock

        stack.enter_context(hold_lock(Path(sys.argv[1]), warn=lambda _: None))
        gc.set_threshold(50_000)  # as the command line's process
        line = Line(told)
        for number in SIGNALS:
            signal.signal(number, line.handle)
        line.say(ready=_device(sys.argv[2]))
        while (task := line.tasks.get()) is not None:
            ended = _done(task, line)
            line.say(**ended)
            if not ended["again"]:
                break
    sys.stderr.flush()
    os._exit(0)  # to take torch's modules down takes 0.7 s


def _device(accelerator: str) -> str:
    """Where a run is done that asks for this one; empty where nobody asks."""
    if not accelerator:
        return ""
    from dlrun.system.accelerator import (
        select_accelerator,  # slow, and needed by the first run anyway
    )

    return select_accelerator(accelerator)[0]


def _done(task: dict[str, Any], line: Line) -> dict[str, Any]:
    """Do a run; how it ended. `again`: whether this process may do another."""
    from dlrun.errors import DlrunError, Stopped
    from dlrun.runs.failure_messages import message_of
    from dlrun.system import memory

    code, error, again = 0, "", True
    try:
        line.running = True
        if line.asked:  # since the task was given
            raise SIGNALS[line.asked]
        try:
            code = _run(task, _Told(line))
        finally:
            line.running = False
    except Stopped as stop:
        code, error, again = stop.exit_code, stop.word, False
    except DlrunError as fault:
        code, error = fault.exit_code, fault.message
    except BaseException as fault:  # whatever it was: nobody knows what it left behind
        code, error, again = 1, f"{type(fault).__name__}: {message_of(fault)}", False
    return {"code": code, "error": error, "again": again, "peak": memory.peak_memory()}


def _run(task: dict[str, Any], screen: Screen) -> int:
    from dlrun.config.yaml_loader import Layer
    from dlrun.run_folder.record import SweepMembership
    from dlrun.runs.resume import resume
    from dlrun.runs.settings import RunSettings
    from dlrun.runs.start import run_experiment

    def path(name: str) -> Path | None:
        return Path(task[name]) if task.get(name) else None

    options = RunSettings(
        values=[Layer(task["values"])] if "values" in task else [],
        runs_dir=path("runs_dir"),
        data_dir=path("data_dir"),
        name=task.get("name"),
        force=task.get("force", False),
        screen=screen,
        sweep=SweepMembership(**task["sweep"]),
    )
    if "resume" in task:
        return resume(task["resume"], task["overrides"], options)
    code, _ = run_experiment(task["experiment"], options)
    return code


if __name__ == "__main__":
    main()
