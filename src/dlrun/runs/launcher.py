"""Start a run in several processes with torch's elastic launcher, which torchrun uses too."""

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
from dlrun.run_folder.record import read_record
from dlrun.runs.distributed import fail_waiting_run
from dlrun.system.signals import handled_signals


def launch(processes: int, run: Path, words: Sequence[str], *, show: bool) -> int:
    """Execute `dlrun WORDS` in several processes on this machine, and return the exit code.

    The first process writes the run's files, and prints all messages if `show`. The calling process
    forwards signals and waits. If one process dies, torch ends the others. Raises DlrunError if the
    system killed a process and the record does not say so.
    """
    redirects = {rank: Std.NONE if show and rank == 0 else Std.OUT for rank in range(processes)}
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
            code = failed.get_first_failure()[1].exitcode
        else:
            return 0
    status = read_record(run).status
    how = f"exit code {code}" if code > 0 else signal.Signals(-code).name
    message = f"one of the {processes} processes that train together ended with {how}"
    fail_waiting_run(run, message)
    if code < 0 and status in ("running", "waiting"):
        raise DlrunError(
            message, "the system does so if memory is short; `dlrun resume` continues the run"
        )
    return max(code, 1)


@contextlib.contextmanager
def _settings_restored() -> Iterator[None]:
    """Restore the signal handlers that torch's launcher replaces, and silence its log messages."""
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
