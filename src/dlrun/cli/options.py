"""Define options and arguments that several commands share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from dlrun.config.yaml_loader import (
    ConfigLayer,
    config_layers_from_settings,
    parse_set_overrides,
)
from dlrun.errors import ConfigError
from dlrun.experiments.registry import experiment_names
from dlrun.system.accelerator import RequestedAccelerator

Function = Callable[..., Any]


def option(help: str, metavar: str, *names: str, **typer_options: Any) -> Any:
    """Without names, typer uses the parameter's name."""
    return typer.Option(*names, metavar=metavar, help=help, **typer_options)


def argument(help: str, metavar: str, complete: Function | None = None) -> Any:
    """A shell offers what `complete` returns."""
    return typer.Argument(metavar=metavar, help=help, autocompletion=complete)


def flag(help: str, *names: str) -> object:
    return typer.Option(*names, help=help)


EXPERIMENT_HELP = f"One of {', '.join(experiment_names())}."
RUN_HELP = "A run's folder, name or suffix; latest: the newest; EXPERIMENT/latest."
SLURM_HELP = "Submit it to SLURM: time (minutes), partition, cpus, mem, gpus, account, ..."

EXPERIMENT_ARGUMENT = argument(EXPERIMENT_HELP, "EXPERIMENT", experiment_names)
SETTINGS_ARGUMENT = argument("Config values, each as by --set.", "KEY=VALUE")
ExperimentNames = Annotated[
    list[str] | None,
    argument("Default: all with published numbers.", "EXPERIMENT", experiment_names),
]
ExperimentWithRuns = Annotated[
    str | None, argument("Only its runs; default: all.", "EXPERIMENT", experiment_names)
]
RunName = Annotated[str, argument(RUN_HELP, "RUN")]
RunsOrAll = Annotated[
    list[str] | None, argument(f"{RUN_HELP} Or a folder of runs; default: all.", "RUN")
]
SettingWords = Annotated[list[str] | None, SETTINGS_ARGUMENT]
Config = Annotated[
    list[Path] | None, option("YAML over the defaults; repeatable, the later wins.", "FILE")
]
Overrides = Annotated[
    list[str] | None, option("One value, as in --set optimizer.lr=0.01.", "KEY=VALUE", "--set")
]
Accelerator = Annotated[
    str | None,
    option("Where to train; falls back to the CPU.", "|".join(get_args(RequestedAccelerator))),
]
NoFallback = Annotated[bool, flag("An accelerator that fails is an error.", "--no-fallback")]
RunsDir = Annotated[
    Path | None, option("Where run folders go (default: runs).", "DIR", envvar="DLRUN_RUNS_DIR")
]
DataDir = Annotated[
    Path | None, option("Where data are kept (default: data).", "DIR", envvar="DLRUN_DATA_DIR")
]
Note = Annotated[str | None, option("Why the run is done; may change later.", "TEXT")]
Tags = Annotated[list[str] | None, option("A word to find the run by; repeatable.", "TAG", "--tag")]
Schema = Annotated[bool, flag("Print the JSON Schema of its config files.", "--schema")]
Summary = Annotated[
    bool, flag("Show the model and the columns, as in summary.txt.", "--summary", "-v")
]
Force = Annotated[bool, flag("Continue even if code or packages have changed.", "--force")]
Replace = Annotated[bool, flag("Replace an existing file.", "--force")]
# An earlier page of the command is replaced without it.
ReplaceOther = Annotated[bool, flag("Replace another file.", "--force")]
Slurm = Annotated[list[str] | None, option(SLURM_HELP, "KEY=VALUE,...")]
Wait = Annotated[bool, flag("With --slurm: wait for the job, and show its output.", "--wait")]
Json = Annotated[bool, flag("Print only the results, as JSON.", "--json")]
Quiet = Annotated[bool, flag("Show only results, warnings and errors.", "--quiet", "-q")]
Jobs = Annotated[
    int | None,
    option("Runs at once (default: as many as fit).", "N", "--jobs", "-j", min=1, max=256),
]


def parse_values(
    words: Sequence[str] | None,
    overrides: Sequence[str] | None,
    accelerator: str | None = None,
    *,
    no_fallback: bool = False,
) -> list[ConfigLayer]:
    """Parse the config values of a command line; a later value wins.

    words: arguments KEY=VALUE. overrides: the texts of `--set`. Raises ConfigError with an error
    for each text that is not KEY=VALUE.
    """
    layers = parse_set_overrides([*(words or ()), *(overrides or ())])
    chosen: dict[str, object] = {}
    if no_fallback:
        chosen["fallback"] = False
    if accelerator is not None:
        chosen["accelerator"] = accelerator
    return layers + config_layers_from_settings(chosen)


def is_for_slurm(slurm: list[str] | None, wait: bool) -> bool:
    """Say whether a command submits a SLURM job. Raises ConfigError for --wait without --slurm."""
    if wait and slurm is None:
        raise ConfigError("--wait needs --slurm", "leave it out")
    return slurm is not None
