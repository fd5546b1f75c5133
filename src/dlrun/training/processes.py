"""Train one run in several processes of this machine, which Lightning's launcher starts.

The launcher would repeat the command of this process, which may be any script; instead, `dlrun`
finds the run's folder in the environment and takes part in the training (`experiments/joining.py`).
The first process alone writes the run.
"""

import contextlib
import os
import re
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec

import lightning.pytorch as pl
import torch

from dlrun.errors import DlrunError
from dlrun.runs.live_run import JoinedRun, LiveRun
from dlrun.system.processes import JOINED_RUN

LOST = r"(?i)gloo|nccl|connection (reset|closed|refused)|broken pipe|by peer|watchdog|timed? ?out"


@dataclass(eq=False)
class FurtherProcesses(pl.Callback):
    """Lets Lightning start further processes for a fit, and ends them after it."""

    live_run: LiveRun

    def __post_init__(self) -> None:
        self._main = sys.modules["__main__"]
        self._arguments = sys.argv

    @contextlib.contextmanager
    def joined(self, trainer: pl.Trainer) -> Iterator[None]:
        """Start the processes in a fit of the block; in one of them, end after the fit.

        What Lightning sets in the environment is restored.
        """
        if trainer.world_size == 1:
            yield
            return
        environment = dict(os.environ)
        os.environ[JOINED_RUN] = str(self.live_run.folder.path.absolute())
        sys.modules["__main__"] = types.ModuleType("__main__")
        sys.modules["__main__"].__spec__ = ModuleSpec("dlrun.__main__", loader=None)
        sys.argv = ["dlrun"]
        try:
            yield
        except Exception as error:
            raise self._explained(error, trainer.world_size) from error
        finally:
            self._restore_name()
            _end_processes(trainer)
            os.environ.clear()
            os.environ.update(environment)
        if isinstance(self.live_run, JoinedRun):
            raise SystemExit(0)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Restore what names this process, as the others have been started."""
        self._restore_name()

    def _restore_name(self) -> None:
        sys.modules["__main__"] = self._main
        sys.argv = self._arguments

    def _explained(self, error: Exception, processes: int) -> BaseException:
        """Explain the error of a fit for the user."""
        is_lost = re.search(LOST, str(error)) is not None
        if isinstance(self.live_run, JoinedRun) and is_lost:
            return SystemExit(1)  # the first process says why it has ended
        self.live_run.stop.raise_if_received()  # the signal may have ended the others first
        if not is_lost:
            return error
        problem = f"one of the {processes} processes that train together has ended"
        return DlrunError(problem, "its error is above; `dlrun resume` continues the run")


def _end_processes(trainer: pl.Trainer) -> None:
    """End the processes that the launcher of a fit has started, and leave their group."""
    processes = getattr(trainer.strategy.launcher, "procs", [])
    started = list(processes)
    processes.clear()  # if one of them ends, Lightning's observer would kill this process
    for process in started:
        process.kill()
        process.wait()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
