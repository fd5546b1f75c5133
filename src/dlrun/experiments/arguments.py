"""Read the arguments of an experiment's command: KEY=VALUE texts, and others such as a path."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from dlrun.config.yaml_loader import ConfigLayer, config_layer_from_setting
from dlrun.errors import UsageError
from dlrun.experiments.experiment import AnyExperiment


def divide_arguments(
    experiment: AnyExperiment, words: Sequence[str] | None
) -> tuple[list[str], ConfigLayer]:
    """Separate an experiment's KEY=VALUE arguments from the others, which become a config layer."""
    takes_paths = experiment.argument is not None

    def is_override(word: str) -> bool:
        if not takes_paths:
            return "=" in word
        return re.match(r"[\w.]+=", word) is not None and not os.path.lexists(word)

    overrides = [word for word in words or () if is_override(word)]
    others = [word for word in words or () if word not in overrides]
    return overrides, config_layer_of_arguments(experiment, others)


def config_layer_of_arguments(experiment: AnyExperiment, words: Sequence[str]) -> ConfigLayer:
    """Make a config layer of an experiment's positional arguments, such as the path of data.

    Raises UsageError for arguments if the experiment takes none, and for several if it takes one.
    """
    if not words:
        return ConfigLayer({})
    argument = experiment.argument
    hint = "config values are KEY=VALUE, such as seed=3"
    if argument is None:
        if Path(words[0]).exists():
            lists = "`dlrun --help` lists the experiments on your own data"
            hint = f"{experiment.name} takes no path; {lists}"
        raise UsageError(f"unexpected argument {words[0]!r}", hint)
    if not argument.is_list and len(words) > 1:
        raise UsageError(f"one {argument.metavar} is enough, got {', '.join(words)}", hint)
    value = list(words) if argument.is_list else words[0]
    return config_layer_from_setting(argument.key, value, argument.metavar)
