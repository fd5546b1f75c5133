"""`dlrun EXPERIMENT`, `dlrun resume`, `dlrun config`: start or continue a run, print a config."""

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import typer

from dlrun.commands import options as opt
from dlrun.config.validation import config_to_yaml
from dlrun.execution.checks import load_experiment_config
from dlrun.execution.run import resume_run, run_experiment
from dlrun.experiments import registry
from dlrun.run_context import RunSettings
from dlrun.slurm.submit import submit_run

CHANGEABLE = "May change: accelerator, fallback, logger, where the data are; epochs in a new run."


def make_experiment_command(name: str) -> Callable[..., int]:
    """Return the command `dlrun NAME` of an experiment; raise DlrunError if it cannot be loaded."""
    argument = registry.load_config_class(name).argument
    shown = opt.SETTINGS_ARGUMENT
    if argument is not None:
        about = f"{argument.help} KEY=VALUE is a config value, unless there is such a file."
        shown = opt.argument(about, argument.metavar)

    @opt.with_run_options(*(option for option in opt.RUN_OPTIONS if option != "force"))
    def run(
        settings: RunSettings,
        words: Annotated[list[str] | None, shown] = None,
        slurm: opt.Slurm = None,
        wait: opt.Wait = False,
    ) -> int:
        settings = opt.add_arguments_to_settings(settings, name, words)
        if opt.is_for_slurm(slurm, wait):
            return submit_run(name, settings, slurm or [], wait=wait)
        return run_experiment(name, settings)[0]

    return run


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


@opt.with_run_options("config", "overrides")
def config(
    settings: RunSettings,
    experiment: Annotated[str, opt.EXPERIMENT_ARGUMENT],
    words: opt.SettingWords = None,
) -> None:
    """Print an experiment's resolved config as YAML.

    Examples:
    dlrun config imdb-lstm batch_size=100 > mine.yaml
    """
    settings = opt.add_arguments_to_settings(settings, experiment, words)
    typer.echo(config_to_yaml(load_experiment_config(experiment, settings)), nl=False)
