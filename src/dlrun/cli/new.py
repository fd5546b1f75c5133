"""`dlrun new NAME`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from dlrun.cli import options as opt


def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="As in my-experiment.")],
    into: Annotated[
        Path, typer.Option("--into", metavar="DIR", help="Where the package's folder goes.")
    ] = Path(),
    debug: opt.Debug = False,
) -> None:
    """Write a package with an experiment of your own: code, configs, a test that passes.

    Example: dlrun new my-experiment
    """
    from dlrun.commands import new

    parent: Any = context.parent
    new.new(name, into, parent.command.list_commands(parent))
