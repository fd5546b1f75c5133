"""Run an experiment from its command to the finished run folder, or resume a run.

`dlrun EXPERIMENT`, `dlrun.run`, verify and demo begin a run by `run_experiment`. A sweep and
`--slurm` make a run that waits, by `make_waiting_run`. `resume_run` begins such a run, or continues
another.
"""

import contextlib
import logging
import shlex
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

from dlrun.config.sections import ExperimentConfig
from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments import checks
from dlrun.experiments.experiment_base import AnyExperiment
from dlrun.runs import run_context
from dlrun.runs.checkpoint import CheckpointError, checkpoint_files
from dlrun.runs.find import find_run, repair_latest_link
from dlrun.runs.folder import LOG, METRICS, SWEEPS, RunFolder, check_runs_folder_writable
from dlrun.runs.record import RunRecord
from dlrun.runs.run import Run
from dlrun.runs.run_context import RunSettings, print_results_json
from dlrun.runs.run_recorder import RunRecorder, new_record, write_first_files
from dlrun.system.files import check_regular_file, read_regular_file

log = logging.getLogger("dlrun")


def run_experiment(name: str, settings: RunSettings) -> tuple[int, Path | None]:
    """Run an experiment, and return the exit code and the run's folder (None for a dry run)."""
    config = checks.check_new_run(name, settings, is_local=True)
    if config is None:
        return 0, None
    return _run_in_new_folder(checks.import_experiment_to_run(name, config), config, settings)


def make_waiting_run(experiment: str, config: ExperimentConfig, settings: RunSettings) -> Run:
    """Make the folder of a new run that waits until `resume_run` begins it; return the run.

    If the files cannot be written, no folder is left.
    """
    record = new_record(experiment, config, settings)
    runs_dir = run_context.resolve_runs_dir(settings.runs_dir)
    folder = RunFolder.claim(runs_dir, experiment, settings.name)
    try:
        with folder.locked():
            write_first_files(folder, record, settings)
    except BaseException:  # also a signal
        remove_new_run(folder.path)
        raise
    return Run(folder.path, record)


def remove_new_run(folder: Path) -> None:
    """Remove the folder of a run that has finished no step."""
    shutil.rmtree(folder)
    repair_latest_link(folder.parents[1], folder.parent.name)


def resume_run(run: str, settings: RunSettings) -> tuple[int, Path]:
    """Begin a run that waits, or continue another; return the exit code and the run's folder.

    A finished run continues only with more epochs. A run continues in its own folder; with more
    epochs than it was to have, in a new one. The overrides in the settings can change only a few
    other keys.
    """
    runs_dir = run_context.resolve_runs_dir(settings.runs_dir)
    folder = RunFolder(find_run(run, runs_dir))
    is_final = Run.in_folder(folder.path).is_finished  # nothing is written to it
    with contextlib.nullcontext() if is_final else folder.locked():
        opened = Run.in_folder(folder.path)  # another process may have finished it
        name = opened.record.experiment
        status = opened.record.status
        config = checks.resumed_config(opened, settings)
        checks.check_no_links(folder.path)
        needs_new_run = config.total_steps != opened.config.total_steps
        if status == "finished" and not needs_new_run:
            _note_nothing_to_resume(opened, settings)
            return 0, folder.path
        if status != "waiting" or needs_new_run:
            checks.check_can_continue(opened, config, settings)
        checks.check_run_can_start(name, config, settings)
        experiment = checks.import_experiment_to_run(name, config)
        if not needs_new_run:
            with _telling_how_to_repeat(opened):
                code = _run_in_folder(experiment, config, settings, folder, opened.record)
            return code, folder.path
    if not checkpoint_files(folder.path):
        hint = f"`dlrun resume {shlex.quote(str(folder.path))}` starts it as it was"
        raise DlrunError(f"{folder.path}: no finished epoch to continue from", hint)
    check_runs_folder_writable(runs_dir)
    with _telling_how_to_repeat(opened):
        return _run_in_new_folder(experiment, config, settings, opened)


@contextlib.contextmanager
def _telling_how_to_repeat(run: Run) -> Iterator[None]:
    """Add the command that repeats a run to the error of a resume whose checkpoints are no use."""
    try:
        yield
    except CheckpointError as error:
        error.hint = f"`{run.repeat_command}` starts another run"
        raise


def _note_nothing_to_resume(run: Run, settings: RunSettings) -> None:
    more = run.resume_command
    hint = f"; {more} continues it in a new run" if more else ""
    if sweep := run.record.sweep:
        folder = run.folder.parents[1] / SWEEPS / sweep.name
        resume = shlex.join(["dlrun", "sweep", "--resume", str(folder)])
        hint = f"; `{resume}` continues its sweep"
    screen = settings.console()
    screen.note(f"{run.folder}: finished, there is nothing to resume{hint}")
    if settings.json:
        print_results_json(run.folder, screen)


def _run_in_new_folder(
    experiment: AnyExperiment,
    config: ExperimentConfig,
    settings: RunSettings,
    continued: Run | None = None,
) -> tuple[int, Path]:
    """Run an experiment in a new folder, and return the exit code and the folder.

    continued: the earlier run whose last checkpoint the new run continues.
    """
    runs_dir = run_context.resolve_runs_dir(settings.runs_dir)
    record = new_record(experiment.name, config, settings, continued)
    folder = RunFolder.claim(runs_dir, experiment.name, settings.name)
    try:
        with folder.locked():
            code = _run_in_folder(experiment, config, settings, folder, record, continued)
    except DlrunError as error:
        is_refused = continued is not None or error.exit_code == ConfigError.exit_code
        if is_refused and not has_finished_step(folder.path):
            remove_new_run(folder.path)
            settings.console().note(f"{folder.path}: removed, it has no finished step")
        raise
    return code, folder.path


def has_finished_step(folder: Path) -> bool:
    """Return whether the run in a folder has finished an epoch, a penalty or a batch."""
    metrics = folder / METRICS
    return metrics.exists() and read_regular_file(metrics).count(b"\n") > 1  # its header is a line


def _run_in_folder(
    experiment: AnyExperiment,
    config: ExperimentConfig,
    settings: RunSettings,
    folder: RunFolder,
    record: RunRecord,
    continued: Run | None = None,
) -> int:
    """Run an experiment in its folder, record how it ends, and return the exit code."""
    recorder = RunRecorder(experiment, config, folder, settings, record, continued)
    check_regular_file(folder.path / LOG)
    log_file = logging.FileHandler(folder.path / LOG, "a", "utf-8", errors="backslashreplace")
    with _log_messages_to(log_file), recorder.context.stop.handle_signals():
        try:
            recorder.begin()
            results = experiment.run(config, recorder.context)
            recorder.finish(results)
        except BaseException as error:
            shown = recorder.end_early(error)
            if shown is error:
                raise
            raise shown from error
        recorder.show(results)
    return results.exit_code


@contextlib.contextmanager
def _log_messages_to(handler: logging.Handler) -> Iterator[None]:
    """Hand log messages and warnings to a handler during a block."""
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    level = log.level
    raises = logging.raiseExceptions
    root.addHandler(handler)
    log.setLevel(logging.INFO)
    logging.raiseExceptions = False  # on a full disk: no traceback for each line of the log
    is_captured = getattr(warnings.showwarning, "__module__", "") == "logging"  # by the caller
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(is_captured)
        logging.raiseExceptions = raises
        log.setLevel(level)
        root.removeHandler(handler)
        with contextlib.suppress(OSError):  # NFS says only now that lines could not be written
            handler.close()
