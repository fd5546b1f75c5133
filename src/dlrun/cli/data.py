"""Commands about data sets: `dlrun data fetch`, `verify` and `show`."""

from typing import Annotated, Literal

import typer

from dlrun.cli import options as opt

app = typer.Typer(help="Download, check and show the data.", no_args_is_help=True)

Dataset = Annotated[
    str, typer.Argument(metavar="DATA", help="Its name, or an experiment that needs it.")
]


@app.command()
def fetch(
    dataset: Dataset,
    set_: opt.DataOverrides = None,
    data_dir: opt.DataDir = None,
    debug: opt.Debug = False,
) -> None:
    """Download the data and prepare them for the experiments.

    Example: dlrun data fetch imdb --set data.source=keras
    """
    from dlrun.commands.data import fetch  # needs numpy

    fetch(dataset, set_ or [], data_dir)


@app.command()
def verify(
    dataset: Dataset,
    set_: opt.DataOverrides = None,
    data_dir: opt.DataDir = None,
    debug: opt.Debug = False,
) -> None:
    """Check the files against the published checksums, and their contents.

    Example: dlrun data verify imdb --set data.archive=aclImdb_v1.tar.gz
    """
    from dlrun.commands.data import verify

    raise typer.Exit(verify(dataset, set_ or [], data_dir))


@app.command()
def show(
    dataset: Dataset,
    count: Annotated[int, typer.Option(min=1, max=1000, help="How many reviews.")] = 3,
    first: Annotated[int, typer.Option(min=0, help="Index of the first.")] = 0,
    part: Annotated[Literal["train", "test"], typer.Option(help="Which half.")] = "train",
    set_: opt.DataOverrides = None,
    data_dir: opt.DataDir = None,
    debug: opt.Debug = False,
) -> None:
    """Show reviews, decoded from their ids back to words.

    Example: dlrun data show imdb --count 2 --set data.source=sample
    """
    from dlrun.commands.data import show

    show(dataset, part, first, count, set_ or [], data_dir)
