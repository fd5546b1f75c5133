"""`dlrun resume`: continue a run that was stopped, or a finished one with more epochs."""

from pathlib import Path
from typing import Annotated

from dlrun.cli import options as opt
from dlrun.experiments.resuming import resume_run
from dlrun.runs.options import RunOptions

CHANGEABLE = "May change: accelerator, fallback, logger, where the data are; epochs in a new run."
DATA_DIR = "Where data are kept (default: as the run was told, or else DLRUN_DATA_DIR, or data)."


def resume(
    run: opt.RunName,
    words: opt.SettingWords = None,
    overrides: Annotated[list[str] | None, opt.option(CHANGEABLE, "KEY=VALUE", "--set")] = None,
    accelerator: opt.Accelerator = None,
    no_fallback: opt.NoFallback = False,
    runs_dir: opt.RunsDir = None,
    data_dir: Annotated[Path | None, opt.option(DATA_DIR, "DIR")] = None,
    summary: opt.Summary = False,
    force: opt.Force = False,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> int:
    """Continue a run that was stopped, from its last finished epoch or lasso penalty.

    Examples:
    dlrun resume latest
    dlrun resume imdb-lstm/latest trainer.max_epochs=40
    """
    options = RunOptions(
        values=opt.parse_values(words, overrides, accelerator, no_fallback=no_fallback),
        runs_dir=runs_dir,
        data_dir=data_dir,
        summary=summary,
        force=force,
        json=json,
        quiet=quiet,
    )
    return resume_run(run, options)[0]
