"""Options and arguments that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from dlrun.errors import ConfigError
from dlrun.experiments import registry
from dlrun.system.accelerator import ACCELERATORS


def flag(*names: str, help: str, **settings: Any) -> Any:
    """Return an option without a value; its help shows no type."""
    return typer.Option(*names, metavar="", help=help, **settings)


def completer(name: str) -> Callable[[typer.Context, str], list[str]]:
    """Return the function of `cli/completion.py` with this name, imported only if a shell asks."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        from dlrun.cli import completion  # needs pydantic

        values: list[str] = getattr(completion, name)(ctx, incomplete)
        return values

    return complete


def _set(meaning: str) -> Any:
    return typer.Option(
        "--set", metavar="KEY=VALUE", help=meaning, autocompletion=completer("settings")
    )


ExperimentName = typer.Argument(
    metavar="EXPERIMENT",
    help=f"One of {', '.join(registry.names())}.",
    autocompletion=registry.names,
)
RUN = "A run's folder, name or suffix; latest: the newest; EXPERIMENT/latest."
Run = Annotated[str, typer.Argument(metavar="RUN", help=RUN, autocompletion=completer("runs"))]
ConfigFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--config", metavar="FILE", help="YAML over the defaults; repeatable, the later wins."
    ),
]
Overrides = Annotated[list[str] | None, _set("One value, as in --set optimizer.lr=0.01.")]
DataOverrides = Annotated[
    list[str] | None, _set("One value of the data's config, as in the example.")
]
ResumeOverrides = Annotated[
    list[str] | None,
    _set("May change: trainer.max_epochs, accelerator, fallback, logger, where the data are."),
]
Accelerator = Annotated[
    str | None,
    typer.Option(
        metavar="|".join(("auto", "cpu", *ACCELERATORS)),
        help="Where to train; falls back to the CPU.",
    ),
]
NoFallback = Annotated[bool, flag("--no-fallback", help="An accelerator that fails is an error.")]
RunsDir = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", envvar="DLRUN_RUNS_DIR", help="Where run folders go (default: runs)."
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", envvar="DLRUN_DATA_DIR", help="Where data are kept (default: data)."
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        "--name", metavar="NAME", help="The run folder's suffix, instead of a random one."
    ),
]
Summary = Annotated[bool, flag("--summary", help="Show the network layer by layer.")]
DryRun = Annotated[bool, flag("--dry-run", help="Check everything up to loading data.")]
Force = Annotated[
    bool, flag("--force", help="Continue even if code or packages have changed since the start.")
]
Replace = Annotated[bool, flag("--force", help="Replace an existing file.")]
Slurm = Annotated[
    list[str] | None,
    typer.Option(
        "--slurm",
        metavar="KEY=VALUE,...",
        help="Submit it to SLURM: time (minutes), partition, cpus, mem, gpus, nodes, tasks, ...",
    ),
]
Wait = Annotated[bool, flag("--wait", help="With --slurm: wait for the job, and show its output.")]
Json = Annotated[bool, flag("--json", help="Print only results.json.")]
Quiet = Annotated[bool, flag("--quiet", "-q", help="Show only results, warnings and errors.")]
Debug = Annotated[bool, flag("--debug", help="Show tracebacks.")]


def is_for_slurm(slurm: list[str] | None, wait: bool) -> bool:
    """Return whether to submit to SLURM. Raises ConfigError if only --wait is given."""
    if wait and slurm is None:
        raise ConfigError("--wait: only a job of --slurm is waited for", "leave it out")
    return slurm is not None


def overrides(set_: list[str] | None, accelerator: str | None, no_fallback: bool) -> list[str]:
    """Return the `--set` texts, with those that --accelerator and --no-fallback stand for."""
    texts = list(set_ or [])
    if accelerator is not None:
        texts.append(f"accelerator={accelerator}")
    if no_fallback:
        texts.append("fallback=false")
    return texts
