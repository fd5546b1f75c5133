"""`dlrun EXPERIMENT`: start a run."""

from collections.abc import Callable
from typing import Annotated

from dlrun.commands import options as opt
from dlrun.experiments import registry
from dlrun.experiments.running import run_experiment
from dlrun.runs.options import RunSettings
from dlrun.slurm.submit import submit_run


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
