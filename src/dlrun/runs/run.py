"""Open a saved run, and read its results, files and metrics."""

import contextlib
import hashlib
import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

from dlrun.config.yaml_loader import Values, flatten_keys
from dlrun.errors import ConfigError, DataError, DlrunError, OtherVersionError
from dlrun.metrics import TESTED, format_metric
from dlrun.runs.find import find_run, runs_newest_first
from dlrun.runs.folder import CONFIG, LOCK, METRICS, RESULTS, file_sizes
from dlrun.runs.metrics_csv import newest_metrics, parse_metrics_csv
from dlrun.runs.notes import RunNotes, read_notes
from dlrun.runs.options import resolve_runs_dir
from dlrun.runs.record import (
    RunEnvironment,
    RunRecord,
    Status,
    read_run_environment,
    read_run_record,
)
from dlrun.system.files import file_digest, is_file_locked, read_regular_file

if TYPE_CHECKING:
    import pandas as pd


ASSETS = "assets.json"
# The states of runs that cannot be read.
DAMAGED = "damaged"
OTHER_VERSION = "other version"
# As `Run.state` returns it. The process of a `killed` run ended before it could record an end.
State: TypeAlias = Status | Literal["killed"]
WRONG_DIGEST = f"damaged or edited: its SHA-256 is not the one in {RESULTS}"


@dataclass(frozen=True, repr=False)
class Run:
    """Represents a saved run by its folder and its record (results.json).

    record: the fields of results.json that dlrun knows, each with its type; `record.metrics` are
    the final values. results: all of results.json as it is, also the fields that the experiment has
    added. metrics: metrics.csv, the values after each step.
    """

    folder: Path
    record: RunRecord

    @classmethod
    def open(cls, run: str | Path = "latest", runs_dir: Path | None = None) -> Self:
        """Open a run by a name that `find_run` knows; raise DlrunError if it cannot be read."""
        return cls.in_folder(find_run(str(run), resolve_runs_dir(runs_dir)))

    @classmethod
    def in_folder(cls, folder: Path) -> Self:
        """Open the run in a folder. Raises DlrunError if its record or config.yaml is damaged."""
        run = cls(folder, read_run_record(folder))
        config = folder / CONFIG
        try:
            is_whole = file_digest(config) == run.record.files.get(CONFIG)
        except OSError as error:
            raise DataError(f"{config}: {error.strerror}") from None
        if not is_whole:
            problem = f"{config}: damaged, or edited: the config of a run never changes"
            raise DataError(problem, f"`{run.repeat_command}` starts a new run with this config")
        return run

    @classmethod
    def of(cls, run: "Run") -> Self:
        return cls(run.folder, run.record)

    @property
    def name(self) -> str:
        """Return the run's name: that of its folder, with the time at its start."""
        return self.folder.name

    @property
    def state(self) -> State:
        """Return `waiting`, `running`, `finished`, `failed`, `interrupted` or `killed`.

        A killed run is recorded as running, but no process has the run any more.
        """
        status = self.record.status
        if status == "running" and not is_file_locked(self.folder / LOCK):
            with contextlib.suppress(DlrunError):  # removed
                status = read_run_record(self.folder).status  # it may have ended since it was read
            return "killed" if status == "running" else status
        return status

    @property
    def is_finished(self) -> bool:
        return self.record.status == "finished"

    @property
    def results(self) -> Values:
        """Return the contents of results.json, as they were when the run was opened."""
        return self.record.model_dump(mode="json")

    @cached_property
    def environment(self) -> RunEnvironment:
        """Return the content of environment.json: code, packages and machine of the run."""
        return read_run_environment(self.folder)

    @property
    def notes(self) -> RunNotes:
        """Return the note and the tags of the run; raise DlrunError if notes.json is damaged."""
        return read_notes(self.folder)

    @property
    def sizes(self) -> dict[str, int]:
        """Return the size in bytes of each file in the run folder and below, the largest first."""
        return file_sizes(self.folder)

    @property
    def figures(self) -> list[Path]:
        """Return the paths of the figures that the run drew."""
        return [self.folder / name for name in self.record.figures]

    @cached_property
    def metrics(self) -> "pd.DataFrame":
        """Return metrics.csv with a row per epoch or lasso penalty; raise DataError if damaged."""
        import pandas as pd  # slow; no run needs it for itself

        return pd.DataFrame(self.table)

    @cached_property
    def table(self) -> dict[str, list[float]]:
        """Return the columns of metrics.csv by name. Raises DataError if the file is damaged."""
        path = self.folder / METRICS
        content = self.read_if_written(METRICS)
        if content is None:
            raise DataError(f"{path}: missing: the run finished no step", "see `.results`")
        return parse_metrics_csv(content, path)

    @property
    def rows(self) -> list[dict[str, float]]:
        """Return the rows of metrics.csv by column. Raises DataError as `table` does."""
        rows = zip(*self.table.values(), strict=True)
        return [dict(zip(self.table, row, strict=True)) for row in rows]

    @property
    def newest_metrics(self) -> dict[str, float | None]:
        """Return the final metrics, or an unfinished run's newest value of each metric."""
        if self.record.metrics or not (self.folder / METRICS).exists():
            return dict(self.record.metrics)
        return dict(newest_metrics(self.rows))

    @cached_property
    def assets(self) -> Values:
        """Return the content of assets.json: what a network needs besides its weights."""
        assets: Values = json.loads(self.read(ASSETS))
        return assets

    @property
    def vocabulary(self) -> list[str]:
        """Return the words that the network knows, by frequency; empty if it reads no words."""
        return list(self.assets.get("vocabulary", []))

    @property
    def labels(self) -> list[str]:
        """Return the names of the classes; empty if the network has none."""
        return list(self.assets.get("labels", []))

    def read(self, name: str) -> bytes:
        """Return the content of a file of the run; raise DlrunError if the run did not write it."""
        content = self.read_if_written(name) if name in self.record.files else None
        if content is not None:
            return content
        self.check_has_result()
        raise DlrunError(f"{self.folder}: {self.record.experiment} keeps no {name}")

    def check_has_result(self) -> None:
        """Raise DlrunError if the run had not finished when it was opened."""
        if not self.is_finished:
            raise unfinished_run_error(self)

    def read_if_written(self, name: str) -> bytes | None:
        """Return a file's content, None if it was not written; raise DataError if it changed."""
        path = self.folder / name
        digest = self.record.files.get(name)
        if digest is None and (self.is_finished or not path.exists()):
            return None
        try:
            content = read_regular_file(path)
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}") from None
        if digest is not None and hashlib.sha256(content).hexdigest() != digest:
            raise DataError(f"{path}: {WRONG_DIGEST}")
        return content

    def check_data(self, digest: str) -> None:
        """Raise DataError if `digest` is not the fingerprint of the data that the run used."""
        if digest != self.record.data_digest:
            problem = f"{self.folder}: the data have changed since the run"
            raise DataError(problem, f"`{self.repeat_command}` runs it again")

    @cached_property
    def settings(self) -> Values:
        """Return the values of `config` by dotted keys, without the published numbers."""
        values = flatten_keys(self.record.config)
        return {key: values[key] for key in values if not key.startswith("reference.")}

    @property
    def repeat_command(self) -> str:
        """Return the command that repeats the run."""
        config = str(self.folder / CONFIG)
        words = ["dlrun", self.record.experiment, "--config", config, *self.place_options]
        return shlex.join(words)

    @property
    def place_options(self) -> list[str]:
        """Return the options --runs-dir and --data-dir that name the places where the run began.

        There is no --runs-dir for the default runs folder, nor if the run is in another one now, as
        a run that was handed in.
        """
        options = []
        began_in = Path(self.record.run).parent.parent
        here = self.folder.resolve().parents[1]
        if began_in.resolve() == here != resolve_runs_dir().resolve():
            options += ["--runs-dir", str(began_in)]
        if self.record.data_dir is not None:
            options += ["--data-dir", self.record.data_dir]
        return options

    def __repr__(self) -> str:
        tested = [name for name in self.record.metrics if name.startswith(TESTED)]
        metrics = "".join(f", {name} {format_metric(self.record.metrics[name])}" for name in tested)
        return f"<Run {self.record.experiment}/{self.name}: {self.state}{metrics}>"


def command_to_continue(run: Run) -> str:
    """The command begins a run that waits, or continues a run where it stopped.

    `experiments.resuming.resume_command` says whether a run can be continued.
    """
    return shlex.join(["dlrun", "resume", str(run.folder), *run.place_options])


def unfinished_run_error(run: Run) -> DlrunError:
    """Make the error that says that a run had not finished when it was opened."""
    hint = f"`{command_to_continue(run)}` continues it, unless it is running"
    return DlrunError(f"{run.folder}: {run.state}, so it cannot be used yet", hint)


@dataclass(frozen=True)
class UnreadableRun:
    """Represents a run whose record, environment or config cannot be read, by its folder.

    problem: which file cannot be read, and why. state: `damaged`, or `other version` if another
    version of dlrun wrote the run in another format.
    """

    folder: Path
    problem: str
    state: str

    @property
    def name(self) -> str:
        """Return the run's name: that of its folder, with the time at its start."""
        return self.folder.name

    @property
    def experiment(self) -> str:
        """Return the name of the folder of the run's experiment; the record is not known."""
        return self.folder.parent.name


ScannedRun: TypeAlias = Run | UnreadableRun


def scan_folder(folder: Path) -> ScannedRun:
    """Open the run in a folder, also one that cannot be read; FileNotFoundError if it is gone."""
    try:
        run = Run.in_folder(folder)
        read_run_environment(folder)
    except DlrunError as error:
        if not folder.exists():
            raise FileNotFoundError(folder) from None
        problem = error.message.removeprefix(f"{folder}/")
        state = OTHER_VERSION if isinstance(error, OtherVersionError) else DAMAGED
        return UnreadableRun(folder, problem, state)
    return run


def scan_runs(runs_dir: Path, experiment: str | None = None) -> Iterator[ScannedRun]:
    """Yield the runs of one or all experiments, the newest first, each opened when asked for."""
    if experiment is not None and (Path(experiment).name != experiment or experiment == ".."):
        raise ConfigError(f"{experiment!r}: not the name of an experiment", "see `--runs-dir`")
    for folder in runs_newest_first(runs_dir, experiment, damaged=True):
        with contextlib.suppress(FileNotFoundError):  # removed in the meantime
            yield scan_folder(folder)
