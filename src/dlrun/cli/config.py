"""`dlrun config`: print an experiment's resolved config as YAML, or its JSON Schema."""

import json
from typing import Annotated

import typer

from dlrun.cli import options as opt
from dlrun.config.json_schema import ConfigFileSchema
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
    schema: opt.Schema = False,
) -> None:
    """Print an experiment's resolved config as YAML.

    Examples:
    dlrun config imdb-lstm batch_size=100 > mine.yaml
    dlrun config imdb-lstm --schema > imdb-lstm.json
    """
    declaration = find_experiment(experiment)
    if schema:
        keys = declaration.config.model_json_schema(schema_generator=ConfigFileSchema)
        typer.echo(json.dumps(keys, indent=2))
        return
    named, layer = divide_arguments(declaration, words)
    options = RunOptions(
        config=config or (),
        values=[*opt.parse_values(named, overrides), layer],
    )
    typer.echo(config_to_yaml(load_experiment_config(declaration, options)), nl=False)
