"""Options and arguments of several commands, and the decorator that adds a run's options."""

import functools
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from dlrun.commands import completion
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


def overrides(help: str) -> Any:
    """Return the option --set, whose completion offers the keys of the config."""
    return option(help, "KEY=VALUE", "--set", autocompletion=completion.complete_settings)


EXPERIMENTS = f"One of {', '.join(registry.experiment_names())}."
RUN = "A run's folder, name or suffix; latest: the newest; EXPERIMENT/latest."
ACCELERATOR = "|".join(("auto", "cpu", *ACCELERATORS))
SLURM = "Submit it to SLURM: time (minutes), partition, cpus, mem, gpus, nodes, tasks, ..."

Experiment = typer.Argument(
    metavar="EXPERIMENT", help=EXPERIMENTS, autocompletion=registry.experiment_names
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
        autocompletion=completion.complete_experiments,
    ),
]
Run = Annotated[
    str, typer.Argument(metavar="RUN", help=RUN, autocompletion=completion.complete_runs)
]
ConfigFiles = Annotated[
    list[Path] | None, option("YAML over the defaults; repeatable, the later wins.", "FILE")
]
Overrides = Annotated[list[str] | None, overrides("One value, as in --set optimizer.lr=0.01.")]
DataOverrides = Annotated[list[str] | None, overrides("A value of the data, as in the example.")]
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
    "overrides": Overrides,
    "accelerator": Annotated[
        str | None, option("Where to train; falls back to the CPU.", ACCELERATOR)
    ],
    "no_fallback": Annotated[bool, flag("An accelerator that fails is an error.", "--no-fallback")],
    "config": ConfigFiles,
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
        own: options with a help text of this command's own, also by their key in RUN_OPTIONS.
    """
    options = {name: RUN_OPTIONS[name] for name in names} | own

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def command(**values: Any) -> Any:
            given = {name: values.pop(name) for name in options}
            return function(settings=_run_settings(**given), **values)

        own_parameters = inspect.signature(function).parameters.values()
        added = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=False if get_args(option)[0] is bool else None,
                annotation=option,
            )
            for name, option in options.items()
        ]
        return set_parameters(command, [p for p in own_parameters if p.name != "settings"] + added)

    return decorate


def _run_settings(
    *,
    config: list[Path] | None = None,
    overrides: list[str] | None = None,
    accelerator: str | None = None,
    no_fallback: bool = False,
    **fields: Any,
) -> RunSettings:
    """Return the RunSettings of a command; --accelerator and --no-fallback become overrides."""
    texts = list(overrides or [])
    if accelerator is not None:
        texts.append(f"accelerator={accelerator}")
    if no_fallback:
        texts.append("fallback=false")
    return RunSettings(config=config or [], overrides=texts, **fields)


def set_parameters(function: Function, parameters: Sequence[inspect.Parameter]) -> Function:
    """Set the parameters of which typer makes a command's options and arguments."""
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return function


def is_for_slurm(slurm: list[str] | None, wait: bool) -> bool:
    """Return whether to submit the run to SLURM. Raises ConfigError for --wait without --slurm."""
    if wait and slurm is None:
        raise ConfigError("--wait needs --slurm", "leave it out")
    return slurm is not None
