"""Options and arguments shared by several commands, and the decorator that calls the work."""

import contextlib
import functools
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dlrun.errors import ConfigError
from dlrun.experiments import registry
from dlrun.system.accelerator import ACCELERATORS

if TYPE_CHECKING:
    from dlrun.run_context import RunSettings


def calls(function: str) -> Callable[[Callable[..., None]], Callable[..., object]]:
    """Return a decorator that lets a command call a function `module:name`, imported at the call.

    The function has the parameters of the command except `debug`, and returns the exit code or
    None. A missing option gets the default of the function.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., object]:
        @functools.wraps(command)
        def call(*, debug: bool, **parameters: object) -> object:
            given = {name: value for name, value in parameters.items() if value is not None}
            return pkgutil.resolve_name(function)(**given)

        return call

    return decorate


def option(help: str, metavar: str, *names: str, **settings: Any) -> Any:
    """Return a command option with a value; without names typer uses the parameter's name."""
    return typer.Option(*names, metavar=metavar, help=help, **settings)


def flag(help: str, *names: str, **settings: Any) -> Any:
    """Return a command option without a value, such as --quiet."""
    return typer.Option(*names, metavar="", help=help, **settings)


def completer(name: str) -> Callable[[typer.Context, str], list[str]]:
    """Return a completion function that imports its function of `cli/completion.py` when called.

    It offers nothing if the words typed so far are invalid; the command itself reports the error.
    """

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        with contextlib.suppress(Exception):
            return list(pkgutil.resolve_name(f"dlrun.cli.completion:{name}")(ctx, incomplete))
        return []

    return complete


def _overrides(help: str) -> Any:
    return option(help, "KEY=VALUE", "--set", autocompletion=completer("complete_settings"))


EXPERIMENTS = f"One of {', '.join(registry.experiment_names())}."
Experiment = typer.Argument(
    metavar="EXPERIMENT", help=EXPERIMENTS, autocompletion=registry.experiment_names
)
Experiments = typer.Argument(
    metavar="[EXPERIMENT ...]",
    help="Default: all that can.",
    autocompletion=registry.experiment_names,
)
RUN = "A run's folder, name or suffix; latest: the newest; EXPERIMENT/latest."
ACCELERATOR = "|".join(("auto", "cpu", *ACCELERATORS))
SLURM = "Submit it to SLURM: time (minutes), partition, cpus, mem, gpus, nodes, tasks, ..."
CHANGEABLE = "May change: trainer.max_epochs, accelerator, fallback, logger, where the data are."

Run = Annotated[
    str, typer.Argument(metavar="RUN", help=RUN, autocompletion=completer("complete_runs"))
]
ConfigFiles = Annotated[
    list[Path] | None,
    option("YAML over the defaults; repeatable, the later wins.", "FILE", "--config"),
]
Overrides = Annotated[list[str] | None, _overrides("One value, as in --set optimizer.lr=0.01.")]
DataOverrides = Annotated[list[str] | None, _overrides("A value of the data, as in the example.")]
ResumeOverrides = Annotated[list[str] | None, _overrides(CHANGEABLE)]
Accelerator = Annotated[
    str | None, option("Where to train; falls back to the CPU.", ACCELERATOR, "--accelerator")
]
NoFallback = Annotated[bool, flag("An accelerator that fails is an error.", "--no-fallback")]
RunsDir = Annotated[
    Path | None, option("Where run folders go (default: runs).", "DIR", envvar="DLRUN_RUNS_DIR")
]
DataDir = Annotated[
    Path | None, option("Where data are kept (default: data).", "DIR", envvar="DLRUN_DATA_DIR")
]
Name = Annotated[str | None, option("The run folder's suffix (default: random).", "NAME", "--name")]
Summary = Annotated[bool, flag("Show the network layer by layer.", "--summary")]
DryRun = Annotated[bool, flag("Check everything up to loading data.", "--dry-run")]
Force = Annotated[bool, flag("Continue even if code or packages have changed.", "--force")]
Replace = Annotated[bool, flag("Replace an existing file.", "--force")]
Slurm = Annotated[list[str] | None, option(SLURM, "KEY=VALUE,...", "--slurm")]
Wait = Annotated[bool, flag("With --slurm: wait for the job, and show its output.", "--wait")]
Json = Annotated[bool, flag("Print only the results, as JSON.", "--json")]
Quiet = Annotated[bool, flag("Show only results, warnings and errors.", "--quiet", "-q")]
Debug = Annotated[bool, flag("Show tracebacks.", "--debug")]
Seeds = option("3: seeds 0 to 2; 0-2: the same; 0,3,7: these.", "SEEDS")


def is_for_slurm(slurm: list[str] | None, wait: bool) -> bool:
    """Return whether to submit the run to SLURM. Raises ConfigError for --wait without --slurm."""
    if wait and slurm is None:
        raise ConfigError("--wait needs --slurm", "leave it out")
    return slurm is not None


def run_settings(
    *,
    config: list[Path] | None = None,
    overrides: list[str] | None = None,
    accelerator: str | None = None,
    no_fallback: bool = False,
    **settings: Any,
) -> "RunSettings":
    """Return the RunSettings of a command; --accelerator and --no-fallback become overrides."""
    from dlrun.run_context import RunSettings  # needs pydantic

    texts = list(overrides or [])
    if accelerator is not None:
        texts.append(f"accelerator={accelerator}")
    if no_fallback:
        texts.append("fallback=false")
    return RunSettings(config=config or [], overrides=texts, **settings)
