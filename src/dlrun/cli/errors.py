"""Report exceptions on the command line: each with one message, a hint and an exit code."""

import contextlib
import os
import re
import shlex
import sys
import traceback
from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile
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
    os_error_remedy,
)
from dlrun.experiments import registry
from dlrun.system import resources
from dlrun.system.console import Screen
from dlrun.system.signals import stop_behind

# What users of LightningCLI, Hydra, Guild and MLflow type after `dlrun`, and what it is here. In a
# pattern EXPERIMENT is an experiment's name; `{more}` is the rest of the command line.
SPELLINGS = (
    (r"(fit|run|train) EXPERIMENT(?P<more>.*)", "dlrun {experiment}{more}"),
    (r"(fit|run|train)\b.*", "dlrun EXPERIMENT; dlrun --help lists them"),
    (r"(validate|test)\b.*", "dlrun predict RUN --test"),
    (r"ls\b.*", "dlrun runs list"),
    (r"(ui|view)\b.*", "dlrun report"),
    (r"help(?P<more>.*)", "dlrun{more} --help"),
    (r"runs ls(?P<more>.*)", "dlrun runs list{more}"),
    (r"runs delete\b.*", "dlrun runs rm RUN"),
    (r"runs diff\b.*", "dlrun runs compare RUN RUN"),
    (r"runs info\b.*", "dlrun runs show RUN"),
    (r"(-m|--multirun) EXPERIMENT(?P<more>.*)", "dlrun sweep {experiment}{more}"),
    (r"(sweep )?EXPERIMENT(?P<words>.*) (-m|--multirun)\b(?P<more>.*)",
     "dlrun sweep {experiment}{words}{more}"),
    (r"EXPERIMENT(?P<more>.* --(seeds|folds|grid|space|trials)\b.*)",
     "dlrun sweep {experiment}{more}"),
    (r"EXPERIMENT(?P<words>.*) --print[-_]config(?P<more>.*)",
     "dlrun config {experiment}{words}{more}"),
    (r"EXPERIMENT(?P<words>.*) -P (?P<more>.*)", "dlrun {experiment}{words} {more}"),
)  # fmt: skip


def report_error(error: BaseException, arguments: Sequence[str]) -> int:
    """Print one message about the exception that ended a command, and return the exit code.

    With --debug the traceback is printed instead. Raises SystemExit again.
    """
    if isinstance(error, SystemExit):
        raise error
    if "_DLRUN_COMPLETE" in os.environ:  # a shell asks for completions, and gets none
        return 1
    screen = Screen()
    if stopped := _stopped_by(error):
        screen.err.show_cursor()  # a progress bar may have been stopped before it did so
        if not _is_reported_by_another_process():
            screen.fail(stopped.word)
        return stopped.exit_code
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()  # type: ignore[attr-defined]
        return UsageError.exit_code
    shown = _describe(error, arguments)
    if isinstance(shown, UsageError) and "--json" in arguments:
        about = {"status": "failed", "error": shown.message, "hint": shown.hint}
        screen.print_json(about)
    if "--debug" in arguments:
        traceback.print_exception(error)
    elif not (isinstance(shown, ConfigError) and _is_reported_by_another_process()):
        screen.fail(shown.message, shown.hint)
    return shown.exit_code


def _stopped_by(error: BaseException) -> type[Stopped] | None:
    """Return the exception class of the signal that stopped the command, or None."""
    return Interrupted if isinstance(error, KeyboardInterrupt | typer.Abort) else stop_behind(error)


def _is_reported_by_another_process() -> bool:
    """Return whether another process on this machine reports the errors that all processes have."""
    distributed = sys.modules.get("dlrun.runs.distributed")  # None if no run was begun
    with contextlib.suppress(ConfigError):
        return distributed is not None and bool(distributed.another_process_prints_errors())
    return False


def _describe(error: BaseException, arguments: Sequence[str]) -> DlrunError:
    """Return the error to show for an exception: its message, its hint and its exit code."""
    if isinstance(error, DlrunError):
        return error
    if hasattr(error, "format_message"):  # raised by the command-line parser
        return _usage_error(error, arguments)
    if isinstance(error, OSError):
        problem = f"{error.filename or 'the output'}: {error.strerror or error}"
        hint = os_error_remedy(error)
        if isinstance(error, FileNotFoundError) and not error.filename:  # by os.getcwd
            problem, hint = "the working folder: it was removed", "change to another folder"
        return DlrunError(problem, hint)
    if isinstance(error, MemoryError):
        return DlrunError("out of memory", "a smaller batch_size needs less")
    problem = f"{type(error).__name__}: {first_line(error)}"
    if limit := resources.address_space_limit():  # a library may raise anything without memory
        short = f"memory is short: this process may use {limit // 10**6:,} MB"
        return DlrunError(f"{problem}; {short}", "a higher `ulimit -v` allows more")
    hint = "This is a bug in dlrun; run again with --debug for the traceback."
    return DlrunError(f"unexpected {problem}", hint)


def unknown_command_error(
    words: Sequence[str], commands: Mapping[str, Any], options: Collection[str], group: str
) -> UsageError:
    """Return the error for an unknown command, the first of some words, with similar ones.

    commands, options: those of the group of commands; `dlrun` itself is one, or `dlrun runs`.
    """
    name = words[0]
    close = [command for command in commands if command.startswith(name)] or [
        f"{other} {name}"
        for other, command in commands.items()
        if name in getattr(command, "commands", ())
    ]
    if not close and f"--{name}" in options:
        close = [f"dlrun --{name}"]
    meant = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
    meant = meant or did_you_mean(name, commands)
    hint = _spelling([*group.split()[1:], *words]) or f"{group} --help lists them"
    return UsageError(f"no command {name!r}{meant}", hint)


def _spelling(arguments: Sequence[str]) -> str:
    """Return what a command line of another program is here; an empty text if it is not known."""
    line = shlex.join(arguments)
    experiment = f"(?P<experiment>{'|'.join(registry.experiment_names())})(?= |$)"
    for pattern, hint in SPELLINGS:
        if match := re.fullmatch(pattern.replace("EXPERIMENT", experiment), line, re.DOTALL):
            return hint.format(**match.groupdict(""))
    return ""


def _usage_error(error: Any, arguments: Sequence[str]) -> UsageError:
    """Convert an error of the command-line parser into a UsageError with a hint."""
    message = error.format_message().removesuffix(".").replace("Value error, ", "")
    message = message[:1].lower() + message[1:]
    if error.ctx is None:  # an option without a value, or a flag with a value
        words = takewhile(lambda word: not word.startswith("-"), arguments)
        return UsageError(message, shlex.join(["dlrun", *words, "--help"]))
    hint = f"{error.ctx.command_path} --help"
    if not hasattr(error, "possibilities"):
        return UsageError(message, hint)
    option: str = error.option_name
    parameters = error.ctx.command.get_params(error.ctx)
    options = [name for parameter in parameters for name in parameter.opts]
    similar = did_you_mean(option, [name for name in options if name.startswith("--")])
    spelling = _spelling(arguments)
    if not spelling and not similar and "--set" in options:
        setting = _as_setting(option, arguments)
        spelling = f"config values are given as KEY=VALUE: {setting}" if setting else ""
    return UsageError(f"no such option: {option}{similar}", spelling or hint)


def _as_setting(option: str, arguments: Sequence[str]) -> str:
    """Return `optimizer.lr=0.1` for the unknown option `--lr 0.1`; an empty text without a key.

    Without an experiment, as in `dlrun resume`, an option with a full stop is taken at its word.
    """
    path = option.lstrip("-").replace("-", "_").split(".")
    experiment = next((word for word in arguments if word in registry.experiment_names()), None)
    key = ".".join(path) if len(path) > 1 else None
    if experiment is not None:
        from dlrun.config.validation import suggest_config_key  # needs pydantic

        with contextlib.suppress(DlrunError):  # the experiment cannot be loaded
            key = suggest_config_key(path, registry.load_config_class(experiment))
    given = re.search(rf"(?:^| ){re.escape(option)}[ =](?!--)(\S+)", " ".join(arguments))
    return shlex.quote(f"{key}={given[1] if given else '...'}") if key else ""
