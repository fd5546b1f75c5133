"""Define, read and write the record of a run: results.json, environment.json and notes.json.

results.json holds the SHA-256 of each file that the run wrote, and its own. notes.json may change
after the end of the run.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from dlrun.config.sections import Count, RangeOfRuns, Threads
from dlrun.config.yaml_loader import Values
from dlrun.errors import ConfigError, DataError
from dlrun.metrics import Better, Directions, Metric, describe_metric
from dlrun.run_folder.folder import ENVIRONMENT, NOTES, NOTES_LOCK, RESULTS, RunFolder
from dlrun.stats import wilson_interval
from dlrun.system.accelerator import AcceleratorReport
from dlrun.system.console import pluralize, to_json
from dlrun.system.files import hold_file_lock, read_regular_file, write_file_atomically

FORMAT = 5  # of results.json
ENVIRONMENT_FORMAT = 1
NOTES_FORMAT = 1
SHA256 = "sha256"  # the key of the digest of all other values
SPLIT_SEED = "data.split_seed"  # a key of the config; null: the run's seed splits the data
ACCURACY = "test_accuracy"
NOT_THE_BOOKS = "not the book's data"  # why nothing is compared, of whatever other data
SINGLE_PRECISION_ERROR = 1e-6  # of metrics
# A sign at its start would be that of `runs tag RUN +TAG -TAG`.
TAG = re.compile(r"[\w.][\w.+-]{0,39}")

# A waiting run was submitted to SLURM and has not begun.
Status = Literal["waiting", "running", "finished", "failed", "interrupted"]


class _FrozenModel(BaseModel):
    """Cannot be changed; fields that an experiment adds stay as extra fields."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False, defer_build=True)


class ChecksummedJson(_FrozenModel):
    """Base class of JSON files that hold a format number and their SHA-256."""

    format: int = 1  # of environment.json and notes.json; a RunRecord is given FORMAT


M = TypeVar("M", bound=ChecksummedJson)


def _check_time(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError(f"{text}: no time zone")
    return text


Time = Annotated[str, AfterValidator(_check_time)]


class SweepMembership(_FrozenModel):
    """Holds the id and name of a run's sweep, and the run's number in the sweep, counted from 1."""

    id: str
    name: str
    point: int


class BestEpoch(_FrozenModel):
    """Holds the epoch with the best value of a validation metric, and this value."""

    metric: str
    epoch: Count
    value: float


class ClassSummary(_FrozenModel):
    """Summarises the classes of a test set: their number and the largest class."""

    number: Count
    largest: str  # the class with the most rows
    share: Annotated[float, Field(ge=0, le=1)]  # the accuracy of always predicting this class


class RunEnvironment(ChecksummedJson):
    """Holds the content of environment.json: the code and packages that a run began with."""

    dlrun: str
    code: str | None = None  # version of the code that computes
    commit: str | None = None
    command: list[str] = []  # the command line
    packages: dict[str, str | None] = {}
    threads: int | None = None  # cores that it might use
    python: str | None = None
    platform: str | None = None
    processor: str | None = None


class RunNotes(ChecksummedJson, regex_engine="python-re"):  # TAG has its letters
    """Holds a run's note, and its tags in the order in which they were added."""

    note: str = ""
    tags: list[Annotated[str, Field(pattern=f"^{TAG.pattern}$")]] = []

    def changed(
        self, note: str | None = None, add: Iterable[str] = (), remove: Iterable[str] = ()
    ) -> "RunNotes":
        """Return the notes with another note, if any, and tags added and removed."""
        added, removed = [*add], [*remove]
        for tag in (*added, *removed):
            check_tag(tag)
        text = self.note if note is None else note
        # Bytes of the command line that are not UTF-8 are escaped.
        text = text.encode("utf-8", "backslashreplace").decode().strip()
        tags = [tag for tag in dict.fromkeys([*self.tags, *added]) if tag not in removed]
        return self.model_copy(update={"note": text, "tags": tags})


class RunRecord(ChecksummedJson):
    """Holds results.json; metrics of an unfinished run are those of its last epoch or penalty."""

    # The run, its times, and what it was asked to do.
    id: str = ""
    experiment: str
    status: Status
    run: str = ""  # path of its folder when it began
    started: Time | None = None
    resumed: Time | None = None  # time of the last resume
    ended: Time | None = None
    seed: int | None = None
    threads: Threads | None = None  # kept by a resume: another number can change the last bits
    source: str | None = None  # the config's data.source
    sweep: SweepMembership | None = None
    continues: str | None = None  # name of the run from whose last epoch it began
    # As in config.yaml, but for what a resume chose: the device, the paths.
    config: Values = {}
    steps: Count | None = None  # number of finished epochs or penalties
    # Its data and its results.
    data: str = ""  # in words: the source of the rows, and how they were divided
    data_digest: str | None = None  # hash of all arrays, the vocabulary and the labels
    metrics: dict[str, int | float | None] = {}
    test_rows: Count | None = None  # number of rows in the test set
    reference: Values = {}  # the published metrics, and where they stand
    reference_differs: str | None = None  # why the published metrics do not apply
    expected: dict[str, RangeOfRuns] = {}  # intervals by metric, for runs of the shipped config
    stopped_epoch: Count | None = None  # the epoch after which the training ended early
    weights_epoch: Count | None = None  # the epoch whose weights were kept and tested
    best_epoch: BestEpoch | None = None
    classes: ClassSummary | None = None  # the classes of the test rows
    # How it ran, and the files that it wrote.
    accelerator: AcceleratorReport | None = None
    seconds: dict[str, float] = {}  # duration of each phase, in all parts that were not killed
    figures: list[str] = []
    files: dict[str, str] = {}  # SHA-256 by name: of config.yaml; once finished, of all its files
    error: str | None = None

    @property
    def directions(self) -> Directions:
        """Return which direction of a metric is better, as the config declares."""
        declared = self.config.get("metrics") or {}
        return {name: better for name, better in declared.items() if better in get_args(Better)}

    def metric(self, name: str) -> Metric:
        """Return what is known of a metric of the run: by its name, or declared in its config."""
        return describe_metric(name, self.directions)

    @property
    def validates_on_test(self) -> bool:
        """Return whether the test rows validate too, as in some of the book's labs."""
        data = self.config.get("data")
        return isinstance(data, dict) and data.get("validation") == "test"

    @property
    def earlier_epoch(self) -> int | None:
        """Return the epoch whose weights were kept, if it is not the last one; else None."""
        return self.weights_epoch if self.weights_epoch != self.steps else None

    @property
    def computed_on(self) -> str:
        """Return the device and the threads as ` on cpu, 1 thread`; empty if unknown."""
        if self.accelerator is None:
            return ""
        return f" on {self.accelerator.used}, {pluralize(self.threads or 1, 'thread')}"

    def data_without_chance(self, settings: Mapping[str, object]) -> str:
        """Return the description of the data that runs share if only seed or fold differ."""
        data = re.sub(r", fold \d+ of (\d+)", r", \1 folds", self.data)
        if settings.get(SPLIT_SEED) is not None:
            return data
        return data.replace(f", seed {self.seed}", "")

    @property
    def accuracy_interval(self) -> tuple[float, float] | None:
        """Return the 95 % confidence interval of the test accuracy, or None if the run has none."""
        accuracy = self.metrics.get(ACCURACY)
        if accuracy is None or not self.test_rows or not 0 <= accuracy <= 1:
            return None
        correct = round(accuracy * self.test_rows)
        if abs(correct / self.test_rows - accuracy) > SINGLE_PRECISION_ERROR:  # a mean over classes
            return None
        return wilson_interval(correct, self.test_rows)


def read_run_record(folder: Path) -> RunRecord:
    """Read the record of a run. Raises DataError, see read_checksummed_json."""
    return read_checksummed_json(RunRecord, folder / RESULTS, FORMAT)


def write_run_record(folder: RunFolder, record: RunRecord) -> None:
    """Write the record of a run to results.json, with its SHA-256."""
    folder.write_text(RESULTS, to_checksummed_json(record))


def read_run_environment(folder: Path) -> RunEnvironment:
    """Read the environment.json of a run. Raises DataError, see read_checksummed_json."""
    return read_checksummed_json(RunEnvironment, folder / ENVIRONMENT, ENVIRONMENT_FORMAT)


def check_tag(tag: str) -> None:
    """Raise ConfigError if a tag is not a plain word."""
    if not TAG.fullmatch(tag):
        hint = "use letters, digits and . + - _, and no + or - at the start"
        raise ConfigError(f"tag {tag!r}: not a plain word of at most 40 characters", hint)


def read_notes(folder: Path) -> RunNotes:
    """Return the note and tags of the run in a folder; raise DataError if they are damaged."""
    path = folder / NOTES
    return read_checksummed_json(RunNotes, path, NOTES_FORMAT) if path.exists() else RunNotes()


def change_notes(folder: Path, change: Callable[[RunNotes], RunNotes]) -> RunNotes:
    """Replace a run's note and tags by what `change` makes of them; other processes wait."""
    with hold_file_lock(folder / NOTES_LOCK, on_wait=lambda: None):
        notes = change(read_notes(folder))
        for left in folder.glob(f".new-*-{NOTES}"):  # by a killed process
            left.unlink()
        write_file_atomically(folder / NOTES, to_checksummed_json(notes).encode())
    return notes


def read_checksummed_json(kind: type[M], path: Path, format_number: int) -> M:
    """Read a JSON file. Raises DataError if it is missing or damaged, or has another format."""
    try:
        value = json.loads(read_regular_file(path))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file: not a run's folder") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise DataError(f"{path}: not what a run writes")
    if value.get("format") != format_number:
        raise DataError(f"{path}: written by another version of dlrun", "use that version")
    if value.pop(SHA256, None) != _digest(value):
        raise DataError(f"{path}: damaged, or edited: its SHA-256 does not match")
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise DataError(f"{path}: not what a run writes: {where}: {problem['msg']}") from None


def to_checksummed_json(model: ChecksummedJson) -> str:
    """Return a pydantic model as JSON text with the SHA-256 of its content."""
    value = json.loads(to_json(model.model_dump()))
    return to_json(value | {SHA256: _digest(value)})


def _digest(value: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
