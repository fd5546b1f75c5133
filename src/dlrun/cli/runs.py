"""Commands about existing runs: verify, report, predict, export, and the group `runs`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from dlrun.cli import options as opt

app = typer.Typer(help="List, show, compare, check and remove runs.", no_args_is_help=True)

Experiment = Annotated[
    str | None,
    typer.Argument(
        metavar="EXPERIMENT",
        help="Only its runs; default: all.",
        autocompletion=opt.completer("complete_experiments"),
    ),
]
STATES = "Only waiting, running, finished, failed, interrupted, killed, damaged or foreign ones."
REMOVABLE = "Only waiting, finished, failed, interrupted, killed or damaged ones."
Removable = StrEnum("Removable", "waiting finished failed interrupted killed damaged")
State = StrEnum("State", "waiting running finished failed interrupted killed damaged foreign")
WHERE = "Only runs with KEY = != < <= > or >= a value of config, record or metrics.NAME."


@opt.calls("dlrun.commands.verify:verify_run")
def verify(
    run: opt.Run,
    keep: Annotated[bool, opt.flag("Keep the repetition as a run.", "--keep")] = False,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Repeat a run from its own config, and compare the two bit for bit.

    Exits with 0 if they are identical; otherwise with 1, the first difference, and what differs in
    code, packages, machine and data.

    Example: dlrun verify latest
    """


def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN", help=f"{opt.RUN} Default: the newest finished."),
    ] = None,
    out: Annotated[Path, opt.option("The page, a single HTML file.", "FILE")] = Path("report.html"),
    runs_dir: opt.RunsDir = None,
    force: Annotated[bool, opt.flag("Replace another file.", "--force")] = False,
    debug: opt.Debug = False,
) -> None:
    """Write one HTML page about runs, with curves, mistakes and configs, that works offline.

    Example: dlrun report imdb-dense/latest imdb-lasso/latest
    """
    from dlrun.reports.page import report  # needs pydantic

    report(runs or [], out, runs_dir, force=force)


@opt.calls("dlrun.commands.predict:predict_inputs")
def predict(
    run: opt.Run,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT_OR_FILE",
            help="Texts, files of one text, images or folders of them; -: lines of standard input.",
        ),
    ] = None,
    csv: Annotated[Path | None, opt.option("A table with a text in each row.", "FILE")] = None,
    column: Annotated[str, opt.option("The column of the texts.", "NAME")] = "text",
    test: Annotated[bool, opt.flag("Predict the run's own test set.", "--test")] = False,
    words: Annotated[bool, opt.flag("Show each text's main words.", "--words")] = False,
    figure: Annotated[Path | None, opt.option("Draw an LSTM's reading.", "F.png")] = None,
    out: Annotated[Path | None, opt.option("Write a table of predictions.", "F.csv")] = None,
    force: opt.Replace = False,
    json: opt.Json = False,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
    debug: opt.Debug = False,
) -> None:
    """Predict new texts or images with a finished run, and read them as it read its own data.

    Example: dlrun predict latest "A film to fall asleep in."
    """


@opt.calls("dlrun.commands.export:export_network")
def export(
    run: opt.Run,
    out: Annotated[Path, opt.option("The file to write.", "FILE")],
    format_: Annotated[
        Literal["onnx", "torch"],
        typer.Option("--format", help="ONNX, or TorchScript, which torch.jit.load reads."),
    ] = "onnx",
    tolerance: Annotated[
        float,
        opt.option("Largest accepted relative difference from the network's outputs.", "X", min=0),
    ] = 1e-5,
    force: opt.Replace = False,
    runs_dir: opt.RunsDir = None,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Write a run's network as one file that other programs use without dlrun.

    Its metadata holds vocabulary, labels and preprocessing. It is compared with the network before
    it is saved under its name.

    Example: dlrun export latest --format onnx --out reviews.onnx
    """


@app.command("list")
@opt.calls("dlrun.commands.list_runs:list_runs")
def list_(
    experiment: Experiment = None,
    status: Annotated[list[State] | None, opt.option(STATES, "STATE")] = None,
    where: Annotated[list[str] | None, opt.option(WHERE, "COND")] = None,
    sort: Annotated[str | None, opt.option("Largest first; -KEY: reversed.", "KEY")] = None,
    limit: Annotated[int | None, opt.option("The first N.", "N", min=0)] = None,
    columns: Annotated[str | None, opt.option("Only these columns.", "KEY,KEY")] = None,
    json: opt.Json = False,
    csv: Annotated[bool, opt.flag("Print a CSV table.", "--csv")] = False,
    runs_dir: opt.RunsDir = None,
    debug: opt.Debug = False,
) -> None:
    """List runs, newest first: state, test metric, the book's, seconds, size, changed values.

    Example: dlrun runs list imdb-dense --where 'optimizer.lr>0.001' --sort metrics.test_accuracy
    """


@app.command()
@opt.calls("dlrun.commands.show:show")
def show(
    run: opt.Run = "latest",
    json: opt.Json = False,
    runs_dir: opt.RunsDir = None,
    debug: opt.Debug = False,
) -> None:
    """Show one run: result, data, versions, files, and the commands to resume and repeat it.

    Example: dlrun runs show imdb-dense/latest
    """


@app.command()
@opt.calls("dlrun.commands.compare:compare")
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="Each by folder, name or suffix, latest.",
            autocompletion=opt.completer("complete_runs"),
        ),
    ],
    out: Annotated[Path | None, opt.option("Draw their curves in one figure.", "F.png")] = None,
    force: opt.Replace = False,
    runs_dir: opt.RunsDir = None,
    debug: opt.Debug = False,
) -> None:
    """Show what differs between runs, and their metrics side by side, the best of each marked *.

    Example: dlrun runs compare imdb-dense/latest imdb-lstm/latest --out curves.png
    """


@app.command()
@opt.calls("dlrun.commands.clean:clean")
def clean(
    experiment: Experiment = None,
    older_than: Annotated[str | None, opt.option("Ended 30d, 12h or 2w ago.", "AGE")] = None,
    status: Annotated[list[Removable] | None, opt.option(REMOVABLE, "STATE")] = None,
    keep_best: Annotated[
        int | None,
        opt.option(
            "Keep the N best finished runs of each experiment on the same data.", "N", min=1
        ),
    ] = None,
    checkpoints: Annotated[
        bool, opt.flag("Only checkpoints of finished runs.", "--checkpoints")
    ] = False,
    dry_run: Annotated[bool, opt.flag("Only list what would go.", "--dry-run")] = False,
    yes: Annotated[bool, opt.flag("Do not ask.", "--yes", "-y")] = False,
    runs_dir: opt.RunsDir = None,
    debug: opt.Debug = False,
) -> None:
    """Remove the runs that match all options. Lists them, says how much is freed, and asks.

    A running run is never removed, a damaged one only by --status damaged.

    Example: dlrun runs clean --status failed --older-than 30d
    """


@app.command()
@opt.calls("dlrun.commands.list_runs:check")
def check(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN",
            help=f"{opt.RUN} Default: all.",
            autocompletion=opt.completer("complete_runs"),
        ),
    ] = None,
    runs_dir: opt.RunsDir = None,
    debug: opt.Debug = False,
) -> None:
    """Read runs back and say which are undamaged: records, checkpoints, weights, tables, figures.

    Example: dlrun runs check latest
    """
