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


def resume_command(run: Run) -> str | None:
    """Write the command that continues a run, or None. A finished run continues in a new run."""
    try:
        experiment = experiment_of(run)
    except DlrunError:  # the experiment is not installed
        return None
    state = run.state
    if state == "waiting":
        return command_to_continue(run)
    if not experiment.resumable or state == "running":
        return None
    has_checkpoint = bool(checkpoint_files(run.folder))
    if state != "finished":
        return command_to_continue(run) if has_checkpoint or not run.record.steps else None
    can_be_longer = EPOCHS in experiment.keys_to_resume(run.settings)
    stopped_early = run.record.stopped_epoch is not None
    continues = has_checkpoint and can_be_longer and not stopped_early
    epochs = 2 * (run.record.steps or 1)
    return f"{command_to_continue(run)} {EPOCHS}={epochs}" if continues else None


def resume_run(run: str, options: RunOptions) -> tuple[int, Path]:
    """Begin a run that waits, or continue another; return the exit code and the run's folder.

    A finished run continues only with more epochs. A run continues in its own folder; with more
    epochs than it was to have, in a new folder. The values in the options can change only a few
    other keys. If the options name no data folder, the run's own is used.
    """
    folder = OutputFolder(find_run(run, resolve_runs_dir(options.runs_dir)))
    is_final = Run.in_folder(folder.path).is_finished  # then nothing is written into the folder
    with contextlib.nullcontext() if is_final else folder.locked():
        opened = Run.in_folder(folder.path)  # another process may have finished it
        options = _with_data_dir_of_run(opened, options)
        experiment = experiment_of(opened)
        config = checks.resumed_config(experiment, opened, options)
        checks.check_no_links(folder.path)
        steps = experiment.total_steps(config)
        if steps == experiment.total_steps(config_of(experiment, opened)):
            return _continue_in_its_folder(experiment, opened, config, options), folder.path
    return _continue_in_new_folder(experiment, opened, config, options)


def _with_data_dir_of_run(run: Run, options: RunOptions) -> RunOptions:
    """Add the data folder of a run to options that name none, if the folder still exists."""
    recorded = run.record.data_dir
    if options.data_dir is not None or recorded is None or not Path(recorded).is_dir():
        return options
    return replace(options, data_dir=Path(recorded))


def _continue_in_its_folder(
    experiment: Experiment[C], opened: Run, config: C, options: RunOptions
) -> int:
    """Continue or begin a run in its folder, which is locked; return the exit code."""
    if opened.is_finished:
        _note_nothing_to_resume(opened, options)
        return 0
    if opened.record.status != "waiting":
        checks.check_can_continue(experiment, opened, config, options)
    checks.check_run_can_start(experiment, config, options)
    with _telling_how_to_repeat(opened):
        return run_in_folder(
            experiment, config, options, OutputFolder(opened.folder), opened.record
        )


def _continue_in_new_folder(
    experiment: Experiment[C], opened: Run, config: C, options: RunOptions
) -> tuple[int, Path]:
    """Continue a run with more epochs in a new folder; return the exit code and that folder."""
    checks.check_can_continue(experiment, opened, config, options)
    if not checkpoint_files(opened.folder):
        hint = f"`{command_to_continue(opened)}` starts it as it was"
        raise DlrunError(f"{opened.folder}: no finished epoch to continue from", hint)
    checks.check_run_can_start(experiment, config, options)
    check_runs_folder_writable(resolve_runs_dir(options.runs_dir))
    with _telling_how_to_repeat(opened):
        return run_in_new_folder(experiment, config, options, opened)


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
        hint = f"; `{resume_sweep_command(folder)}` continues its sweep"
    screen = options.console()
    screen.note(f"{run.folder}: finished, there is nothing to resume{hint}")
    if options.json:
        print_results_json(run.folder, screen)
