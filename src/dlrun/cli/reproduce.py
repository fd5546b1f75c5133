"""`dlrun reproduce`."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from dlrun.cli import options as opt
from dlrun.experiments import registry


def reproduce(
    experiments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[EXPERIMENT ...]",
            help="Only these (default: all that have published numbers).",
            autocompletion=registry.names,
        ),
    ] = None,
    seeds: Annotated[
        str,
        typer.Option(metavar="SEEDS", help="3: seeds 0 to 2; 0-2: the same; 0,3,7: these."),
    ] = "3",
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The page; the table is its .md.")
    ] = Path("reproduction.html"),
    accelerator: opt.Accelerator = None,
    no_fallback: opt.NoFallback = False,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite files that are no reproduction's.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Run the lab over seeds; write the book's numbers and yours on one page. Goes on where it was.

    Example: dlrun reproduce imdb-dense imdb-lasso --seeds 5
    """
    from dlrun.reproduction.reproduce import reproduce  # needs pydantic
    from dlrun.runs.settings import RunSettings

    options = RunSettings(
        overrides=opt.overrides(None, accelerator, no_fallback),
        runs_dir=runs_dir,
        data_dir=data_dir,
        force=force,
        json=json,
        quiet=quiet,
    )
    command = shlex.join(["dlrun", *sys.argv[1:]])
    raise typer.Exit(reproduce(experiments or [], seeds, out, options, command))
