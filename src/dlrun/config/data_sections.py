"""Define the schemas of the config section `data`, and of the experiments that share such data."""

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field, model_validator

from dlrun.config.named_classes import error_of_key
from dlrun.config.network_sections import NetworkConfig
from dlrun.config.sections import (
    ExperimentConfig,
    Fraction,
    LocalPath,
    PositiveInt,
    Reference,
    Section,
    Seed,
)
from dlrun.errors import ConfigError

MOST_VALIDATION = 2000  # rows that are held out for validation, unless data.validation says it
FOLD, FOLDS = "data.fold", "data.folds"  # keys of a cross-validation
TARGET_KEYS = ("data.target", "data.task")  # what a model of a table predicts
OWN_SOURCES = ("csv", "folder")  # sources that are the user's own data
NOT_THE_BOOKS = "not the book's data"  # why nothing is compared, of whatever other data
HITTERS, NYSE = "dlrun.data.tables:HITTERS", "dlrun.data.tables:NYSE"


def held_out_rows(validation: float | None, rows: int) -> int:
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


class OwnDataConfig(Section):
    """Defines where the user's own data are, and how they are divided into training and test.

    undivided: the sources whose rows are not yet divided into training and test.
    """

    undivided: ClassVar[tuple[str, ...]] = OWN_SOURCES

    source: str
    path: LocalPath | None
    train: LocalPath | None
    test: LocalPath | None
    test_share: Fraction
    split_seed: Seed | None
    folds: Annotated[int, Field(ge=2)] | None
    fold: PositiveInt | None

    @property
    def is_own(self) -> bool:
        """Return whether the data are the user's own, not a published data set."""
        return self.source in OWN_SOURCES

    @property
    def chosen_fold(self) -> tuple[int, int] | None:
        """Return the number of the fold that is the test part, and of all folds; None: no folds."""
        return (self.fold, self.folds) if self.fold and self.folds else None

    @property
    def fold_text(self) -> str:
        """Return the fold as text that follows the name of the data; empty without folds."""
        return f", fold {self.fold} of {self.folds}" if self.chosen_fold else ""

    @property
    def columns(self) -> dict[str, str]:
        """Return the columns of a CSV file that the config names, by the keys that name them."""
        return {}

    @model_validator(mode="after")
    def _places_and_folds(self) -> "OwnDataConfig":
        given = [name for name in ("path", "train", "test") if getattr(self, name) is not None]
        if not self.is_own and given:
            sources = get_args(type(self).model_fields["source"].annotation)
            own = " or ".join(f"data.source={name}" for name in sources if name in OWN_SOURCES)
            problem = f"for data of your own; source is {self.source}: add {own}"
            raise error_of_key(problem, given[0])
        if self.is_own and given not in (["path"], ["train"], ["train", "test"]):
            names = ", ".join(given) or "none"
            problem = f"source {self.source} needs path, or train and test; given: {names}"
            raise error_of_key(problem, given[-1] if given else "source")
        if self.folds is None and self.fold is None:
            return self
        if self.folds is None or self.fold is None or self.fold > self.folds:
            problem = f"folds is {self.folds}, fold is {self.fold}"
            remedy = "folds count from 1, `dlrun sweep --folds N` runs all"
            raise error_of_key(f"{problem}; {remedy}", "folds" if self.fold is None else "fold")
        if self.source not in self.undivided or self.test is not None:
            why = f"the test rows of source {self.source} are given"
            raise error_of_key(f"{why}; folds divide rows that are in one place", "folds")
        return self


class UserDataConfig(OwnDataConfig):
    """Defines where the user's own data are, and how all data are split."""

    validation: PositiveInt | Fraction | None


class ReviewsDataConfig(UserDataConfig):
    """Defines the config of movie reviews: their source, and how their words become word ids."""

    source: Literal["stanford", "keras", "sample", "csv", "folder"]
    text_column: str
    label_column: str
    archive: LocalPath | None
    word_index: LocalPath | None
    num_words: Annotated[int, Field(ge=10, le=2**15)]
    sample_reviews: Annotated[int, Field(ge=10, le=100_000)]

    @property
    def columns(self) -> dict[str, str]:
        """Return the columns of the texts and of their labels."""
        return {"data.text_column": self.text_column, "data.label_column": self.label_column}


class ImagesDataConfig(UserDataConfig):
    """Defines the config of the image data: CIFAR100, synthetic or a user's own small images."""

    source: Literal["torchvision", "sample", "folder"]
    archive: LocalPath | None
    sample_images: Annotated[int, Field(ge=100, le=100_000)]


class DigitsDataConfig(Section):
    """Defines the config of the MNIST digits, or of synthetic ones."""

    source: Literal["torchvision", "sample"]
    archive: LocalPath | None
    validation: PositiveInt | Fraction
    split_seed: Seed | None
    sample_images: Annotated[int, Field(ge=100, le=100_000)]


class TableDataConfig(OwnDataConfig):
    """Defines the config of a table with a target column: Hitters, synthetic or a user's own."""

    undivided: ClassVar[tuple[str, ...]] = (*OWN_SOURCES, "hitters", "sample")

    source: Literal["hitters", "sample", "csv"]
    archive: LocalPath | None
    target: str
    task: Literal["regression", "classification"]
    ignore: list[str]
    missing: Literal["drop", "refuse"]
    standardise: bool

    @property
    def columns(self) -> dict[str, str]:
        """Return the target, and the columns that are left out."""
        ignored = {f"data.ignore[{place}]": name for place, name in enumerate(self.ignore)}
        return {"data.target": self.target, **ignored}


class TradingDaysDataConfig(Section):
    """Defines the config of NYSE's trading days, or of synthetic ones, with their lags."""

    source: Literal["nyse", "sample"]
    archive: LocalPath | None
    lags: Annotated[int, Field(ge=1, le=250)]


class ReviewsConfig(ExperimentConfig):
    """Defines the config keys of every experiment on movie reviews."""

    dataset_location = "dlrun.data.labelled_texts:IMDB"

    data: ReviewsDataConfig
    reference: Reference


class ReviewsNetworkConfig(ReviewsConfig, NetworkConfig):
    """Defines the config keys of every experiment that trains a network on movie reviews."""


class TableConfig(ExperimentConfig):
    """Defines the config keys of every experiment on Hitters, NYSE or a user's own table."""

    real_in_demo = True

    reference: Reference


class WeekdayConfig(Section):
    """Defines whether the day of the week is a predictor beside the lags."""

    day_of_week: bool
