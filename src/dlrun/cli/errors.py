"""Error messages of the command line: one message, a hint and an exit code for any exception."""

import contextlib
import errno
import json
import re
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer

from dlrun.errors import (
    ConfigError,
    DlrunError,
    Interrupted,
    Stopped,
    UsageError,
    did_you_mean,
    first_line,
)
from dlrun.experiments import registry
from dlrun.system import resources
from dlrun.system.console import Screen
from dlrun.system.signals import SIGNALS, came

FAILED, MISUSED = 1, 2


def report_error(error: BaseException, arguments: Sequence[str]) -> int:
    """Show one message for the exception that ended a command, and return the exit code.

    Raises the exception again if --debug is given.
    """
    if isinstance(error, SystemExit):
        raise error
    screen = Screen()
    if stopped := _stopped_by(error):
        if not _is_reported_by_another_process():
            screen.fail(stopped.word)
        return stopped.exit_code
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()  # type: ignore[attr-defined]
        return MISUSED
    if hasattr(error, "format_message"):  # raised by the command-line parser
        error = usage_error(error, arguments)
    if isinstance(error, UsageError) and "--json" in arguments:
        about = {"status": "failed", "error": error.message, "hint": error.hint}
        screen.out.file.write(f"{json.dumps(about, indent=2)}\n")
    if "--debug" in arguments:
        raise error
    message, hint, code = _in_words(error)
    if not (isinstance(error, ConfigError) and _is_reported_by_another_process()):
        screen.fail(message, hint)
    return code


def _stopped_by(error: BaseException) -> type[Stopped] | None:
    """Return the class of the signal that caused the exception, or None."""
    if isinstance(error, Stopped):
        return type(error)
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return Interrupted
    return SIGNALS[came[-1]] if came else None  # an import may have replaced the exception


def _is_reported_by_another_process() -> bool:
    """Return whether the first of several processes on this machine reports what all were given."""
    if "dlrun.runs.distributed" not in sys.modules:  # no run was begun
        return False
    from dlrun.runs import distributed

    with contextlib.suppress(ConfigError):
        return distributed.is_reported_by_another_process()
    return False


def _in_words(error: BaseException) -> tuple[str, str, int]:
    """Return the message, the hint and the exit code."""
    if isinstance(error, DlrunError):
        return error.message, error.hint, error.exit_code
    if isinstance(error, OSError):
        what = error.filename or "the output"
        full = error.errno == errno.ENOSPC
        return f"{what}: {error.strerror or error}", "free some space" if full else "", FAILED
    if isinstance(error, MemoryError):
        return "out of memory", "a smaller batch_size needs less", FAILED
    problem = f"{type(error).__name__}: {first_line(error)}"
    if (
        limit := resources.address_space_limit()
    ):  # a library may raise anything if it gets no memory
        short = f"memory is short: this process may use {limit // 10**6:,} MB"
        return f"{problem}; {short}", "a higher `ulimit -v` allows more", FAILED
    hint = "This is a bug in dlrun; run again with --debug for the traceback."
    return f"unexpected {problem}", hint, FAILED


def usage_error(error: Any, arguments: Sequence[str]) -> UsageError:
    """Return a usage error of the command-line parser as one of ours, with a hint."""
    message = str(error.format_message()).removesuffix(".").replace("Value error, ", "")
    context = error.ctx
    command = context.command_path if context is not None else "dlrun"
    parameters = context.command.get_params(context) if context is not None else []
    options = [name for one in parameters for name in one.opts if name.startswith("--")]
    if hasattr(error, "possibilities"):
        return _no_such_option(error.option_name, command, options, arguments)
    if "unexpected extra argument" in message and "--set" in options:
        words = [word for word in arguments if word in message and re.match(r"[\w.]+=", word)]
        if words:
            given = " ".join(f"--set {shlex.quote(word)}" for word in words)
            return UsageError(message, f"config values are given by --set: {given}")
    return UsageError(message, f"{command} --help")


def no_such_command(name: str, commands: Mapping[str, Any], options: Iterable[str]) -> UsageError:
    """Return the error for an unknown command, with the commands that were probably meant."""
    close = [command for command in commands if command.startswith(name)]
    close = close or [
        f"{group} {name}"
        for group, command in commands.items()
        if name in getattr(command, "commands", ())
    ]
    if not close and f"--{name}" in options:
        close = [f"dlrun --{name}"]
    meant = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
    meant = meant or did_you_mean(name, commands)
    return UsageError(f"no command {name!r}{meant}", "dlrun --help lists them")


def _no_such_option(
    option: str, command: str, options: Sequence[str], arguments: Sequence[str]
) -> UsageError:
    """Return the error for an unknown option: was another option, or a config key, meant?"""
    message = f"no such option: {option}"
    name = command.rpartition(" ")[2]
    if option.replace("_", "-") == "--print-config" and name in registry.names():
        return UsageError(message, f"`dlrun config {name}` prints the config")
    if close := did_you_mean(option, options):
        return UsageError(message + close, f"{command} --help")
    key = _config_key(option, name)
    if key is None:
        return UsageError(message, f"{command} --help")
    value = shlex.quote(_option_value(option, arguments))
    if f"--{key}" in options:
        return UsageError(f"{message}; did you mean '--{key} {value}'?", f"{command} --help")
    return UsageError(message, f"config values are given by --set: --set {key}={value}")


def _option_value(option: str, arguments: Sequence[str]) -> str:
    """Return the value that follows an option on the command line, or dots if there is none."""
    for word, after in zip(arguments, [*arguments[1:], "--"], strict=True):
        if word == option and not after.startswith("--"):
            return after
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return "..."


def _config_key(option: str, experiment: str) -> str | None:
    """Return the config key that an option probably stands for, as optimizer.lr for --lr."""
    if experiment not in registry.names():
        return None
    from dlrun.config.validation import suggest_key  # needs pydantic

    try:
        schema = registry.config_class(experiment)
    except DlrunError:
        return None
    return suggest_key(option.lstrip("-").replace("-", "_").split("."), schema)
