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

MULTIRUN = ("-m", "--multirun")  # Hydra's option for many runs
SWEEP_OPTIONS = ("--seeds", "--folds", "--grid", "--space", "--trials")
RUN_WORDS = ("fit", "run", "train")  # words before an experiment's name in other programs
# What commands of LightningCLI, Guild and others are called here.
ELSEWHERE = {
    **{f"dlrun {word}": "dlrun EXPERIMENT; dlrun --help lists them" for word in RUN_WORDS},
    "dlrun validate": "dlrun predict RUN --test",
    "dlrun test": "dlrun predict RUN --test",
    "dlrun ls": "dlrun runs list",
    "dlrun ui": "dlrun report",
    "dlrun view": "dlrun report",
    "dlrun runs delete": "dlrun runs rm RUN",
    "dlrun runs diff": "dlrun runs compare RUN RUN",
    "dlrun runs info": "dlrun runs show RUN",
}


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
    if isinstance(error, MemoryError | RecursionError):
        if isinstance(error, MemoryError):
            problem, hint = "out of memory", "a smaller batch_size needs less"
        else:
            problem = "a folder or a value is nested too deeply, or code calls itself without end"
            hint = "--debug shows where"
        return DlrunError(problem, hint)
    problem = f"{type(error).__name__}: {first_line(error)}"
    if limit := resources.address_space_limit():  # a library may raise anything without memory
        short = f"memory is short: this process may use {limit // 10**6:,} MB"
        return DlrunError(f"{problem}; {short}", "a higher `ulimit -v` allows more")
    hint = "This is a bug in dlrun; run again with --debug for the traceback."
    return DlrunError(f"unexpected {problem}", hint)


def unknown_command_error(
    name: str, commands: Mapping[str, Any], options: Collection[str], group: str
) -> UsageError:
    """Return the error for an unknown command of a group, with similar commands as a suggestion."""
    close = [command for command in commands if command.startswith(name)] or [
        f"{other} {name}"
        for other, command in commands.items()
        if name in getattr(command, "commands", ())
    ]
    if not close and f"--{name}" in options:
        close = [f"dlrun --{name}"]
    meant = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
    meant = meant or did_you_mean(name, commands)
    hint = ELSEWHERE.get(f"{group} {name}", f"{group} --help lists them")
    return UsageError(f"no command {name!r}{meant}", hint)


def _usage_error(error: Any, arguments: Sequence[str]) -> UsageError:
    """Convert an error of the command-line parser into a UsageError with a hint."""
    message = error.format_message().removesuffix(".").replace("Value error, ", "")
    message = message[:1].lower() + message[1:]
    if error.ctx is None:  # an option without a value, or a flag with a value
        words = takewhile(lambda word: not word.startswith("-"), arguments)
        return UsageError(message, shlex.join(["dlrun", *words, "--help"]))
    command: str = error.ctx.command_path
    more, hint = "", ""
    if hasattr(error, "possibilities"):  # there is no such option
        parameters = error.ctx.command.get_params(error.ctx)
        options = [name for one in parameters for name in one.opts if name.startswith("--")]
        message = f"no such option: {error.option_name}"
        more, hint = _explain_unknown_option(error.option_name, options, arguments)
    return UsageError(message + more, hint or f"{command} --help")


def _explain_unknown_option(
    option: str, options: Collection[str], arguments: Sequence[str]
) -> tuple[str, str]:
    """Return what to add to the message about an unknown option, and a hint; each may be empty."""
    experiment = next((one for one in arguments if one in registry.experiment_names()), None)
    is_of_sweep = option in MULTIRUN and arguments[0] in (option, experiment, "sweep")
    if experiment and (is_of_sweep or (option in SWEEP_OPTIONS and arguments[0] == experiment)):
        from dlrun.sweeps.search_space import sweep_command  # no other error needs it

        words = [one for one in arguments if one not in (*MULTIRUN, experiment, "sweep")]
        return "; many runs are a sweep", sweep_command(experiment, words)
    if close := did_you_mean(option, options):
        return close, ""
    hint = ""
    if "--set" in options:
        key, value = _config_key(option, experiment), _option_value(option, arguments)
        if f"--{key}" in options:
            return f"; did you mean '--{key} {shlex.quote(value)}'?", ""
        if key:
            settings = _options_as_settings(options, arguments, experiment)
        else:  # as `-P KEY=VALUE` of MLflow
            match = re.match(r"([\w.]+)=(.*)", value, re.DOTALL) if len(option) == 2 else None
            settings = (
                [f"{_config_key(match[1], experiment) or match[1]}={match[2]}"] if match else []
            )
        if settings:
            hint = f"config values are given as KEY=VALUE: {shlex.join(settings)}"
        elif experiment and "." in option:
            hint = f"`dlrun config {experiment}` prints every key with its default"
    return "", hint


def _options_as_settings(
    options: Collection[str], arguments: Sequence[str], experiment: str | None
) -> list[str]:
    """Return the settings KEY=VALUE that the unknown options of a command line probably mean."""
    names = [one.partition("=")[0] for one in arguments if one.startswith("--")]
    keys = {name: _config_key(name, experiment) for name in names if name not in options}
    return [f"{key}={_option_value(name, arguments)}" for name, key in keys.items() if key]


def _option_value(option: str, arguments: Sequence[str]) -> str:
    """Return the value that follows an option on the command line, or `...` if it has none."""
    for word, after in zip(arguments, [*arguments[1:], "--"], strict=True):
        if word == option and not after.startswith("--"):
            return after
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return "..."


def _config_key(option: str, experiment: str | None) -> str | None:
    """Return the config key that an unknown option probably means: optimizer.lr for --lr.

    Without an experiment, as in `dlrun resume`, an option with a full stop is taken at its word.
    """
    path = option.lstrip("-").replace("-", "_").split(".")
    if experiment is None:
        return ".".join(path) if len(path) > 1 else None
    from dlrun.config.validation import suggest_config_key  # needs pydantic

    with contextlib.suppress(DlrunError):  # the experiment cannot be loaded
        return suggest_config_key(path, registry.load_config_class(experiment))
    return None
