"""Commands about experiments: run one, print its config, time it, run all of them, write one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlrun.cli import options as opt
from dlrun.commands.new import new as new_package
from dlrun.experiments import registry

if TYPE_CHECKING:
    from dlrun.config.sections import Argument


def command(name: str) -> Callable[..., None]:
    """Return the function behind `dlrun NAME`, where NAME is an experiment."""

    def run(
        items: Annotated[list[str] | None, typer.Argument()] = None,
        config: opt.ConfigFiles = None,
        set_: opt.Overrides = None,
        accelerator: opt.Accelerator = None,
        no_fallback: opt.NoFallback = False,
        runs_dir: opt.RunsDir = None,
        data_dir: opt.DataDir = None,
        run_name: opt.Name = None,
        summary: opt.Summary = False,
        dry_run: opt.DryRun = False,
        slurm: opt.Slurm = None,
        wait: opt.Wait = False,
        json: opt.Json = False,
        quiet: opt.Quiet = False,
        debug: opt.Debug = False,
    ) -> None:
        from dlrun.config.yaml_loader import layer_from_values  # needs pydantic
        from dlrun.run_context import RunSettings
        from dlrun.runs.start import run_experiment

        settings = RunSettings(
            config=config or [],
            overrides=opt.overrides(set_, accelerator, no_fallback),
            runs_dir=runs_dir,
            data_dir=data_dir,
            name=run_name,
            summary=summary,
            dry_run=dry_run,
            json=json,
            quiet=quiet,
        )
        if items and (argument := registry.config_class(name).argument):
            values = [layer_from_values({argument.key: items}, argument.metavar)]
            settings = replace(settings, values=values)
        if opt.is_for_slurm(slurm, wait):
            from dlrun.slurm import submit

            raise typer.Exit(submit.submit_run(name, settings, slurm or [], wait=wait))
        exit_code, _ = run_experiment(name, settings)
        raise typer.Exit(exit_code)

    return run


def set_arguments(command: Any, argument: "Argument | None") -> None:
    """Describe an experiment's positional arguments in its command, or remove them if None."""
    (items,) = [param for param in command.params if param.name == "items"]
    if argument is None:
        command.params.remove(items)
    else:
        items.metavar, items.help = argument.metavar, argument.help


def config(
    experiment: Annotated[str, opt.Experiment],
    config: opt.ConfigFiles = None,
    set_: opt.Overrides = None,
    debug: opt.Debug = False,
) -> None:
    """Print an experiment's resolved config as YAML.

    Example: dlrun config imdb-lstm --set batch_size=100 > mine.yaml
    """
    from dlrun.config.validation import to_yaml  # needs pydantic
    from dlrun.run_context import RunSettings
    from dlrun.runs.start import load_config

    settings = RunSettings(config=config or [], overrides=set_ or [])
    typer.echo(to_yaml(load_config(experiment, settings)), nl=False)


def accelerators(
    experiment: Annotated[
        str | None,
        typer.Argument(
            metavar="[EXPERIMENT]",
            help="Time an epoch of it on each available device.",
            autocompletion=registry.names,
        ),
    ] = None,
    config: opt.ConfigFiles = None,
    set_: opt.Overrides = None,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """List this machine's accelerators, why others are missing, and how fast they are.

    Example: dlrun accelerators cifar100 --set data.source=sample
    """
    from dlrun.commands import accelerators  # needs torch
    from dlrun.run_context import RunSettings

    settings = RunSettings(
        config=config or [], overrides=set_ or [], runs_dir=runs_dir, data_dir=data_dir, quiet=quiet
    )
    accelerators.accelerators(experiment, settings)


def demo(
    experiments: Annotated[list[str] | None, opt.Experiments] = None,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
    debug: opt.Debug = False,
) -> None:
    """Run every experiment on generated or shipped data, without a download.

    Example: dlrun demo --runs-dir demo-runs
    """
    from dlrun.commands.demo import demo  # needs pydantic

    raise typer.Exit(demo(experiments or [], runs_dir, data_dir))


def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="As in my-experiment.")],
    into: Annotated[Path, opt.option("Where the package's folder goes.", "DIR")] = Path(),
    debug: opt.Debug = False,
) -> None:
    """Write a package with an experiment of your own: code, configs, and a test that passes.

    Example: dlrun new my-experiment
    """
    parent: Any = context.parent
    new_package(name, into, parent.command.list_commands(parent))
