"""What a shell may offer for a word that is being typed. It cannot wait: no torch, no checks."""

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any

import typer

from dlrun.experiments import registry

BASH = ("_DLRUN_COMPLETE", "complete_bash")
KEY = "_DLRUN_COMPLETED_KEY"  # bash: the key before the `=` whose value is being typed
NEWEST = 100  # runs that are offered
SETTING = {"--set", "--grid", "--space"}  # options whose value is KEY=VALUE


def join_settings() -> None:
    """bash takes `KEY=VALUE`, as of --set, for three words; make them one before typer reads them.

    Of the one that is being typed only the value is left, for bash replaces only that.
    """
    if os.environ.get(BASH[0]) != BASH[1]:
        return
    words = os.environ.get("COMP_WORDS", "").split("\n")
    place = os.environ.get("COMP_CWORD", "")
    at = int(place) if re.fullmatch(r"[0-9]{1,6}", place) else len(words) - 1
    before, typed = words[:at], "".join(words[at : at + 1])
    joined: list[str] = []
    for word in before:
        if joined and (word == "=" or joined[-1].endswith("=")) and SETTING & {*joined[-2:-1]}:
            joined[-1] += word
        else:
            joined.append(word)
    if typed == "=" and SETTING & {*joined[-2:-1]}:
        joined[-1], typed = f"{joined[-1]}=", ""
    if joined and joined[-1].endswith("=") and SETTING & {*joined[-2:-1]}:
        os.environ[KEY] = joined.pop()[:-1]
    os.environ["COMP_WORDS"] = "\n".join([*joined, typed])
    os.environ["COMP_CWORD"] = str(len(joined))


def runs(ctx: typer.Context) -> list[str]:
    """Runs by their suffixes and names, the newest first, and what `latest` may stand for."""
    from dlrun.run_folder.find import run_suffix  # needs pydantic

    folders = _folders(ctx)
    experiments = sorted({folder.parent.name for folder in folders})
    latest = ["latest", *(f"{name}/latest" for name in experiments)] if folders else []
    newest = folders[:NEWEST]
    return [
        *latest,
        *(run_suffix(folder) for folder in newest),
        *(folder.name for folder in newest),
    ]


def sweeps(ctx: typer.Context) -> list[str]:
    """The names of sweeps, the newest first."""
    from dlrun.run_folder.sweep_folder import sweeps_in

    with contextlib.suppress(Exception):
        return [folder.name for folder in sweeps_in(_runs_dir(ctx))[:NEWEST]]
    return []


def experiments(ctx: typer.Context) -> list[str]:
    """The experiments that there are runs of."""
    return sorted({folder.parent.name for folder in _folders(ctx)})


def settings(ctx: typer.Context, incomplete: str) -> list[str]:
    """The keys of an experiment's config, each with `=`; after that the values that there are."""
    with contextlib.suppress(Exception):  # whatever is wrong: the command itself will say it
        return list(_settings(ctx, incomplete))
    return []


def _settings(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    from dlrun.config.suggestions import allowed_values  # needs pydantic
    from dlrun.config.yaml_loader import flatten, read_file

    name = _experiment(ctx)
    key, equals, _ = incomplete.partition("=")
    if asked := os.environ.get(KEY):
        key = asked
    if not (asked or equals):
        keys = flatten(read_file(registry.entry(name).defaults).values)
        if "run" in ctx.params:
            from dlrun.experiments.base import RUNTIME_KEYS

            changeable = registry.config_class(name).changeable_keys
            keys = dict.fromkeys(sorted(changeable | RUNTIME_KEYS))
        yield from (f"{one}=" for one in keys if not one.startswith("reference."))
        return
    config = registry.config_class(name)
    values = config.suggestions(key) or allowed_values(config, key)
    yield from (value if asked else f"{key}={value}" for value in values)


def _experiment(ctx: typer.Context) -> str:
    """The command's own name, its argument, or the experiment of its run."""
    if ctx.info_name in registry.names():
        return ctx.info_name
    word = str(ctx.args[0])  # with an option that has no value yet no argument is parsed
    if "run" not in ctx.params:
        return word
    from dlrun.run_folder.find import find_run
    from dlrun.run_folder.stored_run import open_stored

    return open_stored(find_run(word, _runs_dir(ctx))).record.experiment


def _folders(ctx: typer.Context) -> list[Any]:
    """The runs' folders, the newest first; a name that a shell could obey is not offered.

    zsh evaluates what is offered, and bash puts it into the line as it is.
    """
    from dlrun.run_folder.find import newest_runs
    from dlrun.run_folder.folder import PLAIN_NAME

    with contextlib.suppress(Exception):
        found = newest_runs(_runs_dir(ctx))
        return [one for one in found if all(map(PLAIN_NAME.fullmatch, (one.name, one.parent.name)))]
    return []


def _runs_dir(ctx: typer.Context) -> Any:
    from dlrun import run_context

    return run_context.runs_dir(ctx.params.get("runs_dir"))
