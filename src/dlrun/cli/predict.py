"""`dlrun predict RUN`."""

from pathlib import Path
from typing import Annotated

import typer

from dlrun.cli import options as opt


def predict(
    run: opt.Run,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT_OR_FILE",
            help="Texts, files of a text each, or images and folders of them; -: standard input, "
            "a text (or an image's name) on each line.",
        ),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="A table with a text in each row.")
    ] = None,
    column: Annotated[
        str, typer.Option("--column", metavar="NAME", help="The column of the texts.")
    ] = "text",
    test: Annotated[
        bool, typer.Option("--test", help="The run's own test set, compared with what it kept.")
    ] = False,
    words: Annotated[
        bool,
        typer.Option(
            "--words", help="The words that count most, of a table's or pipe's texts too."
        ),
    ] = False,
    figure: Annotated[
        Path | None,
        typer.Option(
            "--figure", metavar="F.png", help="Draw the probability after each word (an LSTM's)."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="F.csv", help="Write a table of predictions.")
    ] = None,
    force: opt.Replace = False,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON object per line.")] = False,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
    debug: opt.Debug = False,
) -> None:
    """Say what a finished run makes of new texts or images, read as it read its own.

    Example: dlrun predict latest "A film to fall asleep in."
    """
    from dlrun.commands.predict import predict  # needs pydantic

    code = predict(
        run,
        inputs or (),
        csv=csv,
        column=column,
        test=test,
        words=words,
        figure=figure,
        out=out,
        force=force,
        json=json,
        runs_dir=runs_dir,
        data_dir=data_dir,
    )
    raise typer.Exit(code)
