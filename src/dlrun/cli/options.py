"""The options that several commands share."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from dlrun.cli import completion
from dlrun.errors import ConfigError
from dlrun.experiments import registry


def _set(meaning: str) -> Any:
    return typer.Option(
        "--set", metavar="KEY=VALUE", help=meaning, autocompletion=completion.settings
    )


ExperimentName = typer.Argument(
    metavar="EXPERIMENT",
    help=f"One of {', '.join(registry.names())}.",
    autocompletion=registry.names,
)
RUN = "A run's folder, name or suffix; latest: the newest; EXPERIMENT/latest."
Run = Annotated[str, typer.Argument(metavar="RUN", help=RUN, autocompletion=completion.runs)]
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
    _set("What may change: trainer.max_epochs, accelerator, fallback, logger, the data's place."),
]
Accelerator = Annotated[
    Literal["auto", "cpu", "cuda", "mps"] | None,
    typer.Option(help="Where to train; falls back to the CPU."),
]
NoFallback = Annotated[
    bool, typer.Option("--no-fallback", help="An accelerator that fails is an error.")
]
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
Summary = Annotated[bool, typer.Option("--summary", help="Show the network layer by layer.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything up to loading data.")]
Force = Annotated[
    bool, typer.Option("--force", help="Go on although code or packages are others than then.")
]
Slurm = Annotated[
    list[str] | None,
    typer.Option(
        "--slurm",
        metavar="KEY=VALUE,...",
        help="Hand it to SLURM: time (minutes), partition, cpus, mem, gpus, nodes, tasks, ...",
    ),
]
Wait = Annotated[bool, typer.Option("--wait", help="With --slurm: wait, and show what it says.")]
Json = Annotated[bool, typer.Option("--json", help="Print results.json alone.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only results, warnings and errors.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


def is_for_slurm(slurm: list[str] | None, wait: bool) -> bool:
    """Whether SLURM does it. Raises ConfigError where only --wait is given."""
    if wait and slurm is None:
        raise ConfigError("--wait: only what --slurm submits is waited for", "leave it out")
    return slurm is not None


def overrides(set_: list[str] | None, accelerator: str | None, no_fallback: bool) -> list[str]:
    """`--set` texts, then what the options of their own stand for."""
    texts = list(set_ or [])
    if accelerator is not None:
        texts.append(f"accelerator={accelerator}")
    if no_fallback:
        texts.append("fallback=false")
    return texts


Replace = Annotated[bool, typer.Option("--force", help="Replace a file that is there.")]
