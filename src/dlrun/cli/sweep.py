"""`dlrun sweep EXPERIMENT`."""

from typing import Annotated

import typer

from dlrun.cli import completion
from dlrun.cli import options as opt
from dlrun.cli.usage_errors import UsageError
from dlrun.experiments import registry

ETA = 3  # as in Hyperband (arXiv:1603.06560)


def sweep(
    experiment: Annotated[
        str | None,
        typer.Argument(
            metavar="EXPERIMENT",
            help=f"One of {', '.join(registry.names())}.",
            autocompletion=registry.names,
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(metavar="SEEDS", help="5: seeds 0 to 4; 0-4: the same; 0,3,7: these."),
    ] = None,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=A,B",
            help="Each of these values, as --set reads them; repeatable: each with each.",
            autocompletion=completion.settings,
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
            autocompletion=completion.settings,
        ),
    ] = None,
    space_seed: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Of the draws (default: the config's seed)."),
    ] = None,
    halving: Annotated[
        bool,
        typer.Option(
            "--halving",
            help="Train all for a few epochs, the best by validation for longer, and so on.",
        ),
    ] = False,
    eta: Annotated[
        int | None,
        typer.Option(
            min=2, max=10, metavar="N", help="Of --halving: one in N goes on (default: 3)."
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
        bool, typer.Option("--fail-fast", help="Where a run fails, end the others too.")
    ] = False,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Go on with a sweep: its name, or latest.",
            autocompletion=completion.sweeps,
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
        bool, typer.Option("--dry-run", help="Check every point, and show them.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Run an experiment over seeds and values, some at once, and say which config is best.

    Example: dlrun sweep imdb-dense --seeds 5 --grid optimizer.lr=0.001,0.002
    """  # fmt: skip
    from dlrun.runs.settings import RunSettings  # needs pydantic
    from dlrun.sweeps import sweep as sweeps

    new: dict[str, object] = {
        "--seeds": seeds,
        "--grid": grid,
        "--random": random,
        "--space": space,
    }
    new |= {"--space-seed": space_seed, "--halving": halving, "--eta": eta, "--name": name}
    new |= {"--config": config, "--set": set_, "--accelerator": accelerator}
    new |= {"--no-fallback": no_fallback, "--dry-run": dry_run, "EXPERIMENT": experiment}
    if resume is not None and (given := [one for one, value in new.items() if value]):
        raise UsageError(
            f"--resume goes on with a sweep as it was planned: it takes no {', '.join(given)}",
            "leave it out, or begin a new sweep",
        )
    options = RunSettings(
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
    on_slurm = None
    if opt.is_for_slurm(slurm, wait):
        from dlrun.slurm.options import parse_options

        local = {"--jobs": jobs, "--fail-fast": fail_fast, "--halving": halving}
        if given := [one for one, value in local.items() if value]:
            raise UsageError(
                f"{given[0]}: not with --slurm", "--slurm parallel=N: N points at once"
            )
        on_slurm = parse_options(slurm or [])
    if resume is None and eta is not None and not halving:
        raise UsageError(f"--eta {eta}: there is no --halving", "give both, or neither")
    if resume is None and experiment is None:
        raise UsageError("which experiment? none is named", "dlrun sweep EXPERIMENT --seeds 5")
    code = sweeps.sweep(
        experiment,
        options,
        resume=resume,
        seeds=seeds,
        grid=grid or (),
        spaces=space or (),
        draws=random,
        space_seed=space_seed,
        eta=(eta or ETA) if halving else None,
        jobs=jobs,
        fail_fast=fail_fast,
        slurm=on_slurm,
        wait=wait,
    )
    raise typer.Exit(code)
