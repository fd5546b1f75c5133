"""Define options and arguments of several commands, and the decorator that adds run options."""

import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from dlrun.commands import tab_completion
from dlrun.errors import ConfigError
from dlrun.experiments import registry
from dlrun.run_context import RunSettings
from dlrun.system.accelerator import ACCELERATORS

Function = Callable[..., Any]


def option(help: str, metavar: str, *names: str, **settings: Any) -> Any:
    """Return a command option with a value; without names typer uses the parameter's name."""
    return typer.Option(*names, metavar=metavar, help=help, **settings)


def flag(help: str, *names: str) -> Any:
    """Return a command option without a value, such as --quiet."""
    return typer.Option(*names, metavar="", help=help)


def set_option(help: str) -> Any:
    """Return the annotation of the option --set, whose completion offers the config's keys."""
    settings = option(help, "KEY=VALUE", "--set", autocompletion=tab_completion.complete_settings)
    return Annotated[list[str] | None, settings]


ACCELERATOR = "|".join(("auto", "cpu", *ACCELERATORS))
SLURM = "Submit it to SLURM: time (minutes), partition, cpus, mem, gpus, nodes, tasks, ..."
RUN = "A run's folder, name or suffix; latest: the newest; EXPERIMENT/latest."

Experiment = typer.Argument(
    metavar="EXPERIMENT",
    help=f"One of {', '.join(registry.experiment_names())}.",
    autocompletion=registry.experiment_names,
)
Experiments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[EXPERIMENT ...]",
        help="Default: all that can.",
        autocompletion=registry.experiment_names,
    ),
]
ExperimentWithRuns = Annotated[
    str | None,
    typer.Argument(
        metavar="EXPERIMENT",
        help="Only its runs; default: all.",
        autocompletion=tab_completion.complete_experiments,
    ),
]
Run = Annotated[
    str, typer.Argument(metavar="RUN", help=RUN, autocompletion=tab_completion.complete_runs)
]
RunsDir = Annotated[
    Path | None, option("Where run folders go (default: runs).", "DIR", envvar="DLRUN_RUNS_DIR")
]
DataDir = Annotated[
    Path | None, option("Where data are kept (default: data).", "DIR", envvar="DLRUN_DATA_DIR")
]
Replace = Annotated[bool, flag("Replace an existing file.", "--force")]
Slurm = Annotated[list[str] | None, option(SLURM, "KEY=VALUE,...")]
Wait = Annotated[bool, flag("With --slurm: wait for the job, and show its output.", "--wait")]
Json = Annotated[bool, flag("Print only the results, as JSON.", "--json")]
Quiet = Annotated[bool, flag("Show only results, warnings and errors.", "--quiet", "-q")]
Seeds = option("3: seeds 0 to 2; 0-2: the same; 0,3,7: these.", "SEEDS")


# Options that become fields of RunSettings, by the field's name; the first three are in the config.
RUN_OPTIONS: dict[str, Any] = {
    "overrides": set_option("One value, as in --set optimizer.lr=0.01."),
    "accelerator": Annotated[
        str | None, option("Where to train; falls back to the CPU.", ACCELERATOR)
    ],
    "no_fallback": Annotated[bool, flag("An accelerator that fails is an error.", "--no-fallback")],
    "config": Annotated[
        list[Path] | None, option("YAML over the defaults; repeatable, the later wins.", "FILE")
    ],
    "name": Annotated[str | None, option("The run folder's suffix (default: random).", "NAME")],
    "summary": Annotated[bool, flag("Show the network layer by layer.", "--summary")],
    "dry_run": Annotated[bool, flag("Check everything up to loading data.", "--dry-run")],
    "force": Annotated[bool, flag("Continue even if code or packages have changed.", "--force")],
    "runs_dir": RunsDir,
    "data_dir": DataDir,
    "json": Json,
    "quiet": Quiet,
}


def with_run_options(*names: str, **own: Any) -> Callable[[Function], Function]:
    """Return a decorator that adds options to a command, whose function gets them as `settings`.

    Args:
        names: keys of RUN_OPTIONS.
        own: options whose help text differs for this command, by their key in RUN_OPTIONS.
    """
    options = {name: RUN_OPTIONS[name] for name in names} | own

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def command(**values: Any) -> Any:
            given = {name: value for name in options if (value := values.pop(name)) is not None}
            overrides = list(given.pop("overrides", ()))
            if "accelerator" in given:
                overrides.append(f"accelerator={given.pop('accelerator')}")
            if given.pop("no_fallback", False):
                overrides.append("fallback=false")
            return function(settings=RunSettings(overrides=overrides, **given), **values)

        parameters = dict(inspect.signature(function).parameters)
        del parameters["settings"]
        for name, annotation in options.items():
            parameters[name] = inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=False if get_args(annotation)[0] is bool else None,
                annotation=annotation,
            )
        return set_parameters(command, [*parameters.values()])

    return decorate


def set_parameters(function: Function, parameters: Sequence[inspect.Parameter]) -> Function:
    """Set the parameters of a function from which typer makes a command's options and arguments."""
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return function


def is_for_slurm(slurm: list[str] | None, wait: bool) -> bool:
    """Return whether to submit the run to SLURM. Raises ConfigError for --wait without --slurm."""
    if wait and slurm is None:
        raise ConfigError("--wait needs --slurm", "leave it out")
    return slurm is not None
