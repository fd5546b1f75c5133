"""`dlrun export RUN`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from dlrun.cli import options as opt


def export(
    run: opt.Run,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to write.")],
    format_: Annotated[
        Literal["onnx", "torch"],
        typer.Option("--format", help="ONNX, or TorchScript, which torch.jit.load reads."),
    ] = "onnx",
    tolerance: Annotated[
        float,
        typer.Option(
            metavar="X",
            min=0,
            help="Largest accepted difference from the network's outputs, relative to the largest "
            "of them.",
        ),
    ] = 1e-5,
    force: opt.Replace = False,
    runs_dir: opt.RunsDir = None,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Write a run's network as one file that other programs use without dlrun.

    Vocabulary, labels and preprocessing are in its metadata; it is compared with the network
    before it gets its name.

    Example: dlrun export latest --format onnx --out reviews.onnx
    """
    from dlrun.commands.export import export  # needs pydantic

    export(
        run,
        format_=format_,
        out=out,
        tolerance=tolerance,
        force=force,
        runs_dir=runs_dir,
        quiet=quiet,
    )
