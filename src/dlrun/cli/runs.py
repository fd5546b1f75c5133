"""`dlrun runs list`, `show`, `compare`, `clean` and `check`."""

from pathlib import Path
from typing import Annotated

import typer

from dlrun.cli import completion
from dlrun.cli import options as opt
from dlrun.cli.typer_classes import App

app = App(help="Look after the runs that are there.", no_args_is_help=True)

Experiment = Annotated[
    str | None,
    typer.Argument(
        metavar="EXPERIMENT",
        help="Only its runs; default all.",
        autocompletion=completion.experiments,
    ),
]
States = Annotated[
    list[str] | None,
    typer.Option(
        metavar="STATE",
        help="Only waiting, running, finished, failed, interrupted, killed, damaged or foreign "
        "(no run) ones. Repeatable.",
    ),
]


@app.command("list")
def list_(
    experiment: Experiment = None,
    status: States = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COND",
            help="Only where KEY = != < <= > or >= a value; keys of config, record, metrics.NAME. "
            "Repeatable: all must hold.",
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Largest first, texts from A to Z; -KEY: the other way."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=0, metavar="N", help="The first N.")] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="KEY,KEY", help="These instead; differs: from defaults.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="An array of objects.")] = False,
    csv: Annotated[bool, typer.Option("--csv", help="A table for programs.")] = False,
    runs_dir: opt.RunsDir = None,
    debug: opt.Debug = False,
) -> None:
    """List runs, the newest first: state, test metric, the book's, seconds, size, what differs.

    Example: dlrun runs list imdb-dense --where 'optimizer.lr>0.001' --sort metrics.test_accuracy
    """
    from dlrun.commands.list_runs import list_runs  # needs pydantic

    list_runs(
        experiment,
        status=status or (),
        where=where or (),
        sort=sort,
        limit=limit,
        columns=columns,
        json=json,
        csv=csv,
        runs_dir=runs_dir,
    )


@app.command()
def show(
    run: opt.Run = "latest",
    json: Annotated[bool, typer.Option("--json", help="All of it as an object.")] = False,
    runs_dir: opt.RunsDir = None,
    debug: opt.Debug = False,
) -> None:
    """Show everything about a run: result, data, versions, files, how to resume and repeat it.

    Example: dlrun runs show imdb-dense/latest
    """
    from dlrun.commands.show import show  # needs pydantic

    show(run, json=json, runs_dir=runs_dir)


@app.command()
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="Each by folder, name or suffix, latest.",
            autocompletion=completion.runs,
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="F.png", help="Their curves over each other.")
    ] = None,
    force: opt.Replace = False,
    runs_dir: opt.RunsDir = None,
    debug: opt.Debug = False,
) -> None:
    """Show what differs between runs, and their metrics side by side, the best of each marked *.

    Example: dlrun runs compare imdb-dense/latest imdb-lstm/latest --out curves.png
    """
    from dlrun.commands.compare import compare  # needs pydantic

    compare(runs, out=out, force=force, runs_dir=runs_dir)


@app.command()
def clean(
    experiment: Experiment = None,
    older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="Ended so long ago: 30d, 12h, 2w.")
    ] = None,
    status: States = None,
    keep_best: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Of each experiment's finished runs on the same data the N best stay; alone: its "
            "other finished ones go.",
        ),
    ] = None,
    checkpoints: Annotated[
        bool,
        typer.Option(
            "--checkpoints",
            help="Only finished runs' checkpoints: all is kept but that they can be extended.",
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    runs_dir: opt.RunsDir = None,
    debug: opt.Debug = False,
) -> None:
    """Remove runs: those that all the options mean. Lists them, says what it frees, and asks.

    A living run is never touched, a damaged one only by --status damaged.

    Example: dlrun runs clean --status failed --older-than 30d
    """
    from dlrun.commands.clean import clean  # needs pydantic

    code = clean(
        experiment,
        older_than=older_than,
        status=status or (),
        keep_best=keep_best,
        checkpoints=checkpoints,
        dry_run=dry_run,
        yes=yes,
        runs_dir=runs_dir,
    )
    raise typer.Exit(code)


@app.command()
def check(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN", help=f"{opt.RUN} Default: all.", autocompletion=completion.runs
        ),
    ] = None,
    runs_dir: opt.RunsDir = None,
    debug: opt.Debug = False,
) -> None:
    """Read runs back and say which are whole: records, checkpoints, weights, tables, figures.

    Example: dlrun runs check latest
    """
    from dlrun.commands.check import check  # needs pydantic

    raise typer.Exit(check(run, runs_dir=runs_dir))
