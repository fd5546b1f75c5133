"""`dlrun report`: write an HTML page about runs."""

from pathlib import Path
from typing import Annotated

import typer

from dlrun.commands import options as opt
from dlrun.reports import page


def write_report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", help=f"{opt.RUN} Default: the newest finished."),
    ] = None,
    out: Annotated[Path, opt.option("The page, a single HTML file.", "FILE")] = Path("report.html"),
    runs_dir: opt.RunsDir = None,
    force: Annotated[bool, opt.flag("Replace another file.", "--force")] = False,
) -> None:
    """Write one HTML page about runs, with curves, mistakes and configs, that works offline.

    Example: dlrun report imdb-dense/latest imdb-lasso/latest
    """
    page.report_on_runs(runs or [], out, runs_dir, force=force)
