"""Run an experiment from its command to the finished run folder, or resume a run.

`dlrun EXPERIMENT`, `dlrun.run`, verify and demo begin a run by `run_experiment`. A sweep and
`--slurm` make a run that waits, by `make_waiting_run`. `resume_run` begins such a run, or continues
another.
"""

import contextlib
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

from dlrun.config.sections import ExperimentConfig
from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments import checks, registry
from dlrun.experiments.comparable_with_published import compare_with_published
from dlrun.experiments.experiment_base import AnyExperiment
from dlrun.experiments.saved_runs import config_of, resume_command
from dlrun.runs.checkpoint import CheckpointError, checkpoint_files
from dlrun.runs.find import find_run, repair_latest_link
from dlrun.runs.folder import METRICS, SWEEPS, RunFolder, check_runs_folder_writable
from dlrun.runs.live_run import LiveRun
from dlrun.runs.new_run import new_record, write_first_files
from dlrun.runs.options import RunOptions, resolve_runs_dir
from dlrun.runs.record import RunRecord
from dlrun.runs.run import Run
from dlrun.runs.shown_results import print_results_json, show_results
from dlrun.system.files import read_regular_file


def run_experiment(name: str, options: RunOptions) -> tuple[int, Path | None]:
    """Run an experiment, and return the exit code and the run's folder (None for a dry run)."""
    config = checks.check_new_run(name, options, is_local=True)
    if config is None:
        return 0, None
    return _run_in_new_folder(checks.import_experiment_to_run(name, config), config, options)


def make_waiting_run(experiment: str, config: ExperimentConfig, options: RunOptions) -> Run:
    """Make the folder of a new run that waits until `resume_run` begins it; return the run.

    If the files cannot be written, no folder is left.
    """
    record = new_record(experiment, config, options)
    package = registry.experiment_entry(experiment).package
    runs_dir = resolve_runs_dir(options.runs_dir)
    folder = RunFolder.claim(runs_dir, experiment, options.name)
    try:
        with folder.locked():
            write_first_files(folder, record, options, package)
    except BaseException:  # also a signal
        remove_new_run(folder.path)
        raise
    return Run(folder.path, record)


def remove_new_run(folder: Path) -> None:
    """Remove the folder of a run that has finished no step."""
    shutil.rmtree(folder)
    repair_latest_link(folder.parents[1], folder.parent.name)


def resume_run(run: str, options: RunOptions) -> tuple[int, Path]:
    """Begin a run that waits, or continue another; return the exit code and the run's folder.

    A finished run continues only with more epochs. A run continues in its own folder; with more
    epochs than it was to have, in a new one. The values in the options can change only a few
    other keys.
    """
    folder = RunFolder(find_run(run, resolve_runs_dir(options.runs_dir)))
    is_final = Run.in_folder(folder.path).is_finished  # nothing is written to it
    with contextlib.nullcontext() if is_final else folder.locked():
        opened = Run.in_folder(folder.path)  # another process may have finished it
        config = checks.resumed_config(opened, options)
        checks.check_no_links(folder.path)
        if config.total_steps == config_of(opened).total_steps:
            return _continue_in_its_folder(opened, config, options), folder.path
    return _continue_in_new_folder(opened, config, options)


def _continue_in_its_folder(opened: Run, config: ExperimentConfig, options: RunOptions) -> int:
    """Continue or begin a run in its folder, which is locked; return the exit code."""
    if opened.is_finished:
        _note_nothing_to_resume(opened, options)
        return 0
    if opened.record.status != "waiting":
        checks.check_can_continue(opened, config, options)
    name = opened.record.experiment
    checks.check_run_can_start(name, config, options)
    experiment = checks.import_experiment_to_run(name, config)
    with _telling_how_to_repeat(opened):
        return _run_in_folder(experiment, config, options, RunFolder(opened.folder), opened.record)


def _continue_in_new_folder(
    opened: Run, config: ExperimentConfig, options: RunOptions
) -> tuple[int, Path]:
    """Continue a run with more epochs in a new folder; return the exit code and that folder."""
    checks.check_can_continue(opened, config, options)
    if not checkpoint_files(opened.folder):
        hint = f"`dlrun resume {shlex.quote(str(opened.folder))}` starts it as it was"
        raise DlrunError(f"{opened.folder}: no finished epoch to continue from", hint)
    name = opened.record.experiment
    checks.check_run_can_start(name, config, options)
    experiment = checks.import_experiment_to_run(name, config)
    check_runs_folder_writable(resolve_runs_dir(options.runs_dir))
    with _telling_how_to_repeat(opened):
        return _run_in_new_folder(experiment, config, options, opened)


@contextlib.contextmanager
def _telling_how_to_repeat(run: Run) -> Iterator[None]:
    """Add the command that repeats a run to the error of a resume whose checkpoints are no use."""
    try:
        yield
    except CheckpointError as error:
        error.hint = f"`{run.repeat_command}` starts another run"
        raise


def _note_nothing_to_resume(run: Run, options: RunOptions) -> None:
    more = resume_command(run)
    hint = f"; {more} continues it in a new run" if more else ""
    if sweep := run.record.sweep:
        folder = run.folder.parents[1] / SWEEPS / sweep.name
        resume = shlex.join(["dlrun", "sweep", "--resume", str(folder)])
        hint = f"; `{resume}` continues its sweep"
    screen = options.console()
    screen.note(f"{run.folder}: finished, there is nothing to resume{hint}")
    if options.json:
        print_results_json(run.folder, screen)


def _run_in_new_folder(
    experiment: AnyExperiment,
    config: ExperimentConfig,
    options: RunOptions,
    continued: Run | None = None,
) -> tuple[int, Path]:
    """Run an experiment in a new folder, and return the exit code and the folder.

    continued: the earlier run whose last checkpoint the new run continues.
    """
    runs_dir = resolve_runs_dir(options.runs_dir)
    record = new_record(experiment.name, config, options, continued)
    folder = RunFolder.claim(runs_dir, experiment.name, options.name)
    try:
        with folder.locked():
            code = _run_in_folder(experiment, config, options, folder, record, continued)
    except DlrunError as error:
        is_refused = continued is not None or error.exit_code == ConfigError.exit_code
        if is_refused and not has_finished_step(folder.path):
            remove_new_run(folder.path)
            options.console().note(f"{folder.path}: removed, it has no finished step")
        raise
    return code, folder.path


def has_finished_step(folder: Path) -> bool:
    """Return whether the run in a folder has finished an epoch, a penalty or a batch."""
    metrics = folder / METRICS
    return metrics.exists() and read_regular_file(metrics).count(b"\n") > 1  # its header is a line


def _run_in_folder(
    experiment: AnyExperiment,
    config: ExperimentConfig,
    options: RunOptions,
    folder: RunFolder,
    record: RunRecord,
    continued: Run | None = None,
) -> int:
    """Run an experiment in its folder, record how it ends, and return the exit code."""
    name = experiment.name
    package = registry.experiment_entry(name).package
    with LiveRun.begin(folder, record, config, options, package, continued) as run:
        results = experiment.run(config, run)
        published = compare_with_published(name, config, results)
        run.finish(results, published, lambda finished: experiment.draw(finished, config))
        if options.json:
            print_results_json(folder.path, run.screen)
        show_results(run.record, folder.path, run.screen, results.shown)
    return results.exit_code
