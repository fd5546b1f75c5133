"""`dlrun config`: print an experiment's resolved config."""

from typing import Annotated

import typer

from dlrun.commands import options as opt
from dlrun.config.validation import config_to_yaml
from dlrun.experiments.checks import load_experiment_config
from dlrun.runs.options import RunSettings


@opt.with_run_options("config", "overrides")
def config(
    settings: RunSettings,
    experiment: Annotated[str, opt.EXPERIMENT_ARGUMENT],
    words: opt.SettingWords = None,
) -> None:
    """Print an experiment's resolved config as YAML.

    Examples:
    dlrun config imdb-lstm batch_size=100 > mine.yaml
    """
    settings = opt.add_arguments_to_settings(settings, experiment, words)
    typer.echo(config_to_yaml(load_experiment_config(experiment, settings)), nl=False)
