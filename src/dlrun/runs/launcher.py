"""Start a run in several processes with torch's own launcher, the one behind torchrun."""

import contextlib
import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from dlrun.errors import DlrunError
from dlrun.run_context import RunSettings
from dlrun.run_folder.record import read_record
from dlrun.runs.distributed import fail_waiting_run
from dlrun.system.signals import handled_signals


def launch(processes: int, run: Path, settings: RunSettings, words: Sequence[str]) -> int:
    """Do a run in several processes of this machine, and return its exit code.

    Each of them executes `dlrun WORDS`, and the first writes the run and all messages. This process
    forwards signals and waits. If one of them is lost, torch ends the others.

    Raises DlrunError if the process that writes the run was lost.
    """
    shown = settings.results and settings.screen is None
    redirects = {rank: Std.NONE if shown and rank == 0 else Std.OUT for rank in range(processes)}
    with _settings_restored(), tempfile.TemporaryDirectory(prefix="dlrun-") as logs:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            monitor_interval=0.1,
            logs_specs=DefaultLogsSpecs(logs, redirects),
        )
        # An attribute of torch 2.9 and later: signals that this process ignores stay ignored.
        config.signals_to_handle = ",".join(signal.Signals(one).name for one in handled_signals())
        try:
            elastic_launch(config, sys.executable)("-m", "dlrun", *words)
        except SignalException as stopped:
            return 128 + stopped.sigval
        except ChildFailedError as failed:
            return _exit_code(failed, run, processes)
    return 0


def _exit_code(failed: ChildFailedError, run: Path, processes: int) -> int:
    """Return the exit code of a run of which a process failed.

    Raises DlrunError if that process was ended by a signal and the run does not say so.
    """
    _, first = failed.get_first_failure()
    status = read_record(run).status
    how = f"ended with exit code {first.exitcode}"
    if first.exitcode < 0:
        how = f"was ended by {signal.Signals(-first.exitcode).name}"
    message = f"one of the {processes} processes that train together {how}"
    fail_waiting_run(run, message)
    if first.exitcode < 0 and status in ("running", "waiting"):
        raise DlrunError(
            message, "the system does so if memory is short; `dlrun resume` continues the run"
        )
    return max(first.exitcode, 1)


@contextlib.contextmanager
def _settings_restored() -> Iterator[None]:
    """Give back what torch's launcher changes in this process, and keep it from logging."""
    handlers = {number: signal.getsignal(number) for number in (*handled_signals(), signal.SIGINT)}
    disabled = logging.root.manager.disable
    logging.disable()
    try:
        yield
    finally:
        logging.disable(disabled)
        for number, handler in handlers.items():
            with contextlib.suppress(ValueError):  # not in the main thread: nothing was changed
                signal.signal(number, handler)
        os.environ.pop("TORCHELASTIC_SIGNALS_TO_HANDLE", None)
