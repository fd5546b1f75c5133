"""`dlrun <experiment>`: one command for every experiment that is installed."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from dlrun.cli import options as opt

if TYPE_CHECKING:
    from dlrun.config.sections import Argument

ITEMS = "items"


def command(name: str, argument: "Argument | None" = None) -> Callable[..., None]:
    """The function behind `dlrun <name>`; `argument` says what it takes beside options."""

    def run(
        items: list[str] | None = None,
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
        from dlrun.runs.settings import RunSettings
        from dlrun.runs.start import run_experiment

        options = RunSettings(
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
        if items and argument is not None:
            values = [layer_from_values({argument.key: items}, argument.metavar)]
            options = replace(options, values=values)
        if opt.is_for_slurm(slurm, wait):
            from dlrun.slurm import submit

            raise typer.Exit(submit.submit_run(name, options, slurm or [], wait=wait))
        exit_code, _ = run_experiment(name, options)
        raise typer.Exit(exit_code)

    _take(run, argument)
    return run


def _take(run: Callable[..., None], argument: "Argument | None") -> None:
    """Give the function's first parameter the experiment's words, or take it away."""
    signature = inspect.signature(run)
    parameters = dict(signature.parameters)
    items = parameters.pop(ITEMS)
    if argument is not None:
        about = typer.Argument(metavar=argument.metavar, help=argument.help)
        items = items.replace(annotation=Annotated[list[str] | None, about])
        run.__annotations__[ITEMS] = items.annotation
        parameters = {ITEMS: items, **parameters}
    run.__signature__ = signature.replace(parameters=list(parameters.values()))  # type: ignore[attr-defined]
