"""`dlrun accelerators [EXPERIMENT]`."""

from typing import Annotated

import typer

from dlrun.cli import options as opt
from dlrun.cli.reporting import reporting
from dlrun.config_files import experiment_names

Experiment = Annotated[
    str | None,
    typer.Argument(
        metavar="[EXPERIMENT]",
        help="Time an epoch of it on each device that is there.",
        autocompletion=experiment_names,
    ),
]


def run(
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
    with reporting(debug=debug):
        from dlrun.experiments import timing  # needs torch

        timing.run(experiment, config or [], set_ or [], runs_dir, data_dir, quiet=quiet)
