"""Define the config section `data` of each kind of data set: which data, and how to divide them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    Strict,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from dlrun.config.sections import (
    RUNTIME_KEYS,
    ExperimentConfig,
    Fraction,
    LocalPath,
    Mark,
    PositiveInt,
    Section,
    Seed,
    absolute_path,
    error_about_key,
    is_marked,
)
from dlrun.errors import ConfigError
from dlrun.system.spelling import did_you_mean

MOST_VALIDATION = 2000  # at most so many rows validate, unless data.validation says how many
# The keys of a cross-validation.
FOLD = "data.fold"
FOLDS = "data.folds"
SPLIT_SEED = "data.split_seed"  # null: the run's seed splits the data
CHANCE = RUNTIME_KEYS | {"seed", "threads", FOLD}  # runs of one config may differ in these keys
FOLDER_OF_CLASSES = "a folder with a sub-folder for each class"
ISLP = "islp:"  # a table's name in the authors' package follows
# Columns of NYSE.csv.
SERIES = ("DJ_return", "log_volume", "log_volatility")
VOLUME = "log_volume"
WEEKDAY = "day_of_week"
DATE = "date"
IS_TRAIN = "train"

ColumnKind = Literal["number", "category", "boolean", "date", "text"]
Validation = PositiveInt | Fraction  # how many training rows are held out, or which share of them


def _name_as_text(name: object) -> object:
    """Return the name of a column as text: YAML reads the name 2010 as a number."""
    return str(name) if type(name) in (int, float) else name


ColumnName = Annotated[str, BeforeValidator(_name_as_text)]


def is_name_of_islp(path: Path) -> bool:
    """Decide whether a path, which is no file's, stands for a table of the package islp."""
    return str(path).startswith(ISLP) and not path.exists()


def _absolute_unless_of_islp(path: Path) -> Path:
    return path if is_name_of_islp(path) else absolute_path(path)


# The path of a table, or a name such as islp:Default, which is the same table on every machine.
TablePath = Annotated[Path, Strict(False), AfterValidator(_absolute_unless_of_islp)]
# It marks a key of a section `data` that changes what is read of the rows, and not which rows.
SAME_ROWS = Mark()


def keys_that_choose_rows(schema: type[ExperimentConfig], keys: Iterable[str]) -> list[str]:
    """Find the keys that may change which rows are trained with or tested.

    All keys of the section `data` may, unless their fields are marked SAME_ROWS.
    """
    fields: dict[str, FieldInfo] = {}
    if "data" in schema.model_fields:
        fields = getattr(schema.model_fields["data"].annotation, "model_fields", {})
    chosen = []
    for key in keys:
        section, _, name = key.partition(".")
        is_same = name in fields and is_marked(fields[name], SAME_ROWS)
        if section == "data" and not is_same:
            chosen.append(key)
    return chosen


def count_held_out_rows(validation: float | None, rows: int) -> int:
    """Count the training rows that a config's `validation` holds out; there is one at least.

    validation: a number of rows, or a share; None: a fifth, but at most 2,000 rows. Raises
    ConfigError if no rows would be left to fit.
    """
    if validation is None:
        validation = min(round(rows / 5), MOST_VALIDATION)
    held = validation if isinstance(validation, int) else int(rows * validation)
    held = max(1, held)
    if held >= rows:
        problem = f"data.validation: {held:,} rows cannot be held out of {rows:,}"
        raise ConfigError(problem, "choose a smaller number, or a share such as 0.2")
    return held


class DataConfig(Section):
    """Is the base class of the section `data` of experiments that have a `Dataset`."""


class DataSourceConfig(DataConfig):
    """Defines which declared source of a data set to read, and where a local copy of it is."""

    source: str
    archive: LocalPath | None

    @field_validator("source")
    @classmethod
    def _is_declared(cls, name: str, info: ValidationInfo) -> str:
        """Raise ValueError for a source that the experiment's data set, the context, lacks."""
        names: Sequence[str] = info.context or [name]
        if name not in names:
            expected = " or ".join(map(repr, names))
            raise ValueError(f"expected {expected}, got {name!r}{did_you_mean(name, names)}")
        return name


class SeededDataConfig(DataConfig):
    """Defines the seed that divides or generates the rows; null: the run's seed."""

    split_seed: Seed | None


class ValidatedDataConfig(DataConfig):
    """Defines which rows validate: held-out training rows, or the test rows as in the lab."""

    validation: Validation | Literal["test"] | None


class DividedDataConfig(SeededDataConfig):
    """Defines how the rows of one file or folder are divided into training and test rows."""

    test_share: Fraction
    folds: Annotated[int, Field(ge=2, lt=2**31)] | None
    fold: PositiveInt | None

    @property
    def chosen_fold(self) -> tuple[int, int] | None:
        """The first number is the fold whose rows are tested; the second counts all folds."""
        return (self.fold, self.folds) if self.fold and self.folds else None

    @model_validator(mode="after")
    def _check_fold_is_one_of_the_folds(self) -> Self:
        if self.folds is None and self.fold is None:
            return self
        if self.folds is None or self.fold is None or self.fold > self.folds:
            problem = f"folds is {self.folds}, fold is {self.fold}"
            remedy = "folds count from 1, `dlrun sweep --folds N` runs all"
            raise error_about_key(f"{problem}; {remedy}", "folds" if self.fold is None else "fold")
        return self


class UserDataConfig(DividedDataConfig):
    """Defines where the user's own data are, and how they are divided into training and test.

    path_kinds: what the path may be, by its kind, `file` or `folder`. example: of arguments.
    """

    path_kinds: ClassVar[dict[str, str]]
    example: ClassVar[str]

    path: LocalPath | None
    test: LocalPath | None


class SequenceLengthConfig(Section):
    """Defines how many word ids at each text's end an LSTM reads."""

    max_length: Annotated[PositiveInt, SAME_ROWS]


class ReviewsDataConfig(ValidatedDataConfig, SeededDataConfig, DataSourceConfig):
    """Defines the config of movie reviews: their source, and how their words become word ids."""

    id: ClassVar = None

    num_words: Annotated[int, Field(ge=10, le=2**15), SAME_ROWS]
    validation: Validation | None
    sample_reviews: Annotated[int, Field(ge=10, le=100_000)]


class ReviewSequencesDataConfig(SequenceLengthConfig, ReviewsDataConfig):
    """Defines the config of movie reviews that an LSTM reads as word sequences."""


class UserTextsDataConfig(ValidatedDataConfig, UserDataConfig):
    """Defines the config of a user's own labelled texts."""

    path_kinds: ClassVar = {"file": "a CSV file", "folder": FOLDER_OF_CLASSES}
    example = "mails.csv"

    text_column: str
    label_column: str
    id: Annotated[str | None, SAME_ROWS]
    num_words: Annotated[int, Field(ge=10, le=2**15), SAME_ROWS]
    validation: Validation

    @property
    def columns(self) -> dict[str, str]:
        """Each column that the table must have is found by the config key that names the column."""
        columns = {"data.text_column": self.text_column, "data.label_column": self.label_column}
        return columns | ({"data.id": self.id} if self.id else {})


class UserTextSequencesDataConfig(SequenceLengthConfig, UserTextsDataConfig):
    """Defines the config of a user's own texts that an LSTM reads as word sequences."""


class Cifar100DataConfig(ValidatedDataConfig, SeededDataConfig, DataSourceConfig):
    """Defines the config of CIFAR100's images, or of synthetic images."""

    validation: Validation
    sample_images: Annotated[int, Field(ge=100, le=100_000)]


class DigitsDataConfig(Cifar100DataConfig):
    """Defines the config of MNIST's digits, or of synthetic digits."""


class UserImagesDataConfig(ValidatedDataConfig, UserDataConfig):
    """Defines the config of a user's own labelled images."""

    path_kinds: ClassVar = {"folder": FOLDER_OF_CLASSES}
    example = "photos/"

    validation: Validation


class HittersDataConfig(DividedDataConfig, DataSourceConfig):
    """Defines the config of Hitters, ISLP's table of baseball players, or of synthetic players."""

    target: ClassVar = "Salary"
    task: ClassVar = "regression"
    id: ClassVar = None
    ignore: ClassVar[list[str]] = []
    kinds: ClassVar[dict[str, ColumnKind]] = {}
    missing: ClassVar = "drop"  # the book leaves out the players without a salary
    group: ClassVar = None
    time: ClassVar = None
    standardise: ClassVar = False
    columns: ClassVar = {f"column {target}": target}


class UserTableDataConfig(ValidatedDataConfig, UserDataConfig):
    """Defines the config of a user's own table."""

    path_kinds: ClassVar = {
        "file": "a table: CSV with a header, Parquet or Excel, or islp:NAME of the package islp"
    }
    example = "cars.csv data.target=price"

    path: TablePath | None
    test: TablePath | None
    target: ColumnName
    task: Literal["regression", "classification"]
    id: Annotated[ColumnName | None, SAME_ROWS]
    ignore: Annotated[list[ColumnName], SAME_ROWS]
    kinds: Annotated[dict[ColumnName, ColumnKind], SAME_ROWS]
    missing: Literal["keep", "drop"]
    group: ColumnName | None
    time: ColumnName | None
    standardise: Annotated[bool, SAME_ROWS]
    validation: Validation

    @property
    def columns(self) -> dict[str, str]:
        """Each column that the table must have is found by the config key that names the column."""
        named = {"data.target": self.target, "data.id": self.id}
        named |= {"data.group": self.group, "data.time": self.time}
        columns = {key: name for key, name in named.items() if name is not None}
        columns |= {f"data.ignore[{place}]": name for place, name in enumerate(self.ignore)}
        return columns | {f"data.kinds.{name}": name for name in self.kinds}

    @model_validator(mode="after")
    def _is_divided_in_one_way(self) -> "UserTableDataConfig":
        for key in ("group", "time"):
            if getattr(self, key) == self.target:
                raise error_about_key(f"{self.target!r} is the target, which models predict", key)
        if self.group is not None and self.time is not None:
            raise error_about_key("a table is divided by groups or by time, not by both", "time")
        if self.folds is not None and self.time is not None:
            raise error_about_key("folds are shuffled rows: they cannot follow the time", "folds")
        return self


class TradingDaysDataConfig(DataSourceConfig):
    """Defines the config of NYSE's trading days, real or synthetic, and of what predicts a day.

    day_of_week, month: whether those of the predicted day are predictors.
    """

    id: ClassVar = None

    lags: Annotated[int, Field(ge=1, le=250), SAME_ROWS]
    day_of_week: Annotated[bool, SAME_ROWS]
    month: Annotated[bool, SAME_ROWS]

    @property
    def columns(self) -> dict[str, str]:
        """Each column that the table must have is found by what needs the column."""
        columns = {f"column {name}": name for name in (*SERIES, WEEKDAY, IS_TRAIN)}
        return columns | ({"data.month": DATE} if self.month else {})


class DataExperimentConfig(ExperimentConfig):
    """Defines the config keys of experiments that have a `Dataset`."""

    data: DataConfig

    @property
    def source(self) -> str | None:
        """The data of the source `sample` are generated."""
        return self.data.source if isinstance(self.data, DataSourceConfig) else None

    @property
    def split_seed(self) -> int:
        """`data.split_seed` goes before the run's seed."""
        if isinstance(self.data, SeededDataConfig) and self.data.split_seed is not None:
            return self.data.split_seed
        return self.seed

    @property
    def validates_on_test(self) -> bool:
        """In some of ISLP's labs the test rows validate too."""
        return isinstance(self.data, ValidatedDataConfig) and self.data.validation == "test"

    @property
    def is_split_by_run_seed(self) -> bool:
        """If it is true, another seed of the run divides or generates the rows otherwise."""
        return isinstance(self.data, SeededDataConfig) and self.data.split_seed is None


class UserDataExperimentConfig(DataExperimentConfig):
    """Defines the config keys of every experiment on the user's own data."""

    data: UserDataConfig
