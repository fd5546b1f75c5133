"""`dlrun resume`: continue a run."""

from dataclasses import replace
from typing import Annotated

from dlrun.commands import options as opt
from dlrun.experiments.running import resume_run
from dlrun.runs.options import RunSettings

CHANGEABLE = "May change: accelerator, fallback, logger, where the data are; epochs in a new run."


@opt.with_run_options(
    *("accelerator", "no_fallback", "runs_dir", "data_dir", "summary", "force", "json", "quiet"),
    overrides=Annotated[list[str] | None, opt.option(CHANGEABLE, "KEY=VALUE", "--set")],
)
def resume(settings: RunSettings, run: opt.RunName, words: opt.SettingWords = None) -> int:
    """Continue a run that was stopped, from its last finished epoch or lasso penalty.

    Examples:
    dlrun resume latest
    dlrun resume imdb-lstm/latest trainer.max_epochs=40
    """
    overrides = [*(words or ()), *settings.overrides]
    return resume_run(run, replace(settings, overrides=overrides))[0]
