"""Mistakes on the command line in words: what was probably meant."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dlrun.errors import ConfigError, DlrunError, did_you_mean
from dlrun.experiments import registry

DEVICES = {"gpu": "cuda (NVIDIA) or mps (Apple)", "tpu": "cpu, cuda or mps", "metal": "mps"}
PRINTS_CONFIG = ("--print-config", "--show-config")


class UsageError(ConfigError):
    """The command line itself is wrong: there is no config yet."""


def in_words(error: Any, arguments: Sequence[str]) -> UsageError:
    """A usage error of the command-line library as one of ours, with the remedy."""
    message = str(error.format_message()).removesuffix(".").replace("Value error, ", "")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "dlrun"
    options = _options(context)
    hint = f"{command} --help"
    if hasattr(error, "option_name") and hasattr(error, "possibilities"):  # there is no such one
        message, meant = _no_option(error.option_name, command, options, arguments)
        hint = meant or hint
    extra = arguments if "unexpected extra argument" in message and "--set" in options else []
    if words := [word for word in extra if word in message and re.match(r"\w[\w.]*=", word)]:
        given = " ".join(f"--set {shlex.quote(word)}" for word in words)
        hint = f"values of the config are given by --set: {given}"
    for device, names in DEVICES.items():
        if f"'{device}'" in message and "--accelerator" in message:
            hint = f"choose {names}, or auto: what this machine has"
    return UsageError(message, hint)


def no_command(
    name: str, commands: list[str], below: Mapping[str, str], options: Iterable[str]
) -> UsageError:
    """There is no such command; `below` has those of groups, by their last word."""
    close = [command for command in commands if command.startswith(name)]
    if not close and name in below:
        close = [below[name]]
    if not close and f"--{name}" in options:
        close = [f"dlrun --{name}"]
    meant = (
        f"; did you mean {' or '.join(map(repr, close))}?"
        if close
        else did_you_mean(name, commands)
    )
    return UsageError(f"no command {name!r}{meant}", "dlrun --help lists them")


def _options(context: Any) -> list[str]:
    """The long options of a command."""
    parameters = context.command.get_params(context) if context is not None else []
    return [one for param in parameters for one in param.opts if one.startswith("--")]


def _no_option(
    option: str, command: str, options: Sequence[str], arguments: Sequence[str]
) -> tuple[str, str]:
    """What to say of an option that a command does not have, and what was meant, if it is known."""
    message, experiment = f"no such option: {option}", command.rsplit(maxsplit=1)[-1]
    if option.replace("_", "-") in PRINTS_CONFIG and experiment in registry.names():
        return message, f"`dlrun config {experiment}` prints its config"
    if close := did_you_mean(option, options):
        return message + close, ""
    key = _config_key(option, experiment)
    if key is None:
        return message, ""
    value = shlex.quote(_value(option, arguments))
    if f"--{key}" in options:
        return f"{message}; did you mean '--{key} {value}'?", ""
    return message, f"values of the config are given by --set: --set {key}={value}"


def _value(option: str, arguments: Sequence[str]) -> str:
    """What stands behind an option on the command line; dots where nothing does."""
    for word, after in zip(arguments, [*arguments[1:], "--"], strict=True):
        if word == option and not after.startswith("--"):
            return after
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return "..."


def _config_key(option: str, experiment: str) -> str | None:
    """The key of an experiment's config that an option stands for, as --lr for optimizer.lr."""
    if experiment not in registry.names():
        return None
    from dlrun.config.suggestions import meant  # needs pydantic

    try:
        config = registry.config_class(experiment)
    except DlrunError:
        return None
    return meant(option.lstrip("-").replace("-", "_").split("."), config)
