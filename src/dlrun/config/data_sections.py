"""Define the config section `data` of each kind of data set: which data, and how to divide them."""

import pkgutil
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal, TypeVar, cast

from pydantic import Field, create_model, field_validator, model_validator
from pydantic.fields import FieldInfo

from dlrun.config.sections import (
    RUNTIME_KEYS,
    Argument,
    ExperimentConfig,
    Fraction,
    LocalPath,
    Mark,
    PositiveInt,
    Reference,
    Section,
    Seed,
    error_of_key,
    is_marked,
)
from dlrun.errors import ConfigError, did_you_mean

MOST_VALIDATION = 2000  # rows that are held out for validation, unless data.validation says it
FOLD, FOLDS = "data.fold", "data.folds"  # keys of a cross-validation
SPLIT_SEED = "data.split_seed"  # null: the run's seed splits the data
CHANCE = RUNTIME_KEYS | {"seed", "threads", FOLD}  # keys in which runs of one config may differ
FOLDER_OF_CLASSES = "a folder with a sub-folder for each class"
# Columns of NYSE.csv.
SERIES = ("DJ_return", "log_volume", "log_volatility")
VOLUME = "log_volume"
WEEKDAY = "day_of_week"
IS_TRAIN = "train"

E = TypeVar("E", bound=ExperimentConfig)
Validation = PositiveInt | Fraction  # training rows that are held out: a number, or a share
# It marks a key of a section `data` that changes what is read of the rows, and not which rows.
SAME_ROWS = Mark()


def keys_that_choose_rows(schema: type[ExperimentConfig], keys: Iterable[str]) -> list[str]:
    """Return those of some keys that may change which rows are trained with or tested.

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
    """Return how many of `rows` training rows a config's `validation` holds out, one at least.

    validation: a number of rows, or a share; None: a fifth, but at most 2,000 rows. Raises
    ConfigError if no rows would be left to fit.
    """
    if validation is None:
        validation = min(round(rows / 5), MOST_VALIDATION)
    held = max(1, validation if isinstance(validation, int) else int(rows * validation))
    if held >= rows:
        problem = f"data.validation: {held:,} rows cannot be held out of {rows:,}"
        raise ConfigError(problem, "choose a smaller number, or a share such as 0.2")
    return held


class DataConfig(Section):
    """Base class of the section `data` of experiments whose data `dlrun data` knows.

    dataset_location: where its `dlrun.data.dataset_types.Dataset` is: "package.module:NAME".
    """

    dataset_location: ClassVar[str]


class DataSourceConfig(DataConfig):
    """Defines which declared source of a data set to read, and where a local copy of it is."""

    source: str
    archive: LocalPath | None

    @field_validator("source")
    @classmethod
    def _is_declared(cls, name: str) -> str:
        names = [source.name for source in pkgutil.resolve_name(cls.dataset_location).sources]
        if name not in names:
            expected = " or ".join(map(repr, names))
            raise ValueError(f"expected {expected}, got {name!r}{did_you_mean(name, names)}")
        return name


class DividedDataConfig(DataConfig):
    """Defines how the rows of one file or folder are divided into training and test rows."""

    test_share: Fraction
    split_seed: Seed | None
    folds: Annotated[int, Field(ge=2, lt=2**31)] | None
    fold: PositiveInt | None

    @property
    def chosen_fold(self) -> tuple[int, int] | None:
        """Return the number of the fold whose rows are the test rows, and of all folds, or None."""
        return (self.fold, self.folds) if self.fold and self.folds else None

    @model_validator(mode="after")
    def _fold_is_one_of_the_folds(self) -> "DividedDataConfig":
        if self.folds is None and self.fold is None:
            return self
        if self.folds is None or self.fold is None or self.fold > self.folds:
            problem = f"folds is {self.folds}, fold is {self.fold}"
            remedy = "folds count from 1, `dlrun sweep --folds N` runs all"
            raise error_of_key(f"{problem}; {remedy}", "folds" if self.fold is None else "fold")
        return self


class OwnDataConfig(DividedDataConfig):
    """Defines where the user's own data are, and how they are divided into training and test.

    kinds: what the path may be, by its kind, `file` or `folder`. example: of arguments.
    """

    kinds: ClassVar[dict[str, str]]
    example: ClassVar[str]

    path: LocalPath | None
    test: LocalPath | None


class SequenceLengthConfig(Section):
    """Defines how many word ids at each text's end an LSTM reads."""

    max_length: Annotated[PositiveInt, SAME_ROWS]


class ReviewsDataConfig(DataSourceConfig):
    """Defines the config of movie reviews: their source, and how their words become word ids."""

    dataset_location = "dlrun.data.dataset_catalog:IMDB"
    id: ClassVar = None

    num_words: Annotated[int, Field(ge=10, le=2**15), SAME_ROWS]
    validation: Validation | None
    split_seed: Seed | None
    sample_reviews: Annotated[int, Field(ge=10, le=100_000)]


class ReviewSequencesDataConfig(SequenceLengthConfig, ReviewsDataConfig):
    """Defines the config of movie reviews that an LSTM reads as word sequences."""


class TextsDataConfig(OwnDataConfig):
    """Defines the config of a user's own labelled texts."""

    dataset_location = "dlrun.data.dataset_catalog:TEXTS"
    kinds: ClassVar = {"file": "a CSV file", "folder": FOLDER_OF_CLASSES}
    example = "mails.csv"

    text_column: str
    label_column: str
    id: Annotated[str | None, SAME_ROWS]
    num_words: Annotated[int, Field(ge=10, le=2**15), SAME_ROWS]
    validation: Validation

    @property
    def columns(self) -> dict[str, str]:
        """Return the columns of the texts, of their labels, and of their ids."""
        columns = {"data.text_column": self.text_column, "data.label_column": self.label_column}
        return columns | ({"data.id": self.id} if self.id else {})


class TextSequencesDataConfig(SequenceLengthConfig, TextsDataConfig):
    """Defines the config of a user's own texts that an LSTM reads as word sequences."""


class Cifar100DataConfig(DataSourceConfig):
    """Defines the config of CIFAR100's images, or of synthetic images."""

    dataset_location = "dlrun.data.dataset_catalog:CIFAR100"

    validation: Validation
    split_seed: Seed | None
    sample_images: Annotated[int, Field(ge=100, le=100_000)]


class DigitsDataConfig(Cifar100DataConfig):
    """Defines the config of MNIST's digits, or of synthetic digits."""

    dataset_location = "dlrun.data.dataset_catalog:MNIST"


class OwnImagesDataConfig(OwnDataConfig):
    """Defines the config of a user's own labelled images."""

    dataset_location = "dlrun.data.dataset_catalog:IMAGES"
    kinds: ClassVar = {"folder": FOLDER_OF_CLASSES}
    example = "photos/"

    validation: Validation


class HittersDataConfig(DividedDataConfig, DataSourceConfig):
    """Defines the config of Hitters, ISLP's table of baseball players, or of synthetic players."""

    dataset_location = "dlrun.data.dataset_catalog:HITTERS"
    target: ClassVar = "Salary"
    task: ClassVar = "regression"
    id: ClassVar = None
    ignore: ClassVar[list[str]] = []
    standardise: ClassVar = False
    columns: ClassVar = {f"column {target}": target}


class OwnTableDataConfig(OwnDataConfig):
    """Defines the config of a user's own table."""

    dataset_location = "dlrun.data.dataset_catalog:TABLE"
    kinds: ClassVar = {"file": "a CSV file with a header"}
    example = "cars.csv data.target=price"

    target: str
    task: Literal["regression", "classification"]
    id: Annotated[str | None, SAME_ROWS]
    ignore: Annotated[list[str], SAME_ROWS]
    standardise: Annotated[bool, SAME_ROWS]

    @property
    def columns(self) -> dict[str, str]:
        """Return the target, the ids, and the columns that are left out."""
        ids = {"data.id": self.id} if self.id else {}
        ignored = {f"data.ignore[{place}]": name for place, name in enumerate(self.ignore)}
        return {"data.target": self.target, **ids, **ignored}


class ValidatedTableDataConfig(OwnTableDataConfig):
    """Defines the config of a user's own table, and which rows are used for validation."""

    validation: Validation


class TradingDaysDataConfig(DataSourceConfig):
    """Defines the config of NYSE's trading days, real or synthetic, and of their lags."""

    dataset_location = "dlrun.data.dataset_catalog:NYSE"
    id: ClassVar = None
    columns: ClassVar = {f"column {name}": name for name in (*SERIES, WEEKDAY, IS_TRAIN)}

    lags: Annotated[int, Field(ge=1, le=250), SAME_ROWS]


class WeekdaysDataConfig(TradingDaysDataConfig):
    """Defines the config of trading days, and whether the day of the week is a predictor."""

    day_of_week: Annotated[bool, SAME_ROWS]


class BookConfig(ExperimentConfig):
    """Defines the config keys of experiments of the book ISLP, which prints results to compare."""

    reference: Reference


class OwnDataExperimentConfig(ExperimentConfig):
    """Defines the config keys of every experiment on the user's own data."""

    argument = Argument("data.path", "PATH", "Your data, a file or a folder.", is_list=False)

    data: OwnDataConfig


def combine_model_and_data(
    schema: type[E],
    data: type[DataConfig],
    *,
    real_in_demo: bool = False,
    **sections: type[Section],
) -> type[E]:
    """Return a config class with the keys of a model's config and of a data set's config.

    The book's data bring its published numbers, a user's own bring the command's argument.
    sections: further sections of the config, by name. real_in_demo: see `ExperimentConfig`.
    """
    base = OwnDataExperimentConfig if issubclass(data, OwnDataConfig) else BookConfig
    fields: dict[str, Any] = {name: (section, ...) for name, section in sections.items()}
    created = create_model(schema.__name__, __base__=(schema, base), data=(data, ...), **fields)
    complete = cast("type[E]", created)
    complete.real_in_demo = real_in_demo
    return complete
