"""Open a saved run from its folder: its results, files, config and network."""

import contextlib
import hashlib
import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from dlrun.config.sections import EPOCHS, ExperimentConfig
from dlrun.config.validation import validate_layer
from dlrun.config.yaml_loader import Values, config_layer_from_values, flatten_keys
from dlrun.errors import (
    ConfigError,
    DataError,
    DlrunError,
    OtherVersionError,
    name_and_first_line,
)
from dlrun.experiments import registry
from dlrun.metrics import TESTED
from dlrun.runs import run_context
from dlrun.runs.checkpoint import checkpoint_files
from dlrun.runs.find import find_run, runs_newest_first
from dlrun.runs.folder import CONFIG, LOCK, METRICS, RESULTS, RunFolder
from dlrun.runs.notes import RunNotes, read_notes
from dlrun.runs.progress_recorder import ProgressRecorder
from dlrun.runs.record import (
    RunEnvironment,
    RunRecord,
    read_run_environment,
    read_run_record,
)
from dlrun.runs.recorded_metrics import format_metric, newest_metrics, parse_metrics_csv
from dlrun.runs.run_context import RunContext
from dlrun.system.console import Screen
from dlrun.system.files import file_digest, is_file_locked, read_regular_file
from dlrun.system.signals import StopRequest

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from dlrun.experiments.experiment_base import AnyExperiment, Network
    from dlrun.experiments.predictors import Input, Prediction, Predictor
    from dlrun.runs.predictions import Predictions

T = TypeVar("T")
ASSETS = "assets.json"
OTHER_VERSION = "other version"  # the state of a run that another version of dlrun wrote
DrawnFigures: TypeAlias = "dict[str, Figure]"  # by file name; matplotlib is slow to import
WRONG_DIGEST = f"damaged or edited: its SHA-256 is not the one in {RESULTS}"


@dataclass(frozen=True, repr=False)
class Run:
    """Represents a saved run by its folder and its record (results.json)."""

    folder: Path
    record: RunRecord
    problem: str | None = None  #: why record or config cannot be read; the record is then empty
    is_other_version: bool = False  #: whether another version of dlrun wrote them

    @classmethod
    def open(cls, run: str | Path = "latest", runs_dir: Path | None = None) -> "Run":
        """Open a run by a name that `find_run` knows; raise DlrunError if it cannot be read."""
        return cls.in_folder(find_run(str(run), run_context.resolve_runs_dir(runs_dir)))

    @classmethod
    def in_folder(cls, folder: Path) -> "Run":
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

    @property
    def name(self) -> str:
        """Return the name of the run's folder."""
        return self.folder.name

    @property
    def state(self) -> str:
        """Return the recorded status, `killed` (running, but no process has it) or why it has none.

        That is `damaged`, or `other version`: of dlrun, which wrote the record in another format.
        """
        if self.problem is not None:
            return OTHER_VERSION if self.is_other_version else "damaged"
        status = self.record.status
        if status == "running" and not is_file_locked(self.folder / LOCK):
            with contextlib.suppress(DlrunError):  # removed
                status = read_run_record(self.folder).status  # it may have ended since it was read
            return "killed" if status == "running" else status
        return status

    @property
    def is_damaged(self) -> bool:
        """Return whether the record or the config of the run is damaged."""
        return self.problem is not None and not self.is_other_version

    @property
    def is_readable(self) -> bool:
        """Return whether the run has a record: it is neither damaged nor of another version."""
        return self.problem is None

    @property
    def is_finished(self) -> bool:
        """Return whether the run has finished, by its record."""
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
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        sizes = {str(path.relative_to(self.folder)): path.lstat().st_size for path in files}
        return dict(sorted(sizes.items(), key=lambda item: (-item[1], item[0])))

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
        return {**newest_metrics(self.rows)}

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
            again = f"dlrun resume {shlex.quote(str(self.folder))}{self._place_options}"
            hint = f"`{again}` continues it, unless it is running"
            raise DlrunError(f"{self.folder}: {self.state}, so it cannot be used yet", hint)

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
    def experiment(self) -> "AnyExperiment":
        """Return the run's experiment; raise ConfigError if it is not installed."""
        return registry.load_experiment(self.record.experiment)

    @cached_property
    def config(self) -> ExperimentConfig:
        """Return the config of the run; raise ConfigError if its experiment has other keys now."""
        layer = config_layer_from_values(self.record.config, str(self.folder / CONFIG))
        name = self.record.experiment
        return validate_layer(registry.load_config_class(name), layer, name)

    @cached_property
    def settings(self) -> Values:
        """Return the values of `config` by dotted keys, without the published numbers."""
        values = flatten_keys(self.record.config)
        return {key: values[key] for key in values if not key.startswith("reference.")}

    def changed_settings(self) -> Values:
        """Return the dotted keys that differ from the shipped config, with the run's values."""
        return registry.changed_from_shipped(self.record.experiment, self.record.config)

    @property
    def repeat_command(self) -> str:
        """Return the command that repeats the run."""
        config = shlex.quote(str(self.folder / CONFIG))
        return f"dlrun {self.record.experiment} --config {config}{self._place_options}"

    @property
    def _place_options(self) -> str:
        """Return the options --runs-dir and --data-dir with which the run began, after a space.

        Without --runs-dir if the run is somewhere else now, as one that was handed in.
        """
        options = ""
        # The command that shows the run says that it is damaged; a text may be no path.
        with contextlib.suppress(DlrunError, OSError, ValueError):
            words = iter(self.environment.command)
            for word in words:
                name, _, value = word.partition("=")
                if name not in ("--runs-dir", "--data-dir"):
                    continue
                value = value or next(words, "")
                is_here = Path(value).resolve() == self.folder.resolve().parents[1]
                if is_here or name == "--data-dir":
                    options += f" {name} {shlex.quote(value)}"
        return options

    @property
    def resume_command(self) -> str | None:
        """Return the command that continues the run, or None; of a finished run, in a new run."""
        try:
            schema = registry.load_config_class(self.record.experiment)
        except DlrunError:  # not installed
            return None
        state = self.state
        if not schema.resumable or state == "running":
            return None
        has_checkpoint = bool(checkpoint_files(self.folder))
        command = f"dlrun resume {shlex.quote(str(self.folder))}{self._place_options}"
        if state != "finished":
            return command if has_checkpoint or not self.record.steps else None
        can_be_longer = EPOCHS in schema.changeable_by_resume(self.settings)
        stopped_early = self.record.stopped_epoch is not None
        continues = has_checkpoint and can_be_longer and not stopped_early
        return f"{command} {EPOCHS}={2 * (self.record.steps or 1)}" if continues else None

    def network(self) -> "Network":
        """Return the network in eval mode on the CPU; raise DlrunError if the run trained none."""
        return self._call_experiment(self.experiment.network)

    @cached_property
    def predictor(self) -> "Predictor":
        """Return the predictor for new inputs; raise DlrunError if the run cannot predict."""
        self.check_has_result()
        return self._call_experiment(self.experiment.predictor)

    def predict(self, inputs: "Input | Iterable[Input] | pd.DataFrame") -> "list[Prediction]":
        """Return predictions for texts, for files (a Path) of texts or images, or for table rows.

        A row is a mapping from columns to values, or one of a pandas DataFrame. The prediction of
        an image or a row may be an error. Raises DlrunError if the run cannot predict, or not this
        input.
        """
        from dlrun.experiments.predictors import read_input  # slow: Pillow

        if hasattr(inputs, "to_dict") and hasattr(inputs, "columns"):  # pandas' import is slow
            frame: Any = inputs
            inputs = frame.astype(object).where(frame.notna(), "").to_dict("records")
        if isinstance(inputs, str | Mapping) or not isinstance(inputs, Iterable):
            inputs = [inputs]
        column = self.settings.get("data.text_column", "text")
        values = cast("Iterable[Input]", inputs)
        read = [read_input(value, self.predictor.reads, column) for value in values]
        return self.predictor.predict(read) if read else []

    def test(self, data_dir: Path | None = None, screen: Screen | None = None) -> "Predictions":
        """Predict the test set again on the CPU; raise DlrunError if it cannot be predicted."""
        self.check_has_result()
        screen = screen or Screen(quiet=True)
        folder = RunFolder(self.folder)
        progress = ProgressRecorder(folder, self.record.id, screen, StopRequest())
        data_dir = run_context.resolve_data_dir(data_dir)
        context = RunContext(folder, progress, data_dir, self.record.threads or 1)
        return self._call_experiment(lambda run, config: self.experiment.test(run, config, context))

    def draw(self) -> DrawnFigures:
        """Return the figures by their file names, drawn again from the run's files."""
        return self._call_experiment(self.experiment.draw)

    def _call_experiment(self, method: "Callable[[Run, Any], T]") -> T:
        """Call a method of the experiment; any exception is a DataError: a file is damaged."""
        try:
            return method(self, self.config)
        except DlrunError:
            raise
        except Exception as error:
            problem = f"{self.folder}: not as {self.record.experiment} writes a run: "
            problem += name_and_first_line(error)
            check = shlex.join(["dlrun", "runs", "check", str(self.folder)])
            raise DataError(problem, f"`{check}` names damaged files") from error

    def __repr__(self) -> str:
        tested = [name for name in self.record.metrics if name.startswith(TESTED)]
        metrics = "".join(f", {name} {format_metric(self.record.metrics[name])}" for name in tested)
        return f"<Run {self.record.experiment}/{self.name}: {self.state}{metrics}>"


def scan_folder(folder: Path) -> Run:
    """Open the run in a folder, also one that cannot be read; FileNotFoundError if it is gone."""
    try:
        run = Run.in_folder(folder)
        read_run_environment(folder)
    except DlrunError as error:
        if not folder.exists():
            raise FileNotFoundError(folder) from None
        empty = RunRecord(experiment=folder.parent.name, status="failed")
        problem = error.message.removeprefix(f"{folder}/")
        return Run(folder, empty, problem, isinstance(error, OtherVersionError))
    return run


def scan_runs(runs_dir: Path, experiment: str | None = None) -> Iterator[Run]:
    """Yield the runs of one or all experiments, the newest first, each opened when asked for."""
    if experiment is not None and (Path(experiment).name != experiment or experiment == ".."):
        raise ConfigError(f"{experiment!r}: not the name of an experiment", "see `--runs-dir`")
    for folder in runs_newest_first(runs_dir, experiment, damaged=True):
        with contextlib.suppress(FileNotFoundError):  # removed in the meantime
            yield scan_folder(folder)
