"""The `dlrun` command."""

import gc
import logging
import os
import sys
from typing import Annotated, NoReturn

import typer

from dlrun import __version__
from dlrun.cli import accelerators, classify_images, config, data, demo, experiment, resume
from dlrun.config_files import experiment_names

app = typer.Typer(
    name="dlrun",
    help="Runs the deep-learning lab of An Introduction to Statistical Learning with Python.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

WITH_ARGUMENTS = {"classify-images": classify_images.run}


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dlrun {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


for _name in experiment_names():
    app.command(_name, help=experiment.help_text(_name), rich_help_panel="Experiments")(
        WITH_ARGUMENTS.get(_name) or experiment.command(_name)
    )
app.command("resume", rich_help_panel="Around them")(resume.run)
app.command("demo", rich_help_panel="Around them")(demo.run)
app.command("config", rich_help_panel="Around them")(config.run)
app.command("accelerators", rich_help_panel="Around them")(accelerators.run)
app.add_typer(data.app, name="data", rich_help_panel="Around them")


def main() -> None:
    """Run the command line."""
    # Python looks for garbage after every 700 new objects: a quarter of the imports' time.
    gc.set_threshold(50_000)
    try:
        app()
    except SystemExit as end:
        _leave(end)
    except OSError as error:  # of the help and the version; the commands have their own words
        sys.exit(f"error: the output: {error.strerror or error}")


def _leave(end: SystemExit) -> NoReturn:
    """End the process; where torch was used, without taking its modules down: that takes 0.7 s.

    A process of several that train together leaves the usual way.
    """
    if "torch" not in sys.modules or "LOCAL_RANK" in os.environ or isinstance(end.code, str):
        raise end
    logging.shutdown()
    code = end.code or 0
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # nobody reads any more
        code = code or 1
    os._exit(code)
