"""Make the folder of a new run with all that begins it, or remove a run that never began."""

import contextlib
import hashlib
import shutil
import uuid
from pathlib import Path
from typing import Any, Protocol

from dlrun.config.sections import ExperimentConfig
from dlrun.config.yaml_loader import Values, dump_yaml
from dlrun.errors import DlrunError
from dlrun.runs import checkpoint, environment
from dlrun.runs.checksummed_json import to_checksummed_json
from dlrun.runs.find import repair_latest_link
from dlrun.runs.folder import CONFIG, ENVIRONMENT, METRICS, OutputFolder
from dlrun.runs.notes import RunNotes, change_notes
from dlrun.runs.options import RunOptions, resolve_runs_dir
from dlrun.runs.record import RunRecord, read_run_record, write_run_record
from dlrun.runs.run import Run
from dlrun.system.files import read_regular_file


class RunnableExperiment(Protocol):
    """Says what the folder and the record of a run need to know of its experiment."""

    @property
    def name(self) -> str: ...

    @property
    def package(self) -> str:
        """The package contains the experiment's code."""

    @property
    def stochastic(self) -> bool:
        """A stochastic experiment has other numbers for another seed, on the same rows."""

    @property
    def resumable(self) -> bool:
        """A resumable run continues where it was stopped."""

    @property
    def max_threads(self) -> int | None:
        """More threads of the CPU do not make a run faster."""

    def depends_on_seed(self, config: Any) -> bool:
        """The seed changes the numbers, or divides the rows."""


def new_record(
    experiment: RunnableExperiment,
    config: ExperimentConfig,
    options: RunOptions,
    continued: Run | None = None,
) -> RunRecord:
    """The run has not begun; it may continue another."""
    values = config.model_dump(mode="json")
    return RunRecord(
        id=uuid.uuid4().hex,
        experiment=experiment.name,
        status="waiting",
        data_dir=options.recorded_data_dir,
        seed=config.seed,
        is_stochastic=experiment.stochastic,
        depends_on_seed=experiment.depends_on_seed(config),
        threads=continued.record.threads if continued else None,
        source=config.source,
        sweep=options.sweep,
        continues=continued.name if continued else None,
        config=values,
        steps=continued.record.steps if continued else None,
        files={CONFIG: hashlib.sha256(_config_yaml(values)).hexdigest()},
    )


def write_first_files(
    folder: OutputFolder,
    record: RunRecord,
    options: RunOptions,
    package: str,
    continued: Run | None = None,
) -> None:
    """Write a new run's config, environment, record, notes, and the checkpoint that it continues.

    Of a run that waited, the environment and the record are written again. package: that of the
    experiment's code.
    """
    about = environment.describe_environment(package)
    folder.write_text(ENVIRONMENT, to_checksummed_json(about))
    write_run_record(folder, record)
    if (folder.path / CONFIG).exists():
        return  # it waited: its config and notes are written
    if continued is not None:
        screen = options.console()
        checkpoint.copy_checkpoint(continued.folder, continued.record.id, folder, record.id, screen)
    if (notes := options.notes) != RunNotes():
        change_notes(folder.path, lambda _: notes)
    # Last: a folder with a config.yaml is a run, and has the others.
    folder.write(CONFIG, _config_yaml(record.config))


def _config_yaml(config: Values) -> bytes:
    return dump_yaml(config).encode("utf-8", "backslashreplace")


def make_waiting_run(
    experiment: RunnableExperiment, config: ExperimentConfig, options: RunOptions
) -> Run:
    """Make the folder of a new run that waits until `resume_run` begins it; return the run.

    If the files cannot be written, no folder is left.
    """
    record = new_record(experiment, config, options)
    runs_dir = resolve_runs_dir(options.runs_dir)
    folder = OutputFolder.claim_run(runs_dir, experiment.name, options.name)
    try:
        with folder.locked():
            write_first_files(folder, record, options, experiment.package)
    except BaseException:  # also a signal
        remove_new_run(folder.path)
        raise
    return Run(folder.path, record)


def remove_new_run(folder: Path) -> None:
    """The run has finished no step, so that nothing is lost."""
    shutil.rmtree(folder)
    repair_latest_link(folder.parents[1], folder.parent.name)


def _has_finished_step(folder: Path) -> bool:
    """A step is an epoch, a penalty or a batch."""
    metrics = folder / METRICS
    return metrics.exists() and read_regular_file(metrics).count(b"\n") > 1  # its header is a line


def remove_unless_begun(folder: Path, *, is_refused: bool = False) -> bool:
    """Remove a run that still waits; return whether it was removed.

    is_refused: whether a run that failed before its first finished step is removed, too.
    """
    with contextlib.suppress(DlrunError, OSError):  # another process has it, or removed it
        with OutputFolder(folder).locked():
            status = read_run_record(folder).status
            has_ended_early = status == "failed" and not _has_finished_step(folder)
        if status == "waiting" or (is_refused and has_ended_early):
            remove_new_run(folder)
            return True
    return False
