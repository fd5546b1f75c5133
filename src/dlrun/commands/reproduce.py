"""`dlrun reproduce`: run the lab's experiments with several seeds, and compare with the book."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

from dlrun.commands import options as opt
from dlrun.reproduction.reproduce import reproduce_published_numbers
from dlrun.run_context import RunSettings


@opt.with_run_options(
    *("accelerator", "no_fallback", "runs_dir", "data_dir", "json", "quiet"),
    force=Annotated[bool, opt.flag("Replace existing files of another kind.", "--force")],
)
def reproduce(
    settings: RunSettings,
    experiments: opt.Experiments = None,
    seeds: Annotated[str, opt.Seeds] = "3",
    out: Annotated[Path, opt.option("The page; the table is its .md.", "FILE")] = Path(
        "reproduction.html"
    ),
) -> int:
    """Run the lab with several seeds, and write the book's numbers beside yours on one HTML page.

    Runs that earlier calls finished are not repeated.

    Example: dlrun reproduce imdb-dense imdb-lasso --seeds 5
    """
    command = shlex.join(["dlrun", *sys.argv[1:]])
    return reproduce_published_numbers(experiments or [], seeds, out, settings, command)
