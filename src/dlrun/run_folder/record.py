"""The record of a run: written when it starts, completed when it ends, read by everything after.

It lies in two files whose names scripts know: results.json (state and result) and environment.json
(config as begun, code, packages, machine). Runs of dlrun 0.1 are read too: they have no `format`.
results.json holds the SHA-256 of the files that a run kept; its own stands in it too.
"""

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from dlrun.config.schema import Count, Threads
from dlrun.errors import DlrunError
from dlrun.run_folder.folder import CONFIG, RunFolder, to_json
from dlrun.stats import wilson_interval
from dlrun.system.files import read_regular
from dlrun.system.locks import is_locked

FORMAT = 2
RESULTS, ENVIRONMENT, LOCK = "results.json", "environment.json", "run.lock"
SHA256 = "sha256"  # of all else in results.json; a file without it is believed, as 0.1 wrote it
SINGLE = 1e-6  # metrics are of single precision
MAX_BYTES = 1 << 30  # 100,000 photographs with 100 labels each give as much
DEEPEST = 100  # lists and objects in each other; pydantic gives up at 255

# A run that waits has been handed to SLURM, and has not begun.
Status = Literal["waiting", "running", "finished", "failed", "interrupted"]
State = Literal["waiting", "running", "finished", "failed", "interrupted", "killed"]


class _Part(BaseModel):
    """What an experiment adds of its own stays in it as an extra field."""

    model_config = ConfigDict(extra="allow", frozen=True)


class ChecksummedModel(_Part):
    """What is written with its own SHA-256 in it, in a format that a newer dlrun may change."""

    format: int = 1


P = TypeVar("P", bound=_Part)
W = TypeVar("W", bound=ChecksummedModel)


class SweepMembership(_Part):
    """The sweep that a run is a point of: its id and name, and the point's number, from 1."""

    id: str
    name: str
    point: int


def _file_name(name: str) -> str:
    """Raises ValueError for what no file can be called."""
    try:
        if b"\0" not in os.fsencode(name):
            return name
    except UnicodeEncodeError:
        pass
    raise ValueError("no file can have this name")


FileName = Annotated[str, AfterValidator(_file_name)]
Seconds = Annotated[float, Field(ge=0, le=1e12)]


class Accelerator(_Part):
    """`reason` says why `used` is not what was asked for, or why `auto` chose it."""

    requested: str
    used: str
    reason: str | None


class BestEpoch(_Part):
    """The epoch that validation judges best, by which metric, and its value."""

    metric: str
    epoch: int
    value: float


class Expected(_Part):
    """Where 95 % of the runs of a config lie, as measured over so many seeds."""

    low: float
    high: float
    seeds: int


class Classes(_Part):
    """The classes of the test set.

    largest, share: the class with the most rows, and the accuracy of always answering it.
    macro_f1: the mean of the classes' F1 scores; None if nothing was predicted.
    """

    number: Count
    largest: str
    share: Annotated[float, Field(ge=0, le=1)]
    macro_f1: float | None = None


class Environment(_Part):
    """environment.json: what a run was begun with."""

    dlrun: str
    code: str | None = None  # of what computes, see environment.code_digest
    packages: dict[str, str | None] = {}
    started: str | None = None
    config: dict[str, Any] = {}
    threads: int | None = None  # cores that it might use


class Record(ChecksummedModel):
    """results.json. `metrics` are the result's, or of an unfinished run its newest step's."""

    id: str = ""
    experiment: str
    status: Status
    run: str = ""
    started: str | None = None
    resumed: str | None = None  # when last; `seconds` are those since then
    ended: str | None = None
    seed: int | None = None
    threads: Threads | None = None  # a resumed run keeps them, for they can change the bits
    processes: int | None = None  # that the result is of, together
    source: str | None = None
    sweep: SweepMembership | None = None
    steps: Count | None = None  # finished: epochs, lambdas
    result_steps: Count | None = None  # those that the result is of; while it is extended, fewer
    data: str = ""
    data_digest: str | None = None  # of the arrays, all parts; of the vocabulary and labels
    metrics: dict[str, int | float | None] = {}
    test_rows: Count | None = None  # that the test metrics are of
    reference: dict[str, Any] = {}
    reference_differs: str | None = None  # why the published figures are of something else
    expected: dict[str, Expected] = {}  # by metric, for runs of the shipped config
    best_epoch: BestEpoch | None = None
    classes: Classes | None = None  # that the test rows are of
    accelerator: Accelerator | None = None
    seconds: dict[str, Seconds] = {}
    figures: list[FileName] = []
    files: dict[FileName, str] = {}  # SHA-256 of what `network()` and `draw()` read
    written: dict[FileName, str] = {}  # and of its other files; none while it is extended
    error: str | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the accuracy on the test rows, as far as chance goes.

        None where there is no such accuracy, or it is no share of the rows (a mean over classes).
        """
        accuracy = self.metrics.get("test_accuracy")
        if accuracy is None or not self.test_rows or not 0 <= accuracy <= 1:
            return None
        correct = round(accuracy * self.test_rows)
        if abs(correct / self.test_rows - accuracy) > SINGLE:
            return None
        return wilson_interval(correct, self.test_rows)


def read_record(folder: Path) -> Record:
    """A run's record. Raises DlrunError where it is missing or damaged."""
    path = folder / RESULTS
    try:
        of_0_1 = not path.exists() and (folder / CONFIG).exists()  # it wrote the record at the end
    except OSError as error:
        raise DlrunError(f"{path}: cannot be read: {error.strerror}") from None
    if of_0_1:
        begun = read_environment(folder)
        return Record(experiment=folder.parent.name, status="running", started=begun.started)
    return read_checksummed(Record, path, FORMAT)


def write_record(folder: RunFolder, record: Record) -> None:
    """Write a run's record, with the SHA-256 of what it says."""
    write_checksummed(folder, RESULTS, record)


def read_checksummed(kind: type[W], path: Path, newest: int) -> W:
    """A file that write_sealed wrote. Raises DlrunError where it is missing, damaged or newer."""
    value = read_json(path)
    digest = value.pop(SHA256, None)
    found = _valid(kind, value, path)
    if found.format > newest:
        raise DlrunError(f"{path}: written by a newer dlrun", "use that one, or one newer still")
    if digest is not None and digest != _digest(value):
        raise DlrunError(
            f"{path}: damaged, or changed by hand: its SHA-256 is not the one in it",
            f"where you changed it yourself, remove its {SHA256!r} too",
        )
    return found


def write_checksummed(folder: RunFolder, name: str, what: ChecksummedModel) -> None:
    """Write a JSON object with the SHA-256 of what it says."""
    value = json.loads(to_json(what.model_dump()))
    folder.write_json(name, value | {SHA256: _digest(value)})


def _digest(value: dict[str, Any]) -> str:
    """Of a JSON object, whatever the order of its keys and the blanks between them."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def read_environment(folder: Path) -> Environment:
    """What a run was begun with. Raises DlrunError where it is missing or damaged."""
    path = folder / ENVIRONMENT
    return _valid(Environment, read_json(path), path)


def state_of(folder: Path, record: Record) -> State:
    """The record's status; a run that is not finished and that nobody holds was killed."""
    if record.status == "running" and not is_locked(folder / LOCK):
        return "killed"
    return record.status


def _valid(kind: type[P], value: dict[str, Any], path: Path) -> P:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        where = ".".join(map(str, fault["loc"]))
        what = fault["msg"].removeprefix("Value error, ")
        raise DlrunError(f"{path}: not what a run writes: {where}: {what}") from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a run. Raises DlrunError where it is missing or damaged."""
    try:
        if not path.is_file():
            raise DlrunError(f"{path}: no such file: not a run's folder")
        if path.stat().st_size > MAX_BYTES:
            raise DlrunError(f"{path}: larger than any run writes it")
        value = json.loads(read_regular(path))
        _check_bounds(value)
    except (OSError, ValueError, RecursionError) as error:
        raise DlrunError(f"{path}: cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise DlrunError(f"{path}: not what a run writes")
    return value


def _check_bounds(value: Any, depth: int = 0) -> None:
    """Raises ValueError where a value holds a number that is no float's, or is nested too deep.

    So whatever reads a record can compute with its numbers, and write it again.
    """
    if isinstance(value, dict | list):
        if depth == DEEPEST:
            raise ValueError(f"nested deeper than {DEEPEST} times")
        for one in value.values() if isinstance(value, dict) else value:
            _check_bounds(one, depth + 1)
    elif isinstance(value, int | float) and not abs(value) <= sys.float_info.max:  # NaN neither
        raise ValueError("a number beyond any float")
