"""Several processes that train one network: how they start, meet, and end together.

Lightning's own start would kill this process where a helper fails, which leaves no record, and
would wait half an hour for one that never comes.
"""

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from datetime import timedelta

from dlrun.errors import DlrunError
from dlrun.system.signals import Stop
from dlrun.training.lightning_imports import pl

PATIENCE = timedelta(minutes=5)  # with a process that the others wait for: far longer than any step
MOMENT = 3.0  # seconds: until it is known how a process ended, or the others are ended
LOST = r"(?i)\bgloo\b|connection (reset|closed|refused)|broken pipe|by peer|watchdog|timed? ?out"
STILL = r"(?i)timed? ?out"
DECIDED = "DLRUN_DEVICE"  # tells the processes that help this one which device it chose

Processes = Sequence[subprocess.Popen[bytes]]


def each_decides(nodes: int) -> bool:
    """Whether processes that train together choose their device each for itself.

    Those that dlrun starts are told; those of other nodes, or of torchrun and SLURM, are not.
    """
    return DECIDED not in os.environ and (
        nodes > 1 or any(name in os.environ for name in ("WORLD_SIZE", "SLURM_NTASKS"))
    )


def meet(trainer: pl.Trainer, stop: Stop) -> None:
    """Start this node's helpers, unless somebody did, and wait for all processes.

    Raises DlrunError where one ended before, or does not come, and what `stop` was asked.
    """
    strategy = trainer.strategy
    if not isinstance(strategy, pl.strategies.DDPStrategy):
        return
    strategy._timeout = PATIENCE
    launcher, environment = strategy.launcher, strategy.cluster_environment
    assert isinstance(launcher, pl.strategies.launchers._SubprocessScriptLauncher)
    assert environment is not None  # of every strategy with several processes
    if not environment.creates_processes_externally:
        launcher._call_children_scripts()
    # Not in this thread: the meeting heeds no signals, no helper that ends, and not every limit.
    met = _begun(strategy.setup_environment)
    deadline = time.monotonic() + PATIENCE.total_seconds()
    try:
        while not wait([met], timeout=0.1).done:
            stop.after_step()
            late = time.monotonic() > deadline
            if late or any(process.poll() for process in launcher.procs):
                raise _lost(launcher.procs, trainer.world_size, still=late)
    except BaseException:
        _end(launcher.procs)
        raise
    met.result()


def _begun(call: Callable[[], None]) -> "Future[None]":
    """The call's end, in a thread that a process need not wait for when it ends."""
    end: Future[None] = Future()

    def run() -> None:
        try:
            call()
        except BaseException as error:
            end.set_exception(error)
        else:
            end.set_result(None)

    threading.Thread(target=run, daemon=True).start()
    return end


def ended(trainer: pl.Trainer, error: Exception, *, owner: bool) -> DlrunError | None:
    """End this node's helpers; what to say if an error is due to one of the other processes.

    Args:
        trainer: of the training that failed.
        error: with which it failed here.
        owner: of the run. It speaks for all; the others wait for it, and speak if it is gone.
    """
    launcher = trainer.strategy.launcher
    processes: Processes = []
    if isinstance(launcher, pl.strategies.launchers._SubprocessScriptLauncher):
        processes = launcher.procs
    lost = None
    if trainer.world_size > 1:
        if not owner:
            time.sleep(MOMENT)
        if not isinstance(error, DlrunError) and re.search(LOST, str(error)):
            lost = _lost(processes, trainer.world_size, still=bool(re.search(STILL, str(error))))
    _end(processes)
    return lost


def _end(processes: Processes) -> None:
    for process in processes:
        process.kill()


def _lost(processes: Processes, world: int, *, still: bool) -> DlrunError:
    """In words, with what the system knows of the helpers that this process started."""
    how, why = "has ended", "what it said stands above"
    if still:
        how = f"has not answered for {PATIENCE.total_seconds():.0f} s"
        why = "it stands still, or its node cannot be reached"
    elif code := _first_code(processes):
        how = f"ended with exit code {code}"
        if code < 0:
            how = f"was ended by {signal.Signals(-code).name}"
            why = "where memory is short the system does so"
    return DlrunError(
        f"one of the {world} processes that train together {how}",
        f"{why}; `dlrun resume` goes on after the last epoch",
    )


def _first_code(processes: Processes) -> int:
    """How one of them ended, as soon as one did; 0 where none fails in a moment."""
    deadline = time.monotonic() + MOMENT
    while processes and time.monotonic() < deadline:
        for process in processes:
            if code := process.poll():
                return code
        time.sleep(0.1)
    return 0


def end_with_owner() -> None:
    """A helper that dlrun started ends once the process that started it is gone.

    Where both are at a step, the connection says so at once, and the helper tells the user.
    """
    owner = os.getppid()

    def watch() -> None:
        while os.getppid() == owner:
            time.sleep(1)
        time.sleep(4 * MOMENT)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
