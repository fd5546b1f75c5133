"""`dlrun reproduce`: run the lab with several seeds beside the book ISLP's numbers."""

from pathlib import Path
from typing import Annotated

from dlrun.cli import options as opt
from dlrun.runs.options import RunOptions


def reproduce(
    experiments: opt.ExperimentNames = None,
    seeds: Annotated[
        str | None, opt.option("As of sweep (default: 5, of cifar100 1).", "SEEDS")
    ] = None,
    jobs: opt.Jobs = None,
    out: Annotated[Path, opt.option("The page.", "FILE")] = Path("reproduction.html"),
    accelerator: opt.Accelerator = None,
    no_fallback: opt.NoFallback = False,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
    force: opt.ReplaceOther = False,
) -> int:
    """Run the lab with several seeds, and write the book's numbers beside yours on one HTML page.

    A seed that it ran before is not run again.

    Examples:
    dlrun reproduce imdb-dense imdb-lasso --seeds 10
    dlrun reproduce --jobs 1 --out chapter-10.html
    """
    # Slow: a sweep's modules.
    from dlrun.sweeps.reproduction.reproduce import reproduce_published_numbers

    options = RunOptions(
        values=opt.parse_values(None, None, accelerator, no_fallback=no_fallback),
        runs_dir=runs_dir,
        data_dir=data_dir,
        force=force,
        json=json,
        quiet=quiet,
    )
    return reproduce_published_numbers(experiments or [], seeds, jobs, out, options)
