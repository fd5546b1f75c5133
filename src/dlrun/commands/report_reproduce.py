"""`dlrun report`, `dlrun reproduce`: write an HTML page about runs, or about the lab's numbers."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

from dlrun.commands import options as opt
from dlrun.reports import page
from dlrun.run_context import RunSettings


def write_report(
    runs: Annotated[
        list[str] | None,
        opt.argument(f"{opt.RUN} A sweep's name: its page. Default: the newest finished.", "RUN"),
    ] = None,
    out: Annotated[Path, opt.option("The page, a single HTML file.", "FILE")] = Path("report.html"),
    baseline: Annotated[
        str | None,
        opt.option(
            "Compare the others with this run, on the same test rows.",
            "RUN",
            autocompletion=opt.complete_runs,
        ),
    ] = None,
    notes: Annotated[Path | None, opt.option("Your own words, in Markdown.", "FILE.md")] = None,
    runs_dir: opt.RunsDir = None,
    force: Annotated[bool, opt.flag("Replace another file.", "--force")] = False,
) -> None:
    """Write one HTML page about runs, which works offline: curves, configs, misclassified inputs.

    Examples:
    dlrun report
    dlrun report imdb-dense/latest --baseline imdb-lasso/latest --out lab.html
    """
    page.report_on_runs(
        runs or [],
        out,
        runs_dir,
        read_sweep=_read_sweep,
        baseline=baseline,
        notes=notes,
        force=force,
    )


def _read_sweep(folder: Path) -> page.PageContent:
    from dlrun.sweeps.summary import read_page_content  # slow: the modules that begin runs

    return read_page_content(folder)


@opt.with_run_options(
    *("accelerator", "no_fallback", "runs_dir", "data_dir", "json", "quiet"),
    force=Annotated[bool, opt.flag("Replace existing files of another kind.", "--force")],
)
def reproduce(
    settings: RunSettings,
    experiments: opt.Experiments = None,
    seeds: Annotated[str, opt.Seeds] = "3",
    jobs: opt.Jobs = None,
    out: Annotated[Path, opt.option("The page; the table is its .md.", "FILE")] = Path(
        "reproduction.html"
    ),
) -> int:
    """Run the lab with several seeds, and write the book's numbers beside yours on one HTML page.

    A seed that was run before, by this or another command, is not run again.

    Examples:
    dlrun reproduce imdb-dense imdb-lasso --seeds 5
    dlrun reproduce --jobs 1 --out chapter-10.html
    """
    from dlrun.reproduction.reproduce import reproduce_published_numbers  # slow: a sweep's modules

    command = shlex.join(["dlrun", *sys.argv[1:]])
    return reproduce_published_numbers(experiments or [], seeds, jobs, out, settings, command)
