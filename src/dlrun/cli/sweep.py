"""Commands that run experiments many times: sweep over values, reproduce the book over seeds."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from dlrun.cli import options as opt
from dlrun.errors import UsageError
from dlrun.experiments import registry

ETA = 3  # as in Hyperband (arXiv:1603.06560)


def sweep(
    experiment: Annotated[str | None, opt.ExperimentName] = None,
    seeds: Annotated[
        str | None,
        typer.Option(metavar="SEEDS", help="5: seeds 0 to 4; 0-4: the same; 0,3,7: these."),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=A,B",
            help="Each of these values, as --set reads them; repeatable: each with each.",
            autocompletion=opt.completer("settings"),
        ),
    ] = None,
    random: Annotated[
        int | None, typer.Option("--random", min=1, metavar="N", help="Draws of the spaces.")
    ] = None,
    space: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=SPACE",
            help="log:1e-4..1e-2, lin:0..1, int:1..9 or a|b|c; repeatable.",
            autocompletion=opt.completer("settings"),
        ),
    ] = None,
    space_seed: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Of the draws (default: the config's seed)."),
    ] = None,
    halving: Annotated[
        bool,
        opt.flag(
            "--halving",
            help="Train all for a few epochs, the best by validation for longer, and so on.",
        ),
    ] = False,
    eta: Annotated[
        int | None,
        typer.Option(
            min=2, max=10, metavar="N", help="With --halving: promote one in N (default: 3)."
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            max=256,
            metavar="N",
            help="Runs at once (default: as many as cores and memory hold).",
        ),
    ] = None,
    fail_fast: Annotated[
        bool, opt.flag("--fail-fast", help="If a run fails, stop the others.")
    ] = False,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Continue a sweep: its name, or latest.",
            autocompletion=opt.completer("sweeps"),
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The sweep's name (default: a random one)."),
    ] = None,
    config: opt.ConfigFiles = None,
    set_: opt.Overrides = None,
    accelerator: opt.Accelerator = None,
    no_fallback: opt.NoFallback = False,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
    force: opt.Force = False,
    slurm: opt.Slurm = None,
    wait: opt.Wait = False,
    dry_run: Annotated[
        bool, opt.flag("--dry-run", help="Check every point, and show them.")
    ] = False,
    json: Annotated[bool, opt.flag("--json", help="Print the results as JSON.")] = False,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Run an experiment over seeds and values, several at once, and say which config is best.

    Example: dlrun sweep imdb-dense --seeds 5 --grid optimizer.lr=0.001,0.002
    """  # fmt: skip
    from dlrun.runs.settings import RunSettings  # needs pydantic
    from dlrun.slurm.options import parse_options
    from dlrun.sweeps import sweep as sweeps
    from dlrun.sweeps.search import SearchSpace

    planned: dict[str, object] = {
        "EXPERIMENT": experiment,
        "--seeds": seeds,
        "--grid": grid,
        "--random": random,
        "--space": space,
        "--space-seed": space_seed,
        "--halving": halving,
        "--eta": eta,
        "--name": name,
        "--config": config,
        "--set": set_,
        "--accelerator": accelerator,
        "--no-fallback": no_fallback,
        "--dry-run": dry_run,
    }
    if resume is not None:
        _forbid(planned, "--resume continues a sweep as it was planned", "leave it out")
    elif experiment is None:
        raise UsageError("missing argument EXPERIMENT", "dlrun sweep EXPERIMENT --seeds 5")
    elif eta is not None and not halving:
        raise UsageError(f"--eta {eta}: only with --halving", "give both, or neither")
    on_slurm = None
    if opt.is_for_slurm(slurm, wait):
        local: dict[str, object] = {"--jobs": jobs, "--fail-fast": fail_fast, "--halving": halving}
        _forbid(local, "not with --slurm", "--slurm parallel=N runs N points at once")
        on_slurm = parse_options(slurm or [])
    settings = RunSettings(
        config=config or [],
        overrides=opt.overrides(set_, accelerator, no_fallback),
        runs_dir=runs_dir,
        data_dir=data_dir,
        name=name,
        dry_run=dry_run,
        force=force,
        json=json,
        quiet=quiet,
    )
    wanted = sweeps.SweepRequest(
        SearchSpace(seeds, grid or (), space or (), random, space_seed),
        jobs,
        (eta or ETA) if halving else None,
        fail_fast,
        on_slurm,
        wait,
    )
    if experiment is None:
        raise typer.Exit(sweeps.resume(resume or "", wanted, settings))
    raise typer.Exit(sweeps.sweep(experiment, wanted, settings))


def _forbid(options: dict[str, object], reason: str, hint: str) -> None:
    """Raise UsageError if any of these options is given."""
    if given := [name for name, value in options.items() if value]:
        raise UsageError(f"{', '.join(given)}: {reason}", hint)


def reproduce(
    experiments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[EXPERIMENT ...]",
            help="Only these (default: all that have published numbers).",
            autocompletion=registry.names,
        ),
    ] = None,
    seeds: Annotated[
        str,
        typer.Option(metavar="SEEDS", help="3: seeds 0 to 2; 0-2: the same; 0,3,7: these."),
    ] = "3",
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The page; the table is its .md.")
    ] = Path("reproduction.html"),
    accelerator: opt.Accelerator = None,
    no_fallback: opt.NoFallback = False,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
    force: Annotated[
        bool, opt.flag("--force", help="Replace existing files of another kind.")
    ] = False,
    json: Annotated[bool, opt.flag("--json", help="Print the numbers as JSON.")] = False,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Run the lab over seeds, and write the book's numbers beside yours on one page.

    Runs that earlier calls finished are not repeated.

    Example: dlrun reproduce imdb-dense imdb-lasso --seeds 5
    """
    from dlrun.reproduction.reproduce import reproduce  # needs pydantic
    from dlrun.runs.settings import RunSettings

    settings = RunSettings(
        overrides=opt.overrides(None, accelerator, no_fallback),
        runs_dir=runs_dir,
        data_dir=data_dir,
        force=force,
        json=json,
        quiet=quiet,
    )
    command = shlex.join(["dlrun", *sys.argv[1:]])
    raise typer.Exit(reproduce(experiments or [], seeds, out, settings, command))
