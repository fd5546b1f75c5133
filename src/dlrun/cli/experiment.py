"""`dlrun <experiment>`: one command for every config in configs/."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from dlrun.cli import options as opt
from dlrun.cli.reporting import reporting
from dlrun.config_files import defaults_folder


def help_text(name: str) -> str:
    """The comment on top of an experiment's config: what it is, and an example."""
    text = (defaults_folder() / f"{name}.yaml").read_text(encoding="utf-8")
    match = re.match(r"(?:#.*\n)+", text)
    comment = re.sub(r"^# ?", "", match.group() if match else "", flags=re.MULTILINE)
    return comment.replace("Example: ", "\nExample: ")


def command(name: str) -> Callable[..., None]:
    """The function behind `dlrun <name>`."""

    def run(
        config: opt.ConfigFiles = None,
        set_: opt.Overrides = None,
        accelerator: opt.Accelerator = None,
        no_fallback: opt.NoFallback = False,
        runs_dir: opt.RunsDir = None,
        data_dir: opt.DataDir = None,
        run_name: opt.Name = None,
        summary: opt.Summary = False,
        dry_run: opt.DryRun = False,
        json: opt.Json = False,
        quiet: opt.Quiet = False,
        debug: opt.Debug = False,
    ) -> None:
        start(
            name,
            config=config or [],
            overrides=overrides(set_, accelerator, no_fallback),
            runs_dir=runs_dir,
            data_dir=data_dir,
            name=run_name,
            summary=summary,
            dry_run=dry_run,
            json=json,
            quiet=quiet,
            debug=debug,
        )

    return run


def overrides(set_: list[str] | None, accelerator: str | None, no_fallback: bool) -> list[str]:
    """`--set` texts, then what the options of their own stand for."""
    texts = list(set_ or [])
    if accelerator is not None:
        texts.append(f"accelerator={accelerator}")
    if no_fallback:
        texts.append("fallback=false")
    return texts


def start(experiment: str, *, config: list[Path], debug: bool, **options: Any) -> None:
    """Run an experiment; ends the process with its exit code."""
    with reporting(debug=debug):
        from dlrun.experiments.runner import Options, execute  # needs pydantic

        exit_code, _ = execute(experiment, Options(config=config, debug=debug, **options))
        raise typer.Exit(exit_code)
