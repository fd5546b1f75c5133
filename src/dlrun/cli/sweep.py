"""Commands that run experiments many times: sweep over values, reproduce the book over seeds."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from dlrun.cli import options as opt
from dlrun.errors import UsageError

ETA = 3  # as in Hyperband (arXiv:1603.06560)
# Options that a sweep takes again when it is continued, and those of which SLURM is in charge.
CONTINUING = {
    *("--resume", "--jobs", "--fail-fast", "--force", "--slurm", "--wait"),
    *("--runs-dir", "--data-dir", "--json", "--quiet", "--debug"),
}
SETTINGS = opt.completer("settings")
SPACE = "log:1e-4..1e-2, lin:0..1, int:1..9 or a|b|c; repeatable."
LOCAL = {"--jobs", "--fail-fast", "--halving"}


def sweep(
    context: typer.Context,
    experiment: Annotated[str | None, opt.Experiment] = None,
    seeds: Annotated[str | None, opt.Seeds] = None,
    grid: Annotated[
        list[str] | None,
        opt.option("Each of these values; repeatable.", "KEY=A,B", autocompletion=SETTINGS),
    ] = None,
    random: Annotated[int | None, opt.option("Draws of the spaces.", "N", min=1)] = None,
    space: Annotated[
        list[str] | None, opt.option(SPACE, "KEY=SPACE", autocompletion=SETTINGS)
    ] = None,
    space_seed: Annotated[
        int | None, opt.option("Of the draws (default: the config's).", "N", min=0)
    ] = None,
    halving: Annotated[
        bool, opt.flag("Successive halving: train the best longer.", "--halving")
    ] = False,
    eta: Annotated[
        int | None, opt.option("With --halving: keep one in N.", "N", min=2, max=10)
    ] = None,
    jobs: Annotated[
        int | None,
        opt.option("Runs at once (default: as many as fit).", "N", "--jobs", "-j", min=1, max=256),
    ] = None,
    fail_fast: Annotated[bool, opt.flag("If a run fails, stop the others.", "--fail-fast")] = False,
    resume: Annotated[
        str | None,
        opt.option(
            "Continue this sweep, or latest.", "NAME", autocompletion=opt.completer("sweeps")
        ),
    ] = None,
    name: Annotated[str | None, opt.option("The sweep's name.", "NAME")] = None,
    config: opt.ConfigFiles = None,
    set_: opt.Overrides = None,
    accelerator: opt.Accelerator = None,
    no_fallback: opt.NoFallback = False,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
    force: opt.Force = False,
    slurm: opt.Slurm = None,
    wait: opt.Wait = False,
    dry_run: Annotated[bool, opt.flag("Check every point, and show them.", "--dry-run")] = False,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Run an experiment over seeds and values, several at once, and say which config is best.

    Example: dlrun sweep imdb-dense --seeds 5 --grid optimizer.lr=0.001,0.002
    """  # fmt: skip
    from dlrun.run_context import RunSettings  # needs pydantic
    from dlrun.slurm.submit import parse_slurm_options
    from dlrun.sweeps import sweep as sweeps
    from dlrun.sweeps.search import Search

    given = {
        param.opts[0]
        for param in context.command.params
        if getattr(context.get_parameter_source(str(param.name)), "name", "") == "COMMANDLINE"
    }
    if resume is not None:
        _forbid(given - CONTINUING, "--resume continues a sweep as it was planned", "leave it out")
    elif experiment is None:
        raise UsageError("missing argument EXPERIMENT", "dlrun sweep EXPERIMENT --seeds 5")
    elif eta is not None and not halving:
        raise UsageError(f"--eta {eta}: only with --halving", "give both, or neither")
    on_slurm = None
    if opt.is_for_slurm(slurm, wait):
        _forbid(given & LOCAL, "not with --slurm", "--slurm parallel=N runs N points at once")
        on_slurm = parse_slurm_options(slurm or [])
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
    code = sweeps.sweep(
        experiment or "",
        settings,
        Search(seeds, grid or (), space or (), random, space_seed),
        resume=resume,
        eta=(eta or ETA) if halving else None,
        jobs=jobs,
        fail_fast=fail_fast,
        slurm=on_slurm,
        wait=wait,
    )
    raise typer.Exit(code)


def _forbid(options: set[str], reason: str, hint: str) -> None:
    """Raise UsageError if there are any of these options."""
    if options:
        raise UsageError(f"{', '.join(sorted(options))}: {reason}", hint)


def reproduce(
    experiments: Annotated[list[str] | None, opt.Experiments] = None,
    seeds: Annotated[str, opt.Seeds] = "3",
    out: Annotated[Path, opt.option("The page; the table is its .md.", "FILE")] = Path(
        "reproduction.html"
    ),
    accelerator: opt.Accelerator = None,
    no_fallback: opt.NoFallback = False,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
    force: Annotated[bool, opt.flag("Replace existing files of another kind.", "--force")] = False,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """Run the lab over seeds, and write the book's numbers beside yours on one page.

    Runs that earlier calls finished are not repeated.

    Example: dlrun reproduce imdb-dense imdb-lasso --seeds 5
    """
    from dlrun.reproduction.reproduce import reproduce  # needs pydantic
    from dlrun.run_context import RunSettings

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
