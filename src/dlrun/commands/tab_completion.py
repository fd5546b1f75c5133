"""Offer values of options and arguments when the user presses the tab key in a shell.

A function that raises an exception offers nothing: the command itself will report the error.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

import typer

from dlrun import run_context
from dlrun.config.validation import allowed_config_values
from dlrun.experiments import registry
from dlrun.experiments.saved_run import RUNTIME_KEYS, Run
from dlrun.run_folder.find import run_name_without_time, runs_newest_first, sweeps_newest_first
from dlrun.run_folder.folder import PLAIN_NAME

NEWEST = 100  # runs offered at most
# bash splits `--set KEY=VALUE` at the `=` into words, here lines.
SPLIT_SETTING = re.compile(r"(\n--(?:set|grid|space)\n[^\n=]+)\n=(?:\n|$)")
TYPED_SETTING = re.compile(r"\n--(?:set|grid|space)\n([^\n=]+)=([^\n]*)$")
_typed_key = ""  # bash: the key before the `=` whose value is being typed


def rejoin_completion_words() -> None:
    """Join `--set KEY=VALUE`, which bash splits at `=`, before typer reads the words.

    Only the value is left of the setting that is being typed, because bash replaces only that.
    """
    global _typed_key  # noqa: PLW0603
    words = os.environ["COMP_WORDS"].split("\n")[: int(os.environ["COMP_CWORD"]) + 1]
    line = SPLIT_SETTING.sub(r"\1=", "\n".join(words))
    if "=" in words[-2:] and (typed := TYPED_SETTING.search(line)):
        _typed_key = typed[1]
        line = line[: typed.start(1)] + typed[2]
    os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = line, str(line.count("\n"))


def complete_runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the tab completions of a run: `latest`, then suffixes and names, newest first."""
    folders = _run_folders(ctx)
    latest = (
        ["latest", *(f"{name}/latest" for name in complete_experiments(ctx, ""))] if folders else []
    )
    newest = folders[:NEWEST]
    return [*latest, *map(run_name_without_time, newest), *(folder.name for folder in newest)]


def complete_sweeps(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the tab completions of a sweep: the names of all sweeps, newest first."""
    return [folder.name for folder in sweeps_newest_first(_runs_dir(ctx))[:NEWEST]]


def complete_experiments(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the tab completions of an experiment: the names of those that have runs."""
    return sorted({folder.parent.name for folder in _run_folders(ctx)})


def complete_settings(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the tab completions of a setting: keys followed by `=`, or values after `KEY=`."""
    name = str(ctx.info_name)
    # No argument is parsed while an option has no value yet.
    if name not in registry.experiment_names():
        name = str(ctx.args[0])
        if "run" in ctx.params:
            name = Run.open(name, _runs_dir(ctx)).record.experiment
    config = registry.load_config_class(name)
    key, equals, _ = incomplete.partition("=")
    if _typed_key or equals:
        key = _typed_key or key
        values = config.suggestions(key) or allowed_config_values(config, key)
        return [value if _typed_key else f"{key}={value}" for value in values]
    keys: Iterable[str] = registry.shipped_values(name)
    if "run" in ctx.params:
        keys = sorted(config.changeable_keys | RUNTIME_KEYS)
    return [f"{one}=" for one in keys if not one.startswith("reference.")]


def _run_folders(ctx: typer.Context) -> list[Path]:
    """Return the folders of runs, newest first, without names that a shell could execute.

    zsh evaluates the completions, and bash inserts them unquoted.
    """
    folders = runs_newest_first(_runs_dir(ctx))
    return [one for one in folders if all(map(PLAIN_NAME.fullmatch, one.parts[-2:]))]


def _runs_dir(ctx: typer.Context) -> Path:
    return run_context.resolve_runs_dir(ctx.params.get("runs_dir"))
