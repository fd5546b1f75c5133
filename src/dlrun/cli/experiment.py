"""Make the command `dlrun EXPERIMENT`, which starts a run of an experiment."""

from collections.abc import Callable
from typing import Annotated

from dlrun.cli import options as opt
from dlrun.experiments.arguments import divide_arguments
from dlrun.experiments.registry import find_experiment
from dlrun.experiments.running import run_experiment
from dlrun.runs.notes import RunNotes
from dlrun.runs.options import RunOptions
from dlrun.slurm.submit import parse_slurm_options, submit_run


def make_experiment_command(name: str) -> Callable[..., int]:
    """Make the function of `dlrun EXPERIMENT`.

    Raises DlrunError if the experiment cannot be loaded.
    """
    experiment = find_experiment(name)
    argument = experiment.argument
    shown = opt.SETTINGS_ARGUMENT
    if argument is not None:
        about = f"{argument.help} KEY=VALUE is a config value, unless there is such a file."
        shown = opt.argument(about, argument.metavar)

    def run(
        words: Annotated[list[str] | None, shown] = None,
        slurm: opt.Slurm = None,
        wait: opt.Wait = False,
        config: opt.Config = None,
        overrides: opt.Overrides = None,
        accelerator: opt.Accelerator = None,
        no_fallback: opt.NoFallback = False,
        runs_dir: opt.RunsDir = None,
        data_dir: opt.DataDir = None,
        name: Annotated[
            str | None, opt.option("The run folder's suffix (default: random).", "NAME")
        ] = None,
        note: opt.Note = None,
        tags: opt.Tags = None,
        summary: opt.Summary = False,
        dry_run: Annotated[
            bool, opt.flag("Check everything up to loading data.", "--dry-run")
        ] = False,
        json: opt.Json = False,
        quiet: opt.Quiet = False,
    ) -> int:
        named, layer = divide_arguments(experiment, words)
        options = RunOptions(
            config=config or (),
            values=[
                *opt.parse_values(named, overrides, accelerator, no_fallback=no_fallback),
                layer,
            ],
            runs_dir=runs_dir,
            data_dir=data_dir,
            name=name,
            notes=RunNotes().changed(note, add=tags or ()),
            summary=summary,
            dry_run=dry_run,
            json=json,
            quiet=quiet,
        )
        if opt.is_for_slurm(slurm, wait):
            return submit_run(experiment, options, parse_slurm_options(slurm or []), wait=wait)
        return run_experiment(experiment, options)[0]

    run.__doc__ = experiment.shipped.help
    return run
