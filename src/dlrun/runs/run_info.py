"""The folders among the runs, and their state; one that cannot be read hides no other."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dlrun.config.yaml_loader import flatten
from dlrun.errors import ConfigError, DataError, DlrunError
from dlrun.run_folder.checkpoint import has_checkpoint
from dlrun.run_folder.find import candidate_folders, time_from_name
from dlrun.run_folder.folder import CONFIG
from dlrun.run_folder.record import ENVIRONMENT, FORMAT, LOCK, RESULTS
from dlrun.run_folder.stored_run import StoredRun, open_stored
from dlrun.runs.console_summary import published_metrics
from dlrun.runs.key_metric import main_metric
from dlrun.runs.run_config import changed_settings, ran_with
from dlrun.system.files import folder_size, is_locked

# The states of a run, and two of folders that hold none.
STATES = (
    "waiting", "running", "finished", "failed", "interrupted", "killed", "damaged", "foreign",
)  # fmt: skip


@dataclass(frozen=True)
class RunInfo:
    """A folder and what is known about it.

    run: None if its files cannot be read, or are not written yet. state: one of STATES. problem:
    why there is no run, or what is missing from it.
    """

    folder: Path
    state: str
    run: StoredRun | None
    problem: str | None = None

    @property
    def experiment(self) -> str:
        """The experiment's name, by the record or the parent folder."""
        return self.run.record.experiment if self.run else self.folder.parent.name

    @cached_property
    def size(self) -> int:
        """The bytes of its files."""
        return folder_size(self.folder)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The config that it ran with, by dotted keys; empty if there is no run."""
        return flatten(ran_with(self.run)) if self.run else {}

    @cached_property
    def differs(self) -> dict[str, Any]:
        """The keys that are not as shipped; empty if the experiment is not installed."""
        try:
            return changed_settings(self.run) if self.run else {}
        except ConfigError:
            return {}

    def about(self) -> dict[str, Any]:
        """Return the fields of `dlrun runs list --json`."""
        record = self.run.record if self.run else None
        metric = main_metric(record) if record else None
        book = published_metrics(record).get("book", {}) if record else {}
        return {
            "name": self.folder.name,
            "experiment": self.experiment,
            "state": self.state,
            "metric": metric,
            "value": record.metrics[metric] if record and metric else None,
            "interval": record.interval if record else None,
            "book": book.get(metric) if metric else None,
            "seconds": record.seconds.get("total") if record else None,
            "size": self.size,
            "differs": self.differs,
            "began": record.started if record else None,
            "folder": str(self.folder),
            "problem": self.problem,
        }


def scan_folder(folder: Path) -> RunInfo:
    """Return what is in a folder, without reading the contents of a run's large files.

    Raises FileNotFoundError if the folder was removed meanwhile.
    """
    try:
        names = {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        raise
    except OSError as error:
        return RunInfo(folder, "damaged", None, error.strerror)
    if not names & {RESULTS, CONFIG, ENVIRONMENT, LOCK} and time_from_name(folder) is None:
        return RunInfo(folder, "foreign", None, "not a run's folder")
    config = folder / CONFIG
    try:
        run = open_stored(folder)
        _ = run.environment
        if not config.is_file() or config.stat().st_size == 0:
            raise DlrunError(f"{config}: missing or empty")
    except DlrunError as error:
        if is_locked(folder / LOCK):  # its first files are being written
            return RunInfo(folder, "running", None)
        return RunInfo(folder, "damaged", None, error.message.removeprefix(f"{folder}/"))
    lost = "no checkpoint of its finished steps" if _lost_checkpoint(run) else None
    return RunInfo(folder, run.state, run, lost)


def scan_runs(runs_dir: Path, experiment: str | None = None) -> list[RunInfo]:
    """Return all folders among the runs, or one experiment's, the newest first.

    Raises ConfigError if the experiment's name is a path.
    """
    if experiment is not None and (Path(experiment).name != experiment or experiment == ".."):
        raise ConfigError(
            f"{experiment!r}: not the name of an experiment", "--runs-dir names a folder"
        )
    found = []
    for folder in candidate_folders(runs_dir, experiment):
        try:
            found.append(scan_folder(folder))
        except FileNotFoundError:  # removed meanwhile
            continue
    return found


def _lost_checkpoint(run: StoredRun) -> bool:
    """Return whether a run that was stopped has finished steps, but nothing to continue from."""
    stopped = run.state in ("killed", "failed", "interrupted") and run.record.format >= FORMAT
    if not stopped or has_checkpoint(run.folder):
        return False
    try:
        return bool(run.record.steps) or any(run.table.values())
    except DataError:  # no metrics.csv yet
        return False
