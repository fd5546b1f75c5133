"""Read and write the record of a run, which says what was run, where, and what came out.

The record is results.json, which holds the SHA-256 of each file that the run wrote, and its own.
environment.json has the code, the packages and the machine.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, Field

from dlrun.config.sections import Count, Mark, RangeOfRuns, Threads, is_marked
from dlrun.config.yaml_loader import Values
from dlrun.data.split import RowCounts, Split
from dlrun.errors import DataError, DlrunError, OtherVersionError
from dlrun.metrics import Better, Directions, Metric, describe_metric
from dlrun.runs.checksummed_json import FILE_MODEL, read_checksummed_json, to_checksummed_json
from dlrun.runs.folder import ENVIRONMENT, RESULTS, OutputFolder
from dlrun.system.accelerator import AcceleratorChoice

FORMAT = 7  # the number of the format of results.json
MOST_RECORD = 100_000_000  # bytes of results.json, in which classify-images lists each photograph
ACCURACY = "test_accuracy"
# MAY_DIFFER marks the fields of RunRecord that a repetition need not repeat: which run it is, and
# when, where and how it was done. `dlrun verify` compares all other fields, and all inside of them.
MAY_DIFFER = Mark()

# A waiting run has a folder, and has not begun: a process of a sweep or a SLURM job is to begin it.
Status = Literal["waiting", "running", "finished", "failed", "interrupted"]


class SweepMembership(BaseModel):
    """Holds the id and name of a run's sweep, and the run's number in the sweep, counted from 1."""

    model_config = FILE_MODEL
    id: str
    name: str
    point: int


class BestEpoch(BaseModel):
    """Holds the epoch with the best value of a validation metric, and this value."""

    model_config = FILE_MODEL
    metric: str
    epoch: Count
    value: float


class ClassSummary(BaseModel):
    """Summarises the classes: their number, and what always predicting the largest one achieves."""

    model_config = FILE_MODEL
    number: Count
    largest: str  # the class with the most training rows
    share: Annotated[float, Field(ge=0, le=1)]  # of the test rows: its accuracy, always predicted


class RunEnvironment(BaseModel):
    """Holds the content of environment.json: the code and packages that a run began with."""

    model_config = FILE_MODEL
    format: int = 1
    dlrun: str
    code: str | None = None  # hashes of the packages that compute, as code_hashes returns them
    commit: str | None = None
    command: list[str] = []  # the command line
    packages: dict[str, str | None] = {}
    threads: int | None = None  # cores that it might use
    python: str | None = None
    platform: str | None = None
    processor: str | None = None


class KnownInConfig(BaseModel):
    """Declares the keys that dlrun reads in the recorded config of any experiment."""

    metrics: dict[str, Better] | None = None
    fold: int | None = None  # of the section `data`


class PublishedNumbersKeys(BaseModel):
    """Declares the keys that dlrun reads in the published numbers of any experiment."""

    place: list[Count] = []


def _check_config(config: Values) -> Values:
    data = config.get("data")
    fold = data.get("fold") if isinstance(data, dict) else None
    KnownInConfig.model_validate({"metrics": config.get("metrics"), "fold": fold})
    return config


def _check_reference(reference: Values) -> Values:
    PublishedNumbersKeys.model_validate(reference)
    return reference


RecordedConfig = Annotated[Values, AfterValidator(_check_config)]
RecordedReference = Annotated[Values, AfterValidator(_check_reference)]


class RunRecord(BaseModel):
    """Holds what results.json says of a run; until its end, the metrics of its newest step."""

    model_config = FILE_MODEL
    format: int = FORMAT
    # The run, its times, and what it was asked to do.
    id: Annotated[str, MAY_DIFFER] = ""
    experiment: str
    status: Status
    run: Annotated[str, MAY_DIFFER] = ""  # path of its folder when it began
    # The data folder that a command named, which a resume uses; None: the default.
    data_dir: Annotated[str | None, MAY_DIFFER] = None
    started: Annotated[str | None, MAY_DIFFER] = None  # as ISO 8601 in UTC
    resumed: Annotated[str | None, MAY_DIFFER] = None  # time of the last resume
    ended: Annotated[str | None, MAY_DIFFER] = None
    seed: int | None = None
    is_stochastic: bool = True  # whether the seed changes the numbers of one split
    depends_on_seed: bool = True  # whether the seed changes the numbers, or divides the rows
    # A resume keeps the threads: another number of them can change the last bits.
    threads: Annotated[Threads | None, MAY_DIFFER] = None
    source: str | None = None  # the config's data.source
    sweep: Annotated[SweepMembership | None, MAY_DIFFER] = None
    # The name of the run from whose last epoch it began.
    continues: Annotated[str | None, MAY_DIFFER] = None
    # As in config.yaml, but for what a resume chose: the device, the paths.
    config: RecordedConfig = {}
    steps: Count | None = None  # number of finished epochs or penalties
    # Its data and its results.
    data: str = ""  # in words: the source of the rows; not how a seed or a fold divided them
    split: Split | None = None  # which rows were tested, and which trained and validated
    # A hash of all arrays, the vocabulary and the labels; of photographs, also of their times.
    data_digest: Annotated[str | None, MAY_DIFFER] = None
    metrics: dict[str, int | float | None] = {}
    test_rows: Count | None = None  # number of rows in the test set
    rows: RowCounts | None = None  # of a table: the rows in its files, those used and left out
    reference: RecordedReference = {}  # the published metrics, and where they stand
    reference_differs: str | None = None  # why the published metrics do not apply
    expected: dict[str, RangeOfRuns] = {}  # intervals by metric, for runs of the shipped config
    stopped_epoch: Count | None = None  # the epoch after which the training ended early
    weights_epoch: Count | None = None  # the epoch whose weights were kept and tested
    best_epoch: BestEpoch | None = None
    classes: ClassSummary | None = None  # if classes were predicted
    # How it ran, and the files that it wrote.
    accelerator: Annotated[AcceleratorChoice | None, MAY_DIFFER] = None
    # The duration of each phase, in all parts that were not killed.
    seconds: Annotated[dict[str, float], MAY_DIFFER] = {}
    figures: list[str] = []
    # SHA-256 by name: of config.yaml; once finished, of all its files.
    files: Annotated[dict[str, str], MAY_DIFFER] = {}
    error: str | None = None

    @classmethod
    def fields_that_may_differ(cls) -> set[str]:
        """A repetition of the run need not repeat these fields."""
        return {name for name, field in cls.model_fields.items() if is_marked(field, MAY_DIFFER)}

    @property
    def directions(self) -> Directions:
        """The config declares which direction of a metric is better."""
        declared: Directions = self.config.get("metrics") or {}
        return declared

    def metric(self, name: str) -> Metric:
        """The metric is known by its name, or declared in the config of the run."""
        return describe_metric(name, self.directions)

    @property
    def validates_on_test(self) -> bool:
        """In some of the book's labs the test rows validate too."""
        data = self.config.get("data")
        return isinstance(data, dict) and data.get("validation") == "test"

    @property
    def earlier_epoch(self) -> int | None:
        """The kept weights are of this epoch, and not of the last one; None: of the last one."""
        return self.weights_epoch if self.weights_epoch != self.steps else None

    @property
    def all_rows(self) -> str | None:
        """The text identifies the data, however they are divided; None: they are unknown."""
        if self.split is not None:
            return self.split.rows_digest
        return f"{self.data} {self.data_digest}" if self.data else None

    def rows_of(self, metric: str) -> str | None:
        """The text identifies the rows on which a metric was computed; None: they are unknown.

        It is a digest; of data whose rows are not known, the data in words.
        """
        if self.split is None:
            return self.data or None
        return self.split.digest_for(metric) or "none"

    def has_rows_of(self, other: "RunRecord", metric: str) -> bool:
        """Two runs have the same rows for a metric if the targets of the rows are equal, too."""
        rows = self.rows_of(metric)
        return rows is not None and rows == other.rows_of(metric)


class WritableRecord(RunRecord, frozen=False):
    """Holds the record of a run that goes on, whose fields can be set one after another."""

    @classmethod
    def of(cls, record: RunRecord) -> Self:
        """The fields are those of a record, also the further fields of its experiment."""
        return cls.model_construct(**dict(record))

    def add_extra_fields(self, fields: Mapping[str, object]) -> None:
        """Add the further fields of an experiment. Raises DlrunError if one is a field already."""
        if taken := fields.keys() & RunRecord.model_fields.keys():
            raise DlrunError(f"an experiment's results cannot be named {', '.join(sorted(taken))}")
        for name, value in fields.items():
            setattr(self, name, value)


def read_run_record(folder: Path) -> RunRecord:
    """The errors are those of `read_checksummed_json`."""
    try:
        return read_checksummed_json(RunRecord, folder / RESULTS, MOST_RECORD)
    except OtherVersionError as error:
        try:
            version = read_run_environment(folder).dlrun
        except DataError:  # it is of another format, too
            raise error from None
        problem = f"{error.message}; dlrun {version} made the run"
        raise OtherVersionError(problem, error.hint) from None


def write_run_record(folder: OutputFolder, record: RunRecord) -> None:
    folder.write_text(RESULTS, to_checksummed_json(record))


def read_run_environment(folder: Path) -> RunEnvironment:
    """The errors are those of `read_checksummed_json`."""
    return read_checksummed_json(RunEnvironment, folder / ENVIRONMENT)
