"""Commands that run experiments (run, resume, sweep, reproduce, demo) or handle their data."""

import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dlrun.cli import options as opt
from dlrun.commands.new import write_experiment_package
from dlrun.errors import UsageError
from dlrun.experiments import registry

if TYPE_CHECKING:
    from dlrun.config.sections import Argument

data = typer.Typer(help="Download, check and show the data.", no_args_is_help=True)

ETA = 3  # as in Hyperband (arXiv:1603.06560)
# Options that `sweep --resume` accepts, and options that cannot be combined with --slurm.
CONTINUING = {
    *("--resume", "--jobs", "--fail-fast", "--force", "--slurm", "--wait"),
    *("--runs-dir", "--data-dir", "--json", "--quiet", "--debug"),
}
LOCAL = {"--jobs", "--fail-fast", "--halving"}
SETTINGS = opt.completer("complete_settings")
SPACE = "log:1e-4..1e-2, lin:0..1, int:1..9 or a|b|c; repeatable."
Dataset = Annotated[
    str, typer.Argument(metavar="DATA", help="Its name, or an experiment that needs it.")
]


def create_experiment_command(name: str) -> Callable[..., int]:
    """Return the command function of `dlrun EXPERIMENT` for the experiment with this name."""

    def run(
        items: Annotated[list[str] | None, typer.Argument()] = None,
        config: opt.ConfigFiles = None,
        overrides: opt.Overrides = None,
        accelerator: opt.Accelerator = None,
        no_fallback: opt.NoFallback = False,
        runs_dir: opt.RunsDir = None,
        data_dir: opt.DataDir = None,
        run_name: opt.Name = None,
        summary: opt.Summary = False,
        dry_run: opt.DryRun = False,
        slurm: opt.Slurm = None,
        wait: opt.Wait = False,
        json: opt.Json = False,
        quiet: opt.Quiet = False,
        debug: opt.Debug = False,
    ) -> int:
        from dlrun.config.yaml_loader import config_layer_from_values  # needs PyYAML
        from dlrun.runs.start import run_experiment  # needs pydantic

        settings = opt.run_settings(
            config=config,
            overrides=overrides,
            accelerator=accelerator,
            no_fallback=no_fallback,
            runs_dir=runs_dir,
            data_dir=data_dir,
            name=run_name,
            summary=summary,
            dry_run=dry_run,
            json=json,
            quiet=quiet,
        )
        if items and (argument := registry.load_config_class(name).argument):
            values = [config_layer_from_values({argument.key: items}, argument.metavar)]
            settings = replace(settings, values=values)
        if opt.is_for_slurm(slurm, wait):
            from dlrun.slurm.submit import submit_run_to_slurm

            return submit_run_to_slurm(name, settings, slurm or [], wait=wait)
        return run_experiment(name, settings)[0]

    return run


def set_positional_arguments(command: Any, argument: "Argument | None") -> None:
    """Set the help of an experiment's positional arguments, or remove them if it has none."""
    (items,) = [param for param in command.params if param.name == "items"]
    if argument is None:
        command.params.remove(items)
    else:
        items.metavar, items.help = argument.metavar, argument.help


def resume(
    run: opt.Run,
    overrides: opt.ResumeOverrides = None,
    accelerator: opt.Accelerator = None,
    no_fallback: opt.NoFallback = False,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
    summary: opt.Summary = False,
    force: opt.Force = False,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> int:
    """Continue a run that was stopped, from its last finished epoch or lambda.

    Example: dlrun resume latest --set trainer.max_epochs=40
    """
    from dlrun.runs.start import resume_run  # needs pydantic

    settings = opt.run_settings(
        overrides=overrides,
        accelerator=accelerator,
        no_fallback=no_fallback,
        runs_dir=runs_dir,
        data_dir=data_dir,
        summary=summary,
        force=force,
        json=json,
        quiet=quiet,
    )
    return resume_run(run, settings)


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
            "Continue this sweep, or latest.",
            "NAME",
            autocompletion=opt.completer("complete_sweeps"),
        ),
    ] = None,
    name: Annotated[str | None, opt.option("The sweep's name.", "NAME")] = None,
    config: opt.ConfigFiles = None,
    overrides: opt.Overrides = None,
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
) -> int:
    """Run an experiment over seeds and values, several at once, and say which config is best.

    Example: dlrun sweep imdb-dense --seeds 5 --grid optimizer.lr=0.001,0.002
    """
    from dlrun.slurm.submit import parse_slurm_options  # needs pydantic
    from dlrun.sweeps.search_space import SearchSpace
    from dlrun.sweeps.sweep import run_sweep

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
    settings = opt.run_settings(
        config=config,
        overrides=overrides,
        accelerator=accelerator,
        no_fallback=no_fallback,
        runs_dir=runs_dir,
        data_dir=data_dir,
        name=name,
        dry_run=dry_run,
        force=force,
        json=json,
        quiet=quiet,
    )
    return run_sweep(
        experiment or "",
        settings,
        SearchSpace(seeds, grid or (), space or (), random, space_seed),
        resume=resume,
        eta=(eta or ETA) if halving else None,
        jobs=jobs,
        fail_fast=fail_fast,
        slurm=on_slurm,
        wait=wait,
    )


def _forbid(options: set[str], reason: str, hint: str) -> None:
    """Raise UsageError if any of these options was given."""
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
) -> int:
    """Run the lab over seeds, and write the book's numbers beside yours on one page.

    Runs that earlier calls finished are not repeated.

    Example: dlrun reproduce imdb-dense imdb-lasso --seeds 5
    """
    from dlrun.reproduction.reproduce import reproduce_published_numbers  # needs pydantic

    settings = opt.run_settings(
        accelerator=accelerator,
        no_fallback=no_fallback,
        runs_dir=runs_dir,
        data_dir=data_dir,
        force=force,
        json=json,
        quiet=quiet,
    )
    return reproduce_published_numbers(
        experiments or [], seeds, out, settings, shlex.join(["dlrun", *sys.argv[1:]])
    )


@opt.calls("dlrun.commands.accelerators:list_accelerators")
def accelerators(
    experiment: Annotated[
        str | None,
        typer.Argument(
            metavar="[EXPERIMENT]",
            help="Time an epoch of it on each available device.",
            autocompletion=registry.experiment_names,
        ),
    ] = None,
    config: opt.ConfigFiles = None,
    overrides: opt.Overrides = None,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
    quiet: opt.Quiet = False,
    debug: opt.Debug = False,
) -> None:
    """List this machine's accelerators, why others are missing, and how fast they are.

    Example: dlrun accelerators cifar100 --set data.source=sample
    """


@opt.calls("dlrun.commands.demo:run_demo")
def demo(
    experiments: Annotated[list[str] | None, opt.Experiments] = None,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
    debug: opt.Debug = False,
) -> None:
    """Run every experiment on generated or shipped data, without a download.

    Example: dlrun demo --runs-dir demo-runs
    """


def config(
    experiment: Annotated[str, opt.Experiment],
    config: opt.ConfigFiles = None,
    overrides: opt.Overrides = None,
    debug: opt.Debug = False,
) -> None:
    """Print an experiment's resolved config as YAML.

    Example: dlrun config imdb-lstm --set batch_size=100 > mine.yaml
    """
    from dlrun.config.validation import config_to_yaml  # needs pydantic
    from dlrun.runs.start import load_experiment_config

    settings = opt.run_settings(config=config, overrides=overrides)
    typer.echo(config_to_yaml(load_experiment_config(experiment, settings)), nl=False)


def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="As in my-experiment.")],
    into: Annotated[Path, opt.option("Where the package's folder goes.", "DIR")] = Path(),
    debug: opt.Debug = False,
) -> None:
    """Write a package with an experiment of your own: code, configs, and a test that passes.

    Example: dlrun new my-experiment
    """
    parent: Any = context.parent
    write_experiment_package(name, into, parent.command.list_commands(parent))


@data.command()
@opt.calls("dlrun.commands.data:fetch_dataset")
def fetch(
    dataset: Dataset,
    overrides: opt.DataOverrides = None,
    data_dir: opt.DataDir = None,
    debug: opt.Debug = False,
) -> None:
    """Download the data and prepare them for the experiments.

    Example: dlrun data fetch imdb --set data.source=keras
    """


@data.command()
@opt.calls("dlrun.commands.data:verify_dataset")
def verify(
    dataset: Dataset,
    overrides: opt.DataOverrides = None,
    data_dir: opt.DataDir = None,
    debug: opt.Debug = False,
) -> None:
    """Check the files against the published checksums, and their contents.

    Example: dlrun data verify imdb --set data.archive=aclImdb_v1.tar.gz
    """


@data.command()
@opt.calls("dlrun.commands.data:show_dataset")
def show(
    dataset: Dataset,
    count: Annotated[int, typer.Option(min=1, max=1000, help="How many reviews.")] = 3,
    first: Annotated[int, typer.Option(min=0, help="Index of the first.")] = 0,
    part: Annotated[Literal["train", "test"], typer.Option(help="Which half.")] = "train",
    overrides: opt.DataOverrides = None,
    data_dir: opt.DataDir = None,
    debug: opt.Debug = False,
) -> None:
    """Show reviews, decoded from their ids back to words.

    Example: dlrun data show imdb --count 2 --set data.source=sample
    """
