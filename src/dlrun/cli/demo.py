"""`dlrun demo`."""

from typing import Annotated

import typer

from dlrun.cli import options as opt
from dlrun.experiments import registry

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="[EXPERIMENT ...]", help="Only these.", autocompletion=registry.names),
]


def demo(
    experiments: Names = None,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
    debug: opt.Debug = False,
) -> None:
    """Run every experiment on generated or shipped data, without a download.

    Example: dlrun demo --runs-dir demo-runs
    """
    from dlrun.commands import demo  # needs pydantic

    raise typer.Exit(demo.demo(experiments or [], runs_dir, data_dir))
