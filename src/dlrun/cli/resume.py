"""`dlrun resume RUN`."""

from typing import Annotated

import typer

from dlrun.cli import options as opt
from dlrun.cli.reporting import reporting

Run = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's folder or its name, or latest: the newest.")
]


def run(
    run: Run,
    set_: opt.ResumeOverrides = None,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Go on with a run that was stopped, from its last finished epoch or lambda.

    Example: dlrun resume latest --set trainer.max_epochs=40
    """
    with reporting(debug=debug):
        from dlrun.experiments.resuming import resume  # needs pydantic
        from dlrun.experiments.runner import Options

        options = Options(runs_dir=runs_dir, data_dir=data_dir, json=json, quiet=quiet, debug=debug)
        raise typer.Exit(resume(run, set_ or [], options))
