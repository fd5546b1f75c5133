"""Run a command line; set up the process of `dlrun` before, and end the process after."""

import atexit
import contextlib
import io
import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from dlrun.cli.commands import RESERVED, app
from dlrun.cli.errors import report_error
from dlrun.experiments import registry
from dlrun.system import library_logs  # noqa: F401
from dlrun.system.console import Screen, reserve_stdout
from dlrun.system.signals import handled_stop_signals, ignore_signals_until_exit, raise_stop_signal


def run_command_line(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code; every failure is shown as one message."""
    try:
        return int(app(arguments, standalone_mode=False) or 0)
    except BaseException as error:
        return report_error(error, arguments)


def prepare_process(arguments: Sequence[str]) -> None:
    """Set up this process for one command: signals, streams and environment variables."""
    # Waiting threads sleep: beside other processes, two runs of CIFAR100 whose threads spin took
    # three times as long. torch reads this as it is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # Figures become files; matplotlib cannot be imported if the user's variable is misspelt.
    os.environ["MPLBACKEND"] = "Agg"
    if os.environ.get("COLUMNS") == "0":  # set without a terminal: rich would show nothing
        del os.environ["COLUMNS"]
    for number in handled_stop_signals():  # a run replaces these handlers while it is running
        signal.signal(number, raise_stop_signal)
    for stream in (sys.stdout, sys.stderr):  # a name that cannot be encoded must not stop a run
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if "--json" in arguments and sys.stdout is not None:
        reserve_stdout()
    for problem in registry.broken_experiments():
        Screen().warn(problem)
    for name in sorted(RESERVED & {*registry.experiment_names()}):
        Screen().warn(f"experiment {name!r} is left out: dlrun has a command of that name")


def exit_process(code: int) -> NoReturn:
    """End this process without Python's own shutdown.

    It takes 0.7 s if torch was imported, and gives the signals their default handlers back, by
    which a late Ctrl-C would end the process. If several processes train together, each shuts down
    as usual.
    """
    ignore_signals_until_exit()
    distributed = sys.modules.get("torch.distributed")
    if distributed and distributed.is_initialized():
        sys.exit(code)
    if "torch" not in sys.modules:
        atexit._run_exitfuncs()  # as of multiprocessing, which removes the fork server's folder
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # a write error was reported when it happened
            if stream is not None:  # None if it was closed, as by `>&-`
                stream.flush()
    os._exit(code)
