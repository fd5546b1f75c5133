"""Make the folder of a new run, with all that a resume needs to begin it: the run then waits."""

import hashlib
import uuid

from dlrun.config.sections import ExperimentConfig
from dlrun.config.yaml_loader import dump_yaml
from dlrun.runs import checkpoint, environment
from dlrun.runs.checksummed_json import to_checksummed_json
from dlrun.runs.folder import CONFIG, ENVIRONMENT, RunFolder
from dlrun.runs.notes import RunNotes, change_notes
from dlrun.runs.options import RunOptions
from dlrun.runs.record import RunRecord, write_run_record
from dlrun.runs.run import Run


def new_record(
    experiment: str, config: ExperimentConfig, options: RunOptions, continued: Run | None = None
) -> RunRecord:
    """Return the record of a run that has not begun yet, new or continuing another."""
    record = RunRecord(
        id=uuid.uuid4().hex,
        experiment=experiment,
        status="waiting",
        seed=config.seed,
        is_stochastic=config.stochastic,
        depends_on_seed=config.depends_on_seed,
        source=config.source,
        sweep=options.sweep,
        config=config.model_dump(mode="json"),
    )
    record.files[CONFIG] = hashlib.sha256(_config_yaml(record)).hexdigest()
    if continued is None:
        return record
    inherited = {"threads": continued.record.threads, "steps": continued.record.steps}
    return record.model_copy(update=inherited | {"continues": continued.name})


def write_first_files(
    folder: RunFolder,
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
    if (notes := options.notes()) != RunNotes():
        change_notes(folder.path, lambda _: notes)
    # Last: a folder with a config.yaml is a run, and has the others.
    folder.write(CONFIG, _config_yaml(record))


def _config_yaml(record: RunRecord) -> bytes:
    return dump_yaml(record.config).encode("utf-8", "backslashreplace")
