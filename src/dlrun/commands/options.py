"""Define options and arguments that several commands share."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from dlrun.errors import ConfigError
from dlrun.experiments.arguments import divide_arguments
from dlrun.experiments.registry import experiment_names
from dlrun.runs.options import RunSettings
from dlrun.system.accelerator import RequestedAccelerator

Function = Callable[..., Any]


def option(help: str, metavar: str, *names: str, **typer_options: Any) -> Any:
    """Return a typer option that has a value; without names typer uses the parameter's name."""
    return typer.Option(*names, metavar=metavar, help=help, **typer_options)


def argument(help: str, metavar: str, complete: Function | None = None) -> Any:
    """Return a typer argument of a command; `complete` returns what a shell offers for it."""
    return typer.Argument(metavar=metavar, help=help, autocompletion=complete)


def flag(help: str, *names: str) -> object:
    """Return a typer option without a value, such as --quiet."""
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
RunsDir = Annotated[
    Path | None, option("Where run folders go (default: runs).", "DIR", envvar="DLRUN_RUNS_DIR")
]
DataDir = Annotated[
    Path | None, option("Where data are kept (default: data).", "DIR", envvar="DLRUN_DATA_DIR")
]
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

# Options that become fields of RunSettings, by the field's name, in the order of the help.
RUN_OPTIONS: dict[str, object] = {
    "config": Annotated[
        list[Path] | None, option("YAML over the defaults; repeatable, the later wins.", "FILE")
    ],
    "overrides": Annotated[
        list[str] | None, option("One value, as in --set optimizer.lr=0.01.", "KEY=VALUE", "--set")
    ],
    "accelerator": Annotated[
        str | None,
        option("Where to train; falls back to the CPU.", "|".join(get_args(RequestedAccelerator))),
    ],
    "no_fallback": Annotated[bool, flag("An accelerator that fails is an error.", "--no-fallback")],
    "runs_dir": RunsDir,
    "data_dir": DataDir,
    "name": Annotated[str | None, option("The run folder's suffix (default: random).", "NAME")],
    "note": Annotated[str | None, option("Why the run is done; may change later.", "TEXT")],
    "tags": Annotated[
        list[str] | None, option("A word to find the run by; repeatable.", "TAG", "--tag")
    ],
    "summary": Annotated[bool, flag("Show the model, as in summary.txt.", "--summary")],
    "dry_run": Annotated[bool, flag("Check everything up to loading data.", "--dry-run")],
    "force": Annotated[bool, flag("Continue even if code or packages have changed.", "--force")],
    "json": Json,
    "quiet": Quiet,
}


def with_run_options(*names: str, **own: object) -> Callable[[Function], Function]:
    """Return a decorator that gives a command options in place of its `settings: RunSettings`.

    names: of RUN_OPTIONS. own: type annotations of other options, by the field of RunSettings. A
    field keeps its default if its option is not given.
    """
    options = {name: RUN_OPTIONS[name] for name in names} | own

    def decorate(function: Function) -> Function:
        parameters = dict(inspect.signature(function).parameters)
        del parameters["settings"]
        kind = inspect.Parameter.KEYWORD_ONLY
        for name, annotation in options.items():
            parameters[name] = inspect.Parameter(name, kind, default=None, annotation=annotation)

        @functools.wraps(function)
        def command(**values: Any) -> Any:
            chosen = {name: value for name in options if (value := values.pop(name)) is not None}
            return function(settings=_make_run_settings(chosen), **values)

        signature = inspect.Signature([*parameters.values()])
        vars(command)["__signature__"] = signature  # typer reads it
        return command

    return decorate


def _make_run_settings(chosen: dict[str, Any]) -> RunSettings:
    """Return a command's options as RunSettings; those of the accelerator become overrides."""
    overrides = [*chosen.pop("overrides", ())]
    if chosen.pop("no_fallback", False):
        overrides.append("fallback=false")
    if accelerator := chosen.pop("accelerator", None):
        overrides.append(f"accelerator={accelerator}")
    return RunSettings(overrides=overrides, **chosen)


def add_arguments_to_settings(
    settings: RunSettings, experiment: str, words: Sequence[str] | None
) -> RunSettings:
    """Add an experiment's arguments to settings; --set wins over KEY=VALUE, a path over both."""
    overrides, layer = divide_arguments(experiment, words)
    return replace(settings, overrides=[*overrides, *settings.overrides], values=[layer])


def is_for_slurm(slurm: list[str] | None, wait: bool) -> bool:
    """Return whether --slurm asks for a SLURM job; raise ConfigError for --wait without it."""
    if wait and slurm is None:
        raise ConfigError("--wait needs --slurm", "leave it out")
    return slurm is not None
