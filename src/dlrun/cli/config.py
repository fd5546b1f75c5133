"""`dlrun config EXPERIMENT`."""

from typing import Annotated

import typer

from dlrun.cli import options as opt
from dlrun.cli.reporting import reporting
from dlrun.config_files import experiment_names

Experiment = Annotated[
    str,
    typer.Argument(
        metavar="EXPERIMENT",
        help=f"One of {', '.join(experiment_names())}.",
        autocompletion=experiment_names,
    ),
]


def run(
    experiment: Experiment,
    config: opt.ConfigFiles = None,
    set_: opt.Overrides = None,
    debug: opt.Debug = False,
) -> None:
    """Print an experiment's resolved config as YAML.

    Example: dlrun config imdb-lstm --set batch_size=100 > mine.yaml
    """
    with reporting(debug=debug):
        from dlrun.config import to_yaml  # needs pydantic
        from dlrun.experiments.runner import resolve

        typer.echo(to_yaml(resolve(experiment, config or [], set_ or [])), nl=False)
