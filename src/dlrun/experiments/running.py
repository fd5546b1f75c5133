"""Run an experiment from its command to the finished run folder.

`dlrun EXPERIMENT`, `dlrun.run`, verify and demo begin a run by `run_experiment`. A sweep and
`--slurm` make a run that waits (`runs/new_run.py`); `resuming.py` begins such a run, or continues
another.
"""

from pathlib import Path

from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments import checks
from dlrun.experiments.comparable_with_published import compare_with_published
from dlrun.experiments.experiment import AnyExperiment, C, Experiment
from dlrun.runs.folder import OutputFolder
from dlrun.runs.new_run import new_record, remove_unless_begun
from dlrun.runs.options import RunOptions, resolve_runs_dir
from dlrun.runs.record import RunRecord
from dlrun.runs.run import Run
from dlrun.runs.shown_results import print_files, print_results, print_results_json
from dlrun.runs.written_run import WrittenRun


def run_experiment(experiment: AnyExperiment, options: RunOptions) -> tuple[int, Path | None]:
    """Run an experiment, and return the exit code and the run's folder (None for a dry run)."""
    config = checks.checked_config_of_new_run(experiment, options, is_local=True)
    if config is None:
        return 0, None
    return run_in_new_folder(experiment, config, options)


def run_in_new_folder(
    experiment: Experiment[C],
    config: C,
    options: RunOptions,
    continued: Run | None = None,
) -> tuple[int, Path]:
    """Run an experiment in a new folder, and return the exit code and the folder.

    continued: the earlier run whose last checkpoint the new run continues.
    """
    runs_dir = resolve_runs_dir(options.runs_dir)
    checks.import_implementation_to_run(experiment)
    record = new_record(experiment, config, options, continued)
    folder = OutputFolder.claim_run(runs_dir, experiment.name, options.name)
    try:
        with folder.locked():
            code = run_in_folder(experiment, config, options, folder, record, continued)
    except DlrunError as error:
        is_refused = continued is not None or error.exit_code == ConfigError.exit_code
        if remove_unless_begun(folder.path, is_refused=is_refused):
            options.console().note(f"{folder.path}: removed, it has no finished step")
        raise
    return code, folder.path


def run_in_folder(
    experiment: Experiment[C],
    config: C,
    options: RunOptions,
    folder: OutputFolder,
    record: RunRecord,
    continued: Run | None = None,
) -> int:
    """Run an experiment in its folder, record how it ends, and return the exit code."""
    implementation = checks.import_implementation_to_run(experiment)
    with WrittenRun.begin(experiment, folder, record, config, options, continued) as run:
        results = implementation.run(config, run)
        published = compare_with_published(experiment, config, results)
        run.finish(
            results,
            published,
            lambda record: print_results(record, run.screen, results.shown),
            lambda finished: implementation.draw(finished, config),
        )
        if options.json:
            print_results_json(folder.path, run.screen)
        print_files(run.record, folder.path, run.screen)
    return results.exit_code
