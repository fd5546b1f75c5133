"""`dlrun demo`."""

from typing import Annotated

import typer

from dlrun.cli import options as opt
from dlrun.cli.reporting import reporting

Epochs = Annotated[int, typer.Option(min=1, help="Epochs of each network.")]


def run(
    epochs: Epochs = 8,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
    debug: opt.Debug = False,
) -> None:
    """Run every experiment on generated or shipped data, without a download.

    Example: dlrun demo --epochs 3
    """
    with reporting(debug=debug):
        from dlrun.experiments import demo  # noqa: PLC0415 (needs pydantic)

        demo.run(epochs, runs_dir, data_dir)
