"""`dlrun sweep`: begin or continue a sweep, and refuse options that do not fit together."""

from typing import Annotated, get_args

import typer

from dlrun.cli import options as opt
from dlrun.errors import UsageError
from dlrun.experiments.arguments import divide_arguments
from dlrun.experiments.registry import experiment_names, find_experiments
from dlrun.runs.notes import RunNotes
from dlrun.runs.options import RunOptions
from dlrun.slurm.submit import parse_slurm_options
from dlrun.sweeps.place import Place, Slurm, ThisMachine
from dlrun.sweeps.planner import ChosenExperiment
from dlrun.sweeps.search_space import Sampler, parse_search_space, separate_fixed_and_swept
from dlrun.sweeps.sweep import continue_sweep, start_sweep

# Options that `sweep --resume` accepts.
CONTINUING = {
    *("--resume", "--by", "--jobs", "--force", "--slurm", "--wait"),
    *("--runs-dir", "--data-dir", "--json", "--quiet", "--debug"),
}
SEEDS_HELP = "3: seeds 0 to 2; 0-2: the same; 0,3,7: these."
SPACE_HELP = "log:1e-4..1e-2, lin:0..1, int:1..9 or a|b|c; repeatable."
FOLDS_HELP = "Cross-validation: each of N parts of the rows is the test once."
SAMPLER_HELP = "How to take points from the spaces (default: random)."
BY_HELP = "The validation metric that chooses, such as roc_auc."
TRIALS_HELP = "How many points to take from the spaces."
EXPERIMENTS_HELP = f"{opt.EXPERIMENT_HELP[:-1]}; or several, with commas."


def _complete_experiments(incomplete: str) -> list[str]:
    """A shell offers the experiments that may follow those before the last comma."""
    before, comma, _ = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in experiment_names()]


def sweep(
    context: typer.Context,
    experiment: Annotated[
        str | None, opt.argument(EXPERIMENTS_HELP, "EXPERIMENT", _complete_experiments)
    ] = None,
    words: opt.SettingWords = None,
    seeds: Annotated[str | None, opt.option(SEEDS_HELP, "SEEDS")] = None,
    folds: Annotated[int | None, opt.option(FOLDS_HELP, "N", min=2, max=1000)] = None,
    space: Annotated[list[str] | None, opt.option(SPACE_HELP, "KEY=SPACE")] = None,
    sampler: Annotated[
        Sampler | None, opt.option(SAMPLER_HELP, "|".join(get_args(Sampler)))
    ] = None,
    trials: Annotated[int | None, opt.option(TRIALS_HELP, "N", min=1)] = None,
    by: Annotated[str | None, opt.option(BY_HELP, "METRIC")] = None,
    jobs: opt.Jobs = None,
    resume: Annotated[str | None, opt.option("Continue this sweep, or latest.", "NAME")] = None,
    slurm: opt.Slurm = None,
    wait: opt.Wait = False,
    config: opt.Config = None,
    overrides: opt.Overrides = None,
    accelerator: opt.Accelerator = None,
    no_fallback: opt.NoFallback = False,
    runs_dir: opt.RunsDir = None,
    data_dir: opt.DataDir = None,
    name: Annotated[str | None, opt.option("The sweep's name.", "NAME")] = None,
    note: opt.Note = None,
    tags: opt.Tags = None,
    dry_run: Annotated[bool, opt.flag("Check every point, and show them.", "--dry-run")] = False,
    force: opt.Force = False,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> int:
    """Run experiments for several seeds and config values in parallel, and name the best config.

    KEY=A,B runs each of these values, KEY=A is the same in all runs. Experiments A,B are compared
    by their validation metric; each must have the keys that are given.

    Examples:
    dlrun sweep imdb-dense optimizer.lr=0.001,0.002 --seeds 5
    dlrun sweep imdb-lstm --trials 20 --space optimizer.lr=log:1e-4..1e-2
    dlrun sweep hitters-lasso --folds 10
    dlrun sweep table-boosting,table-dense cars.csv data.target=price --by rmse
    dlrun sweep --resume latest
    """
    named_options = {
        param.opts[0]
        for param in context.command.params
        if getattr(context.get_parameter_source(str(param.name)), "name", "") == "COMMANDLINE"
    }
    place: Place = ThisMachine(jobs)
    if opt.is_for_slurm(slurm, wait):
        hint = "--slurm parallel=N runs N points at once"
        _forbid(named_options & {"--jobs"}, "not with --slurm", hint)
        place = Slurm(parse_slurm_options(slurm or []), wait)
    if resume is not None:
        problem = "--resume continues a sweep as it was planned"
        _forbid(named_options - CONTINUING, problem, "leave it out")
        options = RunOptions(
            runs_dir=runs_dir, data_dir=data_dir, force=force, json=json, quiet=quiet
        )
        code, _ = continue_sweep(resume, options, place, by)
        return code
    if experiment is None:
        raise UsageError("missing argument EXPERIMENT", "dlrun sweep EXPERIMENT --seeds 5")
    named: list[str] = []
    chosen: list[ChosenExperiment] = []
    for declaration in find_experiments(experiment.split(",")):
        named, arguments = divide_arguments(declaration, words)  # all divide the words alike
        chosen.append(ChosenExperiment(declaration, arguments))
    fixed, swept = separate_fixed_and_swept(named)
    options = RunOptions(
        config=config or (),
        values=opt.parse_values(fixed, overrides, accelerator, no_fallback=no_fallback),
        runs_dir=runs_dir,
        data_dir=data_dir,
        name=name,
        notes=RunNotes().changed(note, add=tags or ()),
        dry_run=dry_run,
        force=force,
        json=json,
        quiet=quiet,
    )
    search = parse_search_space(seeds, swept, space or (), trials, sampler, folds, by)
    code, _ = start_sweep(chosen, options, search, place)
    return code


def _forbid(options: set[str], reason: str, hint: str) -> None:
    """Raise UsageError if there are options, which the user has named."""
    if options:
        raise UsageError(f"{', '.join(sorted(options))}: {reason}", hint)
