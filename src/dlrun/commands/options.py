"""Define options and arguments that several commands share, and read KEY=VALUE arguments."""

import functools
import inspect
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from dlrun.config.yaml_loader import ConfigLayer
from dlrun.errors import ConfigError
from dlrun.experiments import registry
from dlrun.run_context import RunSettings
from dlrun.system.accelerator import RequestedAccelerator

Function = Callable[..., Any]


def option(help: str, metavar: str, *names: str, **settings: Any) -> Any:
    """Return a typer option that has a value; without names typer uses the parameter's name."""
    return typer.Option(*names, metavar=metavar, help=help, **settings)


def argument(help: str, metavar: str, complete: Function | None = None) -> Any:
    """Return a typer argument of a command; `complete` returns what a shell offers for it."""
    return typer.Argument(metavar=metavar, help=help, autocompletion=complete)


def flag(help: str, *names: str) -> object:
    """Return a typer option without a value, such as --quiet."""
    return typer.Option(*names, help=help)


def optional_option(kind: Any, help: str, metavar: str, *names: str) -> object:
    """Return the type annotation of an option that may be left out: its value is then None."""
    return Annotated[kind | None, option(help, metavar, *names)]


ACCELERATOR = "|".join(get_args(RequestedAccelerator))
SLURM = "Submit it to SLURM: time (minutes), partition, cpus, mem, gpus, account, ..."
RUN = "A run's folder, name or suffix; latest: the newest; EXPERIMENT/latest."

EXPERIMENTS = f"One of {', '.join(registry.experiment_names())}."
Experiment = argument(EXPERIMENTS, "EXPERIMENT", registry.experiment_names)
Experiments = Annotated[
    list[str] | None,
    argument("Default: all that can.", "EXPERIMENT", registry.experiment_names),
]
ExperimentWithRuns = Annotated[
    str | None,
    argument("Only its runs; default: all.", "EXPERIMENT", registry.experiment_names),
]
Run = Annotated[str, argument(RUN, "RUN")]
RunsOrAll = Annotated[
    list[str] | None, argument(f"{RUN} Or a folder of runs; default: all.", "RUN")
]
SETTINGS = argument("Config values, each as by --set.", "KEY=VALUE")
Words = Annotated[list[str] | None, SETTINGS]
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
Jobs = Annotated[
    int | None,
    option("Runs at once (default: as many as fit).", "N", "--jobs", "-j", min=1, max=256),
]
Seeds = option("3: seeds 0 to 2; 0-2: the same; 0,3,7: these.", "SEEDS")


# Options that become fields of RunSettings, by the field's name, in the order of the help. The two
# of the accelerator become overrides.
RUN_OPTIONS: dict[str, object] = {
    "config": optional_option(
        list[Path], "YAML over the defaults; repeatable, the later wins.", "FILE"
    ),
    "overrides": optional_option(
        list[str], "One value, as in --set optimizer.lr=0.01.", "KEY=VALUE", "--set"
    ),
    "accelerator": optional_option(str, "Where to train; falls back to the CPU.", ACCELERATOR),
    "no_fallback": Annotated[bool, flag("An accelerator that fails is an error.", "--no-fallback")],
    "runs_dir": RunsDir,
    "data_dir": DataDir,
    "name": optional_option(str, "The run folder's suffix (default: random).", "NAME"),
    "note": optional_option(str, "Why the run is done; may change later.", "TEXT"),
    "tags": optional_option(list[str], "A word to find the run by; repeatable.", "TAG", "--tag"),
    "summary": Annotated[bool, flag("Show the model, as in summary.txt.", "--summary")],
    "dry_run": Annotated[bool, flag("Check everything up to loading data.", "--dry-run")],
    "force": Annotated[bool, flag("Continue even if code or packages have changed.", "--force")],
    "json": Json,
    "quiet": Quiet,
}


def with_run_options(*names: str, **own: object) -> Callable[[Function], Function]:
    """Return a decorator that adds options to a command and passes them on as RunSettings.

    `own`: options with a help text of this command.
    """
    options = {name: RUN_OPTIONS[name] for name in names} | own

    def decorate(function: Function) -> Function:
        parameters = dict(inspect.signature(function).parameters)

        @functools.wraps(function)
        def command(**values: Any) -> Any:
            chosen = {name: value for name in options if (value := values.pop(name)) is not None}
            flags = ["fallback=false"] if chosen.pop("no_fallback", False) else []
            if accelerator := chosen.pop("accelerator", None):
                flags.append(f"accelerator={accelerator}")
            overrides = [*chosen.pop("overrides", ()), *flags]
            return function(settings=RunSettings(overrides=overrides, **chosen), **values)

        del parameters["settings"]
        keyword = functools.partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY)
        for name, annotation in options.items():
            default = False if bool in get_args(annotation) else None
            parameters[name] = keyword(name, default=default, annotation=annotation)
        signature = inspect.Signature([*parameters.values()])
        vars(command)["__signature__"] = signature  # typer reads it
        return command

    return decorate


def divide_arguments(experiment: str, words: Sequence[str] | None) -> tuple[list[str], ConfigLayer]:
    """Divide an experiment's arguments into KEY=VALUE texts and the config values of the others."""
    takes_paths = registry.load_config_class(experiment).argument is not None

    def is_setting(word: str) -> bool:
        """Return whether a word is KEY=VALUE, and not a file whose name has a `=`."""
        if not takes_paths:
            return "=" in word
        return re.match(r"[\w.]+=", word) is not None and not os.path.lexists(word)

    settings = [word for word in words or () if is_setting(word)]
    others = [word for word in words or () if word not in settings]
    return settings, registry.config_layer_of_arguments(experiment, others)


def add_arguments_to_settings(
    settings: RunSettings, experiment: str, words: Sequence[str] | None
) -> RunSettings:
    """Add the config values in an experiment's arguments to settings, of which --set wins."""
    values, layer = divide_arguments(experiment, words)
    return replace(settings, overrides=[*values, *settings.overrides], values=[layer])


def is_for_slurm(slurm: list[str] | None, wait: bool) -> bool:
    """Return whether --slurm asks for a SLURM job; raise ConfigError for --wait without it."""
    if wait and slurm is None:
        raise ConfigError("--wait needs --slurm", "leave it out")
    return slurm is not None
