"""Define options and arguments that several commands share, and shell completion of run names."""

import functools
import inspect
import itertools
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from dlrun import run_context
from dlrun.config.yaml_loader import ConfigLayer
from dlrun.errors import ConfigError, UsageError
from dlrun.experiments import registry
from dlrun.run_context import RunSettings
from dlrun.run_folder.find import run_name_without_time, runs_newest_first, sweeps_newest_first
from dlrun.run_folder.folder import PLAIN_NAME
from dlrun.system.accelerator import RequestedAccelerator

Function = Callable[..., Any]
NEWEST = 100  # runs offered at most


def complete_run_name(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return what Tab completes for a run: `latest`, then suffixes and names, newest first."""
    runs = _run_folders(ctx)[:NEWEST]
    experiments = sorted({folder.parent.name for folder in runs})
    latest = ["latest", *(f"{name}/latest" for name in experiments)] if runs else []
    return [*latest, *map(run_name_without_time, runs), *(folder.name for folder in runs)]


def complete_sweeps(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return what Tab completes for a sweep: the names of all sweeps, newest first."""
    runs_dir = run_context.resolve_runs_dir(ctx.params.get("runs_dir"))
    return [folder.name for folder in sweeps_newest_first(runs_dir)[:NEWEST]]


def complete_experiments(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return what Tab completes for an experiment: the names of those that have runs."""
    return sorted({folder.parent.name for folder in _run_folders(ctx)})


def _run_folders(ctx: typer.Context) -> list[Path]:
    """Return the folders of runs, newest first, without names that a shell could execute."""
    runs = runs_newest_first(run_context.resolve_runs_dir(ctx.params.get("runs_dir")))
    return [run for run in runs if all(map(PLAIN_NAME.fullmatch, run.parts[-2:]))]


def option(help: str, metavar: str, *names: str, **settings: Any) -> Any:
    """Return a typer option that has a value; without names typer uses the parameter's name."""
    return typer.Option(*names, metavar=metavar, help=help, **settings)


def argument(help: str, metavar: str, complete: Function | None = None) -> Any:
    """Return a typer argument of a command; `complete` returns what a shell offers for it."""
    return typer.Argument(metavar=metavar, help=help, autocompletion=complete)


def flag(help: str, *names: str) -> object:
    """Return a typer option without a value, such as --quiet."""
    return typer.Option(*names, help=help)


def optional(kind: Any, help: str, metavar: str, *names: str) -> object:
    """Return the type annotation of an option that may be left out: its value is then None."""
    return Annotated[kind | None, option(help, metavar, *names)]


def set_option(help: str) -> object:
    """Return the type annotation of the option --set KEY=VALUE."""
    return optional(list[str], help, "KEY=VALUE", "--set")


ACCELERATOR = "|".join(get_args(RequestedAccelerator))
SLURM = "Submit it to SLURM: time (minutes), partition, cpus, mem, gpus, tasks, ..."
RUN = "A run's folder, name or suffix; latest: the newest; EXPERIMENT/latest."

EXPERIMENTS = f"One of {', '.join(registry.experiment_names())}."
Experiment = argument(EXPERIMENTS, "EXPERIMENT", registry.experiment_names)
Experiments = Annotated[
    list[str] | None,
    argument("Default: all that can.", "EXPERIMENT", registry.experiment_names),
]
ExperimentWithRuns = Annotated[
    str | None, argument("Only its runs; default: all.", "EXPERIMENT", complete_experiments)
]
Run = Annotated[str, argument(RUN, "RUN", complete_run_name)]
RunsOrAll = Annotated[
    list[str] | None,
    argument(f"{RUN} Or a folder of runs; default: all.", "RUN", complete_run_name),
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
    "config": optional(list[Path], "YAML over the defaults; repeatable, the later wins.", "FILE"),
    "overrides": set_option("One value, as in --set optimizer.lr=0.01."),
    "accelerator": optional(str, "Where to train; falls back to the CPU.", ACCELERATOR),
    "no_fallback": Annotated[bool, flag("An accelerator that fails is an error.", "--no-fallback")],
    "runs_dir": RunsDir,
    "data_dir": DataDir,
    "name": optional(str, "The run folder's suffix (default: random).", "NAME"),
    "note": optional(str, "Why the run is done; may change later.", "TEXT"),
    "tags": optional(list[str], "A word to find the run by; repeatable.", "TAG", "--tag"),
    "summary": Annotated[bool, flag("Show the model, as in summary.txt.", "--summary")],
    "dry_run": Annotated[bool, flag("Check everything up to loading data.", "--dry-run")],
    "force": Annotated[bool, flag("Continue even if code or packages have changed.", "--force")],
    "json": Json,
    "quiet": Quiet,
}


def with_run_options(*names: str, **own: object) -> Callable[[Function], Function]:
    """Return a decorator that adds options to a command and passes them on as RunSettings.

    A command with --set also takes KEY=VALUE, unless its function has a parameter `words`. `own`:
    options with a help text of this command.
    """
    options = {name: RUN_OPTIONS[name] for name in names} | own

    def decorate(function: Function) -> Function:
        parameters = dict(inspect.signature(function).parameters)
        takes_words = "overrides" in options and "words" not in parameters

        @functools.wraps(function)
        def command(**values: Any) -> Any:
            chosen = {name: value for name in options if (value := values.pop(name)) is not None}
            flags = ["fallback=false"] if chosen.pop("no_fallback", False) else []
            if accelerator := chosen.pop("accelerator", None):
                flags.append(f"accelerator={accelerator}")
            overrides = join_settings(chosen.pop("overrides", ()), flags)
            if takes_words:
                overrides = join_settings(check_settings(values.pop("words") or ()), overrides)
            return function(settings=RunSettings(overrides=overrides, **chosen), **values)

        del parameters["settings"]
        arguments: dict[str, Any] = {"words": Words} if takes_words else {}
        keyword = functools.partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY)
        for name, annotation in (arguments | options).items():
            default = False if bool in get_args(annotation) else None
            parameters[name] = keyword(name, default=default, annotation=annotation)
        signature = inspect.Signature([*parameters.values()])
        vars(command)["__signature__"] = signature  # typer reads it
        return command

    return decorate


def join_settings(words: Sequence[str], others: Sequence[str]) -> list[str]:
    """Join KEY=VALUE arguments with those of --set; raise UsageError if both set a key."""
    for word, other in itertools.product(words, others):
        keys = sorted(setting.partition("=")[0] for setting in (word, other))
        if f"{keys[1]}.".startswith(f"{keys[0]}."):
            raise UsageError(f"{word} and {other}: two ways to set {keys[1]}", "leave one out")
    return [*words, *others]


def is_setting(word: str) -> bool:
    """Return whether an argument is KEY=VALUE, rather than the path of a file with a `=`."""
    return re.match(r"[\w.]+=", word) is not None and not os.path.lexists(word)


def divide_words(experiment: str, words: Sequence[str] | None) -> tuple[list[str], ConfigLayer]:
    """Divide an experiment's arguments into KEY=VALUE texts and the config values of the others."""
    takes = registry.load_config_class(experiment).argument is not None
    settings = [word for word in words or () if is_setting(word) or ("=" in word and not takes)]
    others = [word for word in words or () if word not in settings]
    return check_settings(settings), registry.layer_of_arguments(experiment, others)


def add_arguments_to_settings(
    settings: RunSettings, experiment: str, words: Sequence[str] | None
) -> RunSettings:
    """Add the config values in an experiment's arguments to settings; raise UsageError if wrong."""
    values, layer = divide_words(experiment, words)
    return replace(settings, overrides=join_settings(values, settings.overrides), values=[layer])


def check_settings(words: Sequence[str]) -> list[str]:
    """Return arguments as they are; raise UsageError for one that is not KEY=VALUE."""
    for word in words:
        if "=" not in word:
            hint = "config values are KEY=VALUE, such as seed=3"
            raise UsageError(f"unexpected argument {word!r}", hint)
    return [*words]


def is_for_slurm(slurm: list[str] | None, wait: bool) -> bool:
    """Return whether --slurm asks for a SLURM job; raise ConfigError for --wait without it."""
    if wait and slurm is None:
        raise ConfigError("--wait needs --slurm", "leave it out")
    return slurm is not None
