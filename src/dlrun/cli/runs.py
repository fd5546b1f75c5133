"""`dlrun runs check`."""

from typing import Annotated

import typer

from dlrun.cli import options as opt

app = typer.Typer(help="Look after the runs that are there.", no_args_is_help=True)


@app.command()
def check(
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help=f"{opt.RUN} Default: all of them.")
    ] = None,
    runs_dir: opt.RunsDir = None,
    debug: opt.Debug = False,
) -> None:
    """Read runs back and say which are whole: records, checkpoints, weights, tables, figures.

    Example: dlrun runs check latest
    """
    from dlrun.workbench.checking import check  # needs pydantic

    raise typer.Exit(check(run, runs_dir))
