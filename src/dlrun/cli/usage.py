"""Mistakes on the command line in words: what was probably meant."""

import re
from collections.abc import Mapping
from typing import Any

from dlrun.declaration import registry
from dlrun.errors import ConfigError, DlrunError, nearest

DEVICES = {"gpu": "cuda (NVIDIA) or mps (Apple)", "tpu": "cpu, cuda or mps", "metal": "mps"}


class UsageError(ConfigError):
    """The command line itself is wrong: there is no config yet."""


def in_words(error: Any) -> UsageError:
    """A usage error of the command-line library as one of ours, with the remedy."""
    message = str(error.format_message()).removesuffix(".").replace("Value error, ", "")
    command = error.ctx.command_path if getattr(error, "ctx", None) is not None else "dlrun"
    hint = f"{command} --help"
    option = getattr(error, "option_name", None)
    if option and (key := _config_key(option, command.split()[-1])):
        message, hint = f"no such option: {option}", key
    if words := re.search(r"unexpected extra argument\S* \((\w[\w.]*=\S*)", message):
        hint = f"values of the config are given by --set: --set {words[1]}"
    for device, names in DEVICES.items():
        if f"'{device}'" in message and "--accelerator" in message:
            hint = f"choose {names}, or auto: what this machine has"
    return UsageError(message, hint)


def no_command(name: str, commands: list[str], below: Mapping[str, str]) -> UsageError:
    """There is no such command; `below` has those of groups, by their last word."""
    close = [command for command in commands if command.startswith(name)]
    if not close and name in below:
        close = [below[name]]
    meant = f"; did you mean {' or '.join(map(repr, close))}?" if close else nearest(name, commands)
    return UsageError(f"no command {name!r}{meant}", "dlrun --help lists them")


def _config_key(option: str, experiment: str) -> str | None:
    """`--lr` is no option, but there is a key optimizer.lr."""
    if experiment not in registry.names():
        return None
    from dlrun.config.keys import meant  # needs pydantic

    try:
        config = registry.load(experiment).schema
    except DlrunError:
        return None
    key = meant([option.lstrip("-").replace("-", "_")], config)
    return f"values of the config are given by --set: --set {key}=..." if key else None
