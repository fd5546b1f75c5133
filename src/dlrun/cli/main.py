"""Run a command line and report its errors; set up the process before, and end it after."""

import atexit
import contextlib
import io
import logging
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, NoReturn

import typer

from dlrun import errors
from dlrun.cli.command_list import RESERVED_NAMES, app
from dlrun.errors import DlrunError, InterruptedByUser, UsageError
from dlrun.experiments import registry
from dlrun.system import signals, workarounds  # noqa: F401
from dlrun.system.console import Screen, reserve_stdout
from dlrun.system.json_text import to_json
from dlrun.system.processes import JOINED_RUN
from dlrun.system.spelling import did_you_mean

BROKEN_PIPE = 141  # the exit code of a process that SIGPIPE ends
OPTIONS_OF_SWEEPS = ("--seeds", "--folds", "--space", "--trials", "--sampler")


def run_command_line(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code; every failure is shown as one message."""
    try:
        if joined := os.environ.get(JOINED_RUN):  # Lightning has started this process for a run
            from dlrun.experiments.joining import join_run

            join_run(Path(joined))
        return int(app(arguments, standalone_mode=False) or 0)
    except BaseException as error:
        return report_error(error, arguments)


def report_error(error: BaseException, arguments: Sequence[str]) -> int:
    """Print one message about the exception that ended a command, and return the exit code."""
    behind = error.__context__ if isinstance(error, SystemExit) else error  # rich and click exit
    if isinstance(behind, BrokenPipeError):  # the reader of the output has ended, such as `head`
        return BROKEN_PIPE
    if isinstance(error, SystemExit):
        raise error
    if "_DLRUN_COMPLETE" in os.environ:  # a shell asks for completions, and gets none
        return 1
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()  # type: ignore[attr-defined]
        return UsageError.exit_code
    screen = Screen()
    if hasattr(error, "format_message"):  # raised by the command-line parser
        error = _usage_error(error, arguments)
    is_interrupt = isinstance(error, KeyboardInterrupt | typer.Abort)
    stopped = InterruptedByUser if is_interrupt else signals.stop_signal_of_error(error)
    shown = DlrunError(stopped.word) if stopped else _error_to_show(error)
    if "--json" in arguments:
        status = "interrupted" if stopped else "failed"
        about = {"status": status, "error": shown.message, "hint": shown.hint}
        with contextlib.suppress(OSError):  # the disk behind stdout may be full
            screen.print_raw(to_json(about, indent=None))  # one line, as `predict` prints
    if stopped:
        screen.err.show_cursor()  # a progress bar may have been stopped before it did so
    if "--debug" in arguments and not stopped:
        traceback.print_exception(error)
    else:
        screen.fail(shown.message, shown.hint)
    return stopped.exit_code if stopped else shown.exit_code


def _error_to_show(error: BaseException) -> DlrunError:
    if isinstance(error, FileNotFoundError) and not error.filename:  # os.getcwd raises it
        return DlrunError("the working folder: it was removed", "change to another folder")
    if known := errors.as_known_error(error):
        return known
    problem = f"unexpected {errors.name_and_first_line(error)}"
    return DlrunError(problem, "a bug in dlrun; --debug shows the traceback")


def _usage_error(error: Any, arguments: Sequence[str]) -> UsageError:
    """The hint is a command that the user may have meant, or the help."""
    message = error.format_message().removesuffix(".").replace("Value error, ", "")
    message = message[:1].lower() + message[1:]
    words = takewhile(lambda word: not word.startswith("-"), arguments)
    # An option without a value, or a flag with a value, has no context.
    command = error.ctx.command_path if error.ctx else shlex.join(["dlrun", *words])
    hint = f"{command} --help"
    if error.ctx is None or not hasattr(error, "possibilities"):
        return UsageError(message, hint)
    option: str = error.option_name
    options = [name for param in error.ctx.command.params for name in param.opts]
    similar = did_you_mean(option, [name for name in options if name.startswith("--")])
    if option in OPTIONS_OF_SWEEPS and arguments[0] in registry.experiment_names():
        of_sweep = _without_seed(arguments) if option == "--seeds" else arguments
        hint = shlex.join(["dlrun", "sweep", *of_sweep])
    elif not similar and "--set" in options:
        hint = "config values are given as KEY=VALUE, such as optimizer.lr=0.01"
    return UsageError(f"no such option: {option}{similar}", hint)


def _without_seed(arguments: Sequence[str]) -> list[str]:
    """Values of the key `seed`, which `--seeds` varies, are left out."""
    sets_seed = [word.startswith("seed=") for word in arguments]
    stands_before_seed = [*sets_seed[1:], False]
    return [
        word
        for word, is_seed, is_before in zip(arguments, sets_seed, stands_before_seed, strict=True)
        if not (is_seed or (word == "--set" and is_before))
    ]


def prepare_process(arguments: Sequence[str]) -> None:
    """Set up this process for one command: signals, streams and environment variables."""
    # Waiting threads sleep: beside other processes, two runs of CIFAR100 whose threads spin took
    # three times as long. torch reads this as it is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # Figures become files; matplotlib cannot be imported if the user's variable is misspelt.
    os.environ["MPLBACKEND"] = "Agg"
    if os.environ.get("COLUMNS") == "0":  # set without a terminal: rich would show nothing
        del os.environ["COLUMNS"]
    for number in signals.handled_stop_signals():  # a run has handlers of its own
        signal.signal(number, signals.raise_stop_signal)
    for stream in (sys.stdout, sys.stderr):  # a name that cannot be encoded must not stop a run
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if "--json" in arguments and sys.stdout is not None:
        reserve_stdout()
    for problem in registry.broken_experiment_messages():
        Screen().warn(problem)
    for name in sorted(RESERVED_NAMES & set(registry.experiment_names())):
        Screen().warn(f"experiment {name!r} is left out: dlrun has a command of that name")


def exit_process(code: int) -> NoReturn:
    """End this process without Python's own shutdown.

    It takes 0.7 s if torch was imported, and a late Ctrl-C would end the process with a signal.
    """
    signals.ignore_signals_until_exit()
    if "torch" not in sys.modules:
        atexit._run_exitfuncs()  # multiprocessing removes the fork server's folder here
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # a write error was reported when it happened
            if stream is not None:  # None if it was closed, as by `>&-`
                stream.flush()
    os._exit(code)
