"""`dlrun EXPERIMENT`, `dlrun resume`, `dlrun config`: start or continue a run, print a config."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

import typer

from dlrun.commands import options as opt
from dlrun.config.validation import config_to_yaml
from dlrun.config.yaml_loader import config_layer_without_file
from dlrun.experiments import registry
from dlrun.run_context import RunSettings
from dlrun.runs.start import load_experiment_config, resume_run, run_experiment
from dlrun.slurm.submit import submit_run_to_slurm

CHANGEABLE = "May change: trainer.max_epochs, accelerator, fallback, logger, where the data are."


def make_experiment_command(name: str) -> Callable[..., int]:
    """Return the command `dlrun NAME` of an experiment; raise DlrunError if it cannot be loaded."""
    argument = registry.load_config_class(name).argument
    shown = typer.Argument(metavar=argument.metavar, help=argument.help) if argument else None

    @opt.with_run_options(*(option for option in opt.RUN_OPTIONS if option != "force"))
    def run(
        settings: RunSettings,
        items: Annotated[list[str] | None, shown] = None,
        slurm: opt.Slurm = None,
        wait: opt.Wait = False,
    ) -> int:
        if items and argument:
            values = [config_layer_without_file({argument.key: items}, argument.metavar)]
            settings = replace(settings, values=values)
        if opt.is_for_slurm(slurm, wait):
            return submit_run_to_slurm(name, settings, slurm or [], wait=wait)
        return run_experiment(name, settings)[0]

    if argument is None:
        parameters = inspect.signature(run).parameters.values()
        opt.set_parameters(run, [one for one in parameters if one.name != "items"])
    return run


@opt.with_run_options(
    *("accelerator", "no_fallback", "runs_dir", "data_dir", "summary", "force", "json", "quiet"),
    overrides=opt.set_option(CHANGEABLE),
)
def resume(settings: RunSettings, run: opt.Run) -> int:
    """Continue a run that was stopped, from its last finished epoch or lasso penalty.

    Example: dlrun resume latest --set trainer.max_epochs=40
    """
    return resume_run(run, settings)


@opt.with_run_options("config", "overrides")
def config(settings: RunSettings, experiment: Annotated[str, opt.Experiment]) -> None:
    """Print an experiment's resolved config as YAML.

    Example: dlrun config imdb-lstm --set batch_size=100 > mine.yaml
    """
    typer.echo(config_to_yaml(load_experiment_config(experiment, settings)), nl=False)
