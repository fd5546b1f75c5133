"""Continue a run that was stopped or waits, or a finished one with more epochs.

`dlrun resume`, `dlrun.resume`, a SLURM job and a process of a sweep call `resume_run`.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from dlrun.config.sections import EPOCHS
from dlrun.errors import DlrunError
from dlrun.experiments import checks
from dlrun.experiments.experiment import C, Experiment
from dlrun.experiments.running import run_in_folder, run_in_new_folder
from dlrun.experiments.saved_runs import config_of, experiment_of
from dlrun.runs.checkpoint import CheckpointError, checkpoint_files
from dlrun.runs.find import find_run
from dlrun.runs.folder import (
    SWEEPS,
    OutputFolder,
    check_runs_folder_writable,
    resume_sweep_command,
)
from dlrun.runs.options import RunOptions, resolve_runs_dir
from dlrun.runs.run import Run, command_to_continue
from dlrun.runs.shown_results import print_results_json


def resume_run(wanted: str, options: RunOptions) -> tuple[int, Path]:
    """Begin a run that waits, or continue another; return the exit code and the run's folder.

    A run continues in its own folder; with another number of epochs than its config has, in a new
    folder. A finished run continues only in a new folder. The values in the options can change only
    a few other keys. If the options name no data folder, the run's own is used.
    """
    run = Run.in_folder(find_run(wanted, resolve_runs_dir(options.runs_dir)))
    options = _with_data_dir_of_run(run, options)
    experiment = experiment_of(run)
    config = checks.resumed_config(experiment, run, options)
    checks.check_no_links(run.folder)
    planned_steps = config_of(experiment, run).total_steps
    if config.total_steps != planned_steps:
        return _continue_in_new_folder(experiment, run, config, options)
    if run.is_finished:
        _note_nothing_to_resume(run, options)
        return 0, run.folder
    return _continue_in_its_folder(experiment, run.folder, config, options), run.folder


def _with_data_dir_of_run(run: Run, options: RunOptions) -> RunOptions:
    """Add the data folder of a run to options that name none, if the folder still exists."""
    recorded = run.record.data_dir
    if options.data_dir is not None or recorded is None or not Path(recorded).is_dir():
        return options
    return replace(options, data_dir=Path(recorded))


def _continue_in_its_folder(
    experiment: Experiment[C], path: Path, config: C, options: RunOptions
) -> int:
    """Begin or continue a run in its folder, which stays locked meanwhile; return the exit code."""
    folder = OutputFolder(path)
    with folder.locked():
        run = Run.in_folder(path)
        if run.is_finished:  # by another process, before the folder was locked
            _note_nothing_to_resume(run, options)
            return 0
        # Not `run.state`, which would be `running`, as this process has the lock.
        if run.record.status != "waiting":
            checks.check_can_continue(experiment, run, config, options)
        checks.check_run_can_start(experiment, config, options)
        with _telling_how_to_repeat(run):
            return run_in_folder(experiment, config, options, folder, run.record)


def _continue_in_new_folder(
    experiment: Experiment[C], run: Run, config: C, options: RunOptions
) -> tuple[int, Path]:
    """Continue a run with more epochs in a new folder; return the exit code and that folder."""
    if run.state == "running":
        raise DlrunError(f"{run.folder}: another process is running it", "wait for it, or stop it")
    checks.check_can_continue(experiment, run, config, options)
    if not checkpoint_files(run.folder):  # the run was stopped before its first epoch had ended
        hint = f"`{command_to_continue(run)}` starts it as it was"
        raise DlrunError(f"{run.folder}: no finished epoch to continue from", hint)
    checks.check_run_can_start(experiment, config, options)
    check_runs_folder_writable(resolve_runs_dir(options.runs_dir))
    with _telling_how_to_repeat(run):
        return run_in_new_folder(experiment, config, options, run)


@contextlib.contextmanager
def _telling_how_to_repeat(run: Run) -> Iterator[None]:
    """Add the command that repeats a run to the error of a resume whose checkpoints are no use."""
    try:
        yield
    except CheckpointError as error:
        error.hint = f"`{run.repeat_command}` starts another run"
        raise


def _note_nothing_to_resume(run: Run, options: RunOptions) -> None:
    """Note that a run has finished, with the command that continues its sweep or the run."""
    hint = ""
    if sweep := run.record.sweep:
        folder = run.folder.parents[1] / SWEEPS / sweep.name
        hint = f"; `{resume_sweep_command(folder)}` continues its sweep"
    elif more := resume_command(run):
        hint = f"; `{more}` continues it in a new run"
    screen = options.console()
    screen.note(f"{run.folder}: finished, there is nothing to resume{hint}")
    if options.json:
        print_results_json(run.folder, screen)


def resume_command(run: Run) -> str | None:
    """Write the command that continues a run, or None if nothing can continue the run.

    For a finished run the command asks for twice as many epochs, in a new run.
    """
    try:
        experiment = experiment_of(run)
        config = config_of(experiment, run)
        checks.check_further_steps_are_possible(run)
    except DlrunError:  # also if the experiment is not installed, or has other keys now
        return None
    state = run.state
    if state == "waiting":
        return command_to_continue(run)
    # A process has the run; a run without its process is `killed`, and can be continued.
    if state == "running" or not experiment.resumable:
        return None
    if state != "finished":
        return command_to_continue(run)
    steps = run.record.steps
    if steps is None or EPOCHS not in config.keys_to_resume:
        return None
    return f"{command_to_continue(run)} {EPOCHS}={2 * steps}"
