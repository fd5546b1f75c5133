"""`dlrun accelerators [EXPERIMENT]`."""

from typing import Annotated

import typer

from dlrun.cli import options as opt
from dlrun.experiments import registry

Experiment = Annotated[
    str | None,
    typer.Argument(
        metavar="[EXPERIMENT]",
        help="Time an epoch of it on each device that is there.",
        autocompletion=registry.names,
    ),
]


def accelerators(
    experiment: Experiment = None,
    config: opt.ConfigFiles = None,
    set_: opt.Overrides = None,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """List this machine's accelerators, why others are missing, and how fast they are.

    Example: dlrun accelerators cifar100 --set data.source=sample
    """
    from dlrun.commands import accelerators  # needs torch
    from dlrun.runs.settings import RunSettings

    options = RunSettings(
        config=config or [],
        overrides=set_ or [],
        runs_dir=runs_dir,
        data_dir=data_dir,
        quiet=quiet,
    )
    accelerators.accelerators(experiment, options)
