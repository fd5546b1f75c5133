"""Load the data sets of ISLP's chapter 10 as arrays, in the way of scikit-learn's loaders.

Example: `reviews = datasets.imdb_sequences(); reviews.train.X, reviews.train.y, reviews.words`

The rows, their order and what is held out for validation are those of the experiments. All loaders
have these arguments, and raise ConfigError or DataError with a hint on what to do:

- sample: generate data instead of reading the book's: fewer rows, of standardised numbers.
- seed: chooses the rows that are held out, and generates samples.
- data_dir: where data are, and are downloaded to if missing; by default DLRUN_DATA_DIR, or `data`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy import sparse

from dlrun.config.data_sections import (
    Cifar100DataConfig,
    HittersDataConfig,
    ReviewsDataConfig,
    ReviewSequencesDataConfig,
    TradingDaysDataConfig,
)
from dlrun.config.yaml_loader import config_layers_from_settings
from dlrun.data.array_cache import Array
from dlrun.data.datasets_and_sources import GENERATED, Config, ReadContext
from dlrun.data.labelled_texts import Reviews
from dlrun.data.splits import split_off_validation
from dlrun.data.text_encoding import SPECIAL, decode_ids
from dlrun.errors import with_short_errors
from dlrun.experiments.checks import load_experiment_config
from dlrun.experiments.registry import find_experiment
from dlrun.runs.options import RunOptions, resolve_data_dir
from dlrun.system.console import Screen

if TYPE_CHECKING:
    import pandas as pd

    from dlrun.tables.table import Table

DataDir = str | Path | None


class Rows(NamedTuple):
    """Holds rows X (n, ...), and the class or value to predict for each, y (n,)."""

    X: Array | sparse.csr_matrix
    y: Array


@dataclass(frozen=True)
class TableRows:
    """Holds the training and test rows of a table: X float64 (n, columns), y float64 (n,).

    columns: the names of X's columns. target: the name of y.
    """

    train: Rows
    test: Rows
    columns: list[str]
    target: str

    @property
    def frame(self) -> "pd.DataFrame":
        """Return a DataFrame of all columns and the target, the test rows after the others."""
        import pandas as pd  # slow

        X = np.vstack([self.train.X, self.test.X])
        y = np.hstack([self.train.y, self.test.y])
        return pd.DataFrame(X, columns=self.columns).assign(**{self.target: y})


@dataclass(frozen=True)
class Images:
    """Holds images and their classes: X uint8 (n, ...) from 0 to 255, y int64 (n,).

    classes: the name of each class.
    """

    train: Rows
    valid: Rows
    test: Rows
    classes: list[str]


@dataclass(frozen=True)
class FilmReviews:
    """Holds film reviews X, encoded by their loader, and classes y, int8 (n,), where 1 is positive.

    classes: the name of each class. words: the word of each id; the first four ids are special, and
    the most frequent words follow. n_words: the number of ids, 10,003; the last three are not used.
    """

    train: Rows
    valid: Rows
    test: Rows
    classes: list[str]
    words: list[str]
    n_words: int

    def decode(self, ids: Iterable[int]) -> str:
        """Return the words of word ids, such as a row of `imdb_sequences`, without the padding."""
        return decode_ids(ids, self.words)


@with_short_errors
def hitters(*, sample: bool = False, seed: int = 1, data_dir: DataDir = None) -> TableRows:
    """Return baseball players with a known salary: 175 rows to train, 88 to test, 19 columns.

    The columns are not standardised; League, Division and NewLeague are 0 or 1. y is the salary in
    thousands of dollars. seed: the lab's `random_state`.
    """
    settings = {"data.split_seed": seed}
    _, table = _load_data("hitters-linear", HittersDataConfig, settings, sample, data_dir)
    return _table_rows(table)


@with_short_errors
def nyse(
    *,
    day_of_week: bool = False,
    month: bool = False,
    sample: bool = False,
    seed: int = 0,
    data_dir: DataDir = None,
) -> TableRows:
    """Return the days of the New York Stock Exchange: 4,276 rows to train, 1,770 to test.

    The 15 columns are return, volume and volatility five days before, four days before, up to the
    day before: `X.reshape(-1, 5, 3)` are sequences. day_of_week: five columns of 0 and 1 more.
    month: twelve, which follow. y is the day's volume. It and the 15 columns are standardised over
    all days. seed: only generates samples.
    """
    settings = {"seed": seed, "data.day_of_week": day_of_week, "data.month": month}
    _, table = _load_data("nyse-linear", TradingDaysDataConfig, settings, sample, data_dir)
    return _table_rows(table)


@with_short_errors
def mnist(*, sample: bool = False, seed: int = 0, data_dir: DataDir = None) -> Images:
    """Return MNIST's digits, X (n, 28, 28): 48,000 to train, 12,000 to validate, 10,000 to test."""
    return _images("mnist-dense", sample, seed, data_dir)


@with_short_errors
def cifar100(*, sample: bool = False, seed: int = 0, data_dir: DataDir = None) -> Images:
    """Return CIFAR100, X (n, 3, 32, 32): 40,000 to train, 10,000 to validate, 10,000 to test."""
    return _images("cifar100", sample, seed, data_dir)


@with_short_errors
def imdb_bags(*, sample: bool = False, seed: int = 0, data_dir: DataDir = None) -> FilmReviews:
    """Return IMDB's reviews as bags of words, X: which of 10,003 word ids occur in each.

    X is a sparse CSR matrix (n, 10003), float32, of 0 and 1. 23,000 reviews are to train, 2,000 to
    validate and 25,000 to test.
    """
    settings = {"seed": seed}
    context, reviews = _load_data("imdb-dense", ReviewsDataConfig, settings, sample, data_dir)
    return _film_reviews(context, reviews, reviews.train.bags, reviews.test.bags)


@with_short_errors
def imdb_sequences(*, sample: bool = False, seed: int = 0, data_dir: DataDir = None) -> FilmReviews:
    """Return the last 500 word ids of each IMDB review, X int32 (n, 500), padded in front with 0.

    23,000 reviews are to train, 2,000 to validate and 25,000 to test.
    """
    settings = {"seed": seed}
    kind = ReviewSequencesDataConfig
    context, reviews = _load_data("imdb-lstm", kind, settings, sample, data_dir)
    length = context.config.max_length
    train = reviews.train.ids.padded(length).astype(np.int32)
    test = reviews.test.ids.padded(length).astype(np.int32)
    return _film_reviews(context, reviews, train, test)


def _load_data(
    experiment: str,
    kind: type[Config],
    settings: Mapping[str, object],
    sample: bool,
    data_dir: DataDir,
) -> tuple[ReadContext[Config], Any]:
    """Read an experiment's data with some settings; what they were read from comes first.

    kind: the class of the experiment's section `data`.
    """
    if sample:
        settings = {**settings, "data.source": GENERATED}
    values = config_layers_from_settings(settings)
    declaration = find_experiment(experiment)
    config = load_experiment_config(declaration, RunOptions(values=values))
    section = declaration.data_section(config)
    assert isinstance(section, kind)
    folder = resolve_data_dir(None if data_dir is None else Path(data_dir))
    dataset = declaration.data
    assert dataset is not None
    context = dataset.obtain_files(section, folder, config.split_seed, Screen(shows_results=False))
    return context, dataset.make(context)


def _divide(
    context: ReadContext[ReviewsDataConfig | Cifar100DataConfig], train: Rows, test: Rows
) -> dict[str, Rows]:
    validation = context.config.validation
    fitted, held_out = split_off_validation(
        validation, train.y, test.y, context.seed, context.screen
    )
    return {
        "train": Rows(train.X[fitted], train.y[fitted]),
        "valid": Rows(train.X[held_out], train.y[held_out]),
        "test": Rows(test.X.copy(), test.y.copy()),  # torch warns of a cached one: it is read-only
    }


def _table_rows(table: "Table") -> TableRows:
    """The target is standardised if a network's target is."""
    from dlrun.tables.encoding import TableEncoder  # slow: pandas

    encoder = table.encoder or TableEncoder.fit(table.columns, table.train.inputs)
    centre, scale = table.target_moments or (0.0, 1.0)
    train, test = (
        Rows(encoder.encode(part.inputs), (part.targets - centre) / scale)
        for part in (table.train, table.test)
    )
    return TableRows(train, test, encoder.names, table.target)


def _images(experiment: str, sample: bool, seed: int, data_dir: DataDir) -> Images:
    settings = {"seed": seed}
    context, images = _load_data(experiment, Cifar100DataConfig, settings, sample, data_dir)
    train = Rows(images.train.pixels, images.train.labels)
    test = Rows(images.test.pixels, images.test.labels)
    return Images(**_divide(context, train, test), classes=images.names)


def _film_reviews(
    context: ReadContext[ReviewsDataConfig], reviews: Reviews, train: Any, test: Any
) -> FilmReviews:
    parts = _divide(context, Rows(train, reviews.train.labels), Rows(test, reviews.test.labels))
    words = [*SPECIAL, *reviews.vocabulary]
    return FilmReviews(**parts, classes=reviews.labels, words=words, n_words=reviews.width)
