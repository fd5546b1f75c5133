"""`dlrun reproduce`: run the lab with several seeds beside the book ISLP's numbers."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

from dlrun.commands import options as opt
from dlrun.runs.run_context import RunSettings


@opt.with_run_options(
    *("accelerator", "no_fallback", "runs_dir", "data_dir", "json", "quiet"),
    force=opt.ReplaceOther,
)
def reproduce(
    settings: RunSettings,
    experiments: opt.ExperimentNames = None,
    seeds: Annotated[
        str | None, opt.option("As of sweep (default: 5, of cifar100 1).", "SEEDS")
    ] = None,
    jobs: opt.Jobs = None,
    out: Annotated[Path, opt.option("The page.", "FILE")] = Path("reproduction.html"),
) -> int:
    """Run the lab with several seeds, and write the book's numbers beside yours on one HTML page.

    A seed that it ran before is not run again.

    Examples:
    dlrun reproduce imdb-dense imdb-lasso --seeds 10
    dlrun reproduce --jobs 1 --out chapter-10.html
    """
    from dlrun.sweeps.reproduce import reproduce_published_numbers  # slow: a sweep's modules

    command = shlex.join(["dlrun", *sys.argv[1:]])
    return reproduce_published_numbers(experiments or [], seeds, jobs, out, settings, command)
