"""`dlrun config EXPERIMENT`."""

from typing import Annotated

import typer

from dlrun.cli import options as opt


def config(
    experiment: Annotated[str, opt.ExperimentName],
    config: opt.ConfigFiles = None,
    set_: opt.Overrides = None,
    debug: opt.Debug = False,
) -> None:
    """Print an experiment's resolved config as YAML.

    Example: dlrun config imdb-lstm --set batch_size=100 > mine.yaml
    """
    from dlrun.config.validation import to_yaml  # needs pydantic
    from dlrun.runs.settings import RunSettings
    from dlrun.runs.start import load_config

    options = RunSettings(config=config or [], overrides=set_ or [])
    typer.echo(to_yaml(load_config(experiment, options)), nl=False)
