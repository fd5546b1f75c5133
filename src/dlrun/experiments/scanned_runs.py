"""Open the runs in folders, also damaged ones, and say which of their files are damaged."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments.saved_run import WRONG_DIGEST, Run
from dlrun.run_folder.checkpoint import find_damaged_checkpoints
from dlrun.run_folder.find import runs_newest_first
from dlrun.run_folder.notes import read_notes
from dlrun.run_folder.record import RunRecord, read_run_environment
from dlrun.system.files import file_digest


def scan_folder(folder: Path) -> Run:
    """Open the run in a folder, also a damaged one; FileNotFoundError if it was removed."""
    try:
        run = Run.in_folder(folder)
        read_run_environment(folder)
    except DlrunError as error:
        if not folder.exists():
            raise FileNotFoundError(folder) from None
        empty = RunRecord(experiment=folder.parent.name, status="failed")
        return Run(folder, empty, problem=error.message.removeprefix(f"{folder}/"))
    return run


def scan_runs(runs_dir: Path, experiment: str | None = None) -> Iterator[Run]:
    """Yield the runs of one or all experiments, the newest first, each opened when asked for."""
    if experiment is not None and (Path(experiment).name != experiment or experiment == ".."):
        raise ConfigError(f"{experiment!r}: not the name of an experiment", "see `--runs-dir`")
    for folder in runs_newest_first(runs_dir, experiment, damaged=True):
        with contextlib.suppress(FileNotFoundError):  # removed in the meantime
            yield scan_folder(folder)


def find_damage(run: Run) -> Iterator[str]:
    """Yield a sentence for each damaged file in a run's folder."""
    if run.problem is not None:
        yield run.problem
        return
    try:
        read_notes(run.folder)
    except DlrunError as error:
        yield error.message
    for name, expected in run.record.files.items():
        file = run.folder / name
        try:
            if file_digest(file) != expected:
                yield f"{file}: {WRONG_DIGEST}"
        except (OSError, ValueError) as error:  # ValueError: the record names no file
            yield f"{file}: {getattr(error, 'strerror', error)}"
    yield from find_damaged_checkpoints(run.folder, run.record.id)
