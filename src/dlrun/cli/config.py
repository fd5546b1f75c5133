"""`dlrun config`: print an experiment's resolved config."""

from typing import Annotated

import typer

from dlrun.cli import options as opt
from dlrun.config.validation import config_to_yaml
from dlrun.experiments.arguments import divide_arguments
from dlrun.experiments.checks import load_experiment_config
from dlrun.experiments.registry import find_experiment
from dlrun.runs.options import RunOptions


def print_config(
    experiment: Annotated[str, opt.EXPERIMENT_ARGUMENT],
    words: opt.SettingWords = None,
    config: opt.Config = None,
    overrides: opt.Overrides = None,
) -> None:
    """Print an experiment's resolved config as YAML.

    Examples:
    dlrun config imdb-lstm batch_size=100 > mine.yaml
    """
    found = find_experiment(experiment)
    named, layer = divide_arguments(found, words)
    options = RunOptions(
        config=config or (),
        values=[*opt.parse_values(named, overrides), layer],
    )
    typer.echo(config_to_yaml(load_experiment_config(found, options)), nl=False)
