"""`dlrun verify RUN`."""

from typing import Annotated

import typer

from dlrun.cli import options as opt


def verify(
    run: opt.Run,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the repetition, as a run like any other.")
    ] = False,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
    json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Run it again from its own config, and say whether it comes out identical, bit for bit.

    Exits with 0 where it does; else with 1, the first difference, and what differs in code,
    packages, machine and data.

    Example: dlrun verify latest
    """
    from dlrun.commands.verify import verify  # needs pydantic

    code = verify(run, keep=keep, runs_dir=runs_dir, data_dir=data_dir, json=json, quiet=quiet)
    raise typer.Exit(code)
