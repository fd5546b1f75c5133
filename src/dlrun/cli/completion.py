"""Shell completion: the values that a shell offers while a word is typed, without slow imports.

options.completer() imports this module only if a shell asks: it needs pydantic.
"""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import typer

from dlrun import run_context
from dlrun.config.validation import allowed_values
from dlrun.experiments import registry
from dlrun.experiments.run import RUNTIME_KEYS, Run
from dlrun.run_folder.find import find_run, newest_runs, newest_sweeps, run_suffix
from dlrun.run_folder.folder import PLAIN_NAME

NEWEST = 100  # runs that are offered
# bash splits `--set KEY=VALUE` at the `=` into words, here lines.
SPLIT_SETTING = re.compile(r"(\n--(?:set|grid|space)\n[^\n=]+)\n=(?:\n|$)")
TYPED_SETTING = re.compile(r"\n--(?:set|grid|space)\n([^\n=]+)=([^\n]*)$")
_typed_key = ""  # bash: the key before the `=` whose value is being typed


def join_bash_words() -> None:
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


def runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return `latest`, then runs by suffix and by name, newest first."""
    folders = _folders(ctx)
    experiments = sorted({folder.parent.name for folder in folders})
    latest = ["latest", *(f"{name}/latest" for name in experiments)] if folders else []
    newest = folders[:NEWEST]
    return [
        *latest,
        *(run_suffix(folder) for folder in newest),
        *(folder.name for folder in newest),
    ]


def sweeps(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of sweeps, newest first."""
    with contextlib.suppress(Exception):
        return [folder.name for folder in newest_sweeps(_runs_dir(ctx))[:NEWEST]]
    return []


def experiments(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the experiments that have runs."""
    return sorted({folder.parent.name for folder in _folders(ctx)})


def settings(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the keys of an experiment's config, each with `=`, or the values of the typed key."""
    with contextlib.suppress(Exception):  # the command itself reports what is wrong
        return list(_settings(ctx, incomplete))
    return []


def _settings(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    name = _experiment(ctx)
    key, equals, _ = incomplete.partition("=")
    if not (_typed_key or equals):
        keys: Iterable[str] = registry.shipped(name)
        if "run" in ctx.params:
            keys = sorted(registry.config_class(name).changeable_keys | RUNTIME_KEYS)
        yield from (f"{one}=" for one in keys if not one.startswith("reference."))
        return
    config = registry.config_class(name)
    key = _typed_key or key
    values = config.suggestions(key) or allowed_values(config, key)
    yield from (value if _typed_key else f"{key}={value}" for value in values)


def _experiment(ctx: typer.Context) -> str:
    """Return the experiment of the command that is typed: its name, its argument, or its run's."""
    if ctx.info_name in registry.names():
        return ctx.info_name
    word = str(ctx.args[0])  # no argument is parsed while an option has no value yet
    if "run" not in ctx.params:
        return word
    return Run.in_folder(find_run(word, _runs_dir(ctx))).record.experiment


def _folders(ctx: typer.Context) -> list[Path]:
    """Return the folders of runs, newest first, without names that a shell could execute.

    zsh evaluates what is offered, and bash inserts it unquoted.
    """
    with contextlib.suppress(Exception):
        found = newest_runs(_runs_dir(ctx))
        return [one for one in found if all(map(PLAIN_NAME.fullmatch, (one.name, one.parent.name)))]
    return []


def _runs_dir(ctx: typer.Context) -> Path:
    return run_context.runs_dir(ctx.params.get("runs_dir"))
