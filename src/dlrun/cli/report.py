"""`dlrun report`."""

from pathlib import Path
from typing import Annotated

import typer

from dlrun.cli import options as opt


def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN",
            help="Folder, name, suffix, latest or EXPERIMENT/latest; default: the newest finished.",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The page, a single HTML file.")
    ] = Path("report.html"),
    runs_dir: opt.RunsDir = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite a file that is no report.")
    ] = False,
    debug: opt.Debug = False,
) -> None:
    """Write a page about runs: curves, mistakes, configs, all that they left. It needs no network.

    Example: dlrun report imdb-dense/latest imdb-lasso/latest
    """
    from dlrun.reports.page import report  # needs pydantic

    report(runs or [], out, runs_dir, force=force)
