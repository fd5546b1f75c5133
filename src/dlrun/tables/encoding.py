"""Encode the columns of a table as a matrix; what is fitted comes from the training rows alone."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, NamedTuple, TypeAlias, assert_never

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from dlrun.config.data_sections import ColumnKind
from dlrun.data.scaling import mean_and_scale
from dlrun.errors import DataError
from dlrun.system.text import pluralize, shorten_list
from dlrun.tables.cells import Series
from dlrun.tables.column_kinds import (
    MOST_LEVELS,
    TEXT_WORD,
    Column,
    least_rows_of_text_word,
    words_of_text,
)

Matrix = NDArray[np.float64]

MOST_TEXT_WORDS = 100  # of a column of texts
DATE_PARTS = ("year", "month", "day of week", "days")  # days: since the first training date


class MatrixColumn(NamedTuple):
    """Describes a column of the matrix.

    is_number: whether it gets mean 0 and standard deviation 1 if columns are standardised.
    is_categorical: whether it numbers the levels of a category, for trees.
    """

    name: str
    is_number: bool = False
    is_categorical: bool = False


class ColumnEncoding(BaseModel, frozen=True):
    """Says how a column of the table becomes columns of the matrix.

    gaps: how many training rows have no value.
    marks_gaps: whether one more column of the matrix is 1 where there is no value.
    """

    name: str
    gaps: int = 0
    marks_gaps: bool = False


class NumberEncoding(ColumnEncoding, frozen=True):
    """Encodes numbers as they are.

    fill: the number for a gap; without it a gap is NaN.
    """

    kind: Literal["number"] = "number"
    fill: float | None = None

    @property
    def matrix_columns(self) -> list[MatrixColumn]:
        """The columns of the matrix, without that of the gaps."""
        return [MatrixColumn(self.name, is_number=True)]

    def encode(self, values: Series) -> Matrix:
        """Return the columns of the matrix, without that of the gaps."""
        return _fill(values, self.fill).to_numpy(np.float64)[:, None]

    def describe(self) -> str:
        """Say what is made of the column."""
        return f"the number; for a gap {self.fill:.6g}" if self.marks_gaps else "the number"


class BooleanEncoding(ColumnEncoding, frozen=True):
    """Encodes booleans as 0 and 1, as a category with two levels of which the first is dropped.

    fill: the number for a gap; without it a gap is NaN.
    """

    kind: Literal["boolean"] = "boolean"
    true_word: str
    fill: float | None = None

    @property
    def matrix_columns(self) -> list[MatrixColumn]:
        """The columns of the matrix, without that of the gaps."""
        return [MatrixColumn(f"{self.name}[{self.true_word}]")]

    def encode(self, values: Series) -> Matrix:
        """Return the columns of the matrix, without that of the gaps."""
        return _fill(values, self.fill).to_numpy(np.float64)[:, None]

    def describe(self) -> str:
        """Say what is made of the column."""
        return f"1 for {self.true_word}, else 0"


class DateEncoding(ColumnEncoding, frozen=True):
    """Encodes dates as year, month, day of the week (Monday is 0) and days since the first.

    fill: the date for a gap; without it a gap is NaN.
    has_hours: whether the hour of the day is a column too, as training rows have times.
    """

    kind: Literal["date"] = "date"
    first: datetime
    fill: datetime | None = None
    has_hours: bool = False

    @property
    def parts(self) -> list[str]:
        """The names of the numbers that are made of a date."""
        return [*DATE_PARTS, *(["hour"] if self.has_hours else [])]

    @property
    def matrix_columns(self) -> list[MatrixColumn]:
        """The columns of the matrix, without that of the gaps."""
        return [MatrixColumn(f"{self.name}[{part}]", is_number=True) for part in self.parts]

    def encode(self, values: Series) -> Matrix:
        """Return the columns of the matrix, without that of the gaps."""
        dates = pd.DatetimeIndex(_fill(values, self.fill))
        days = (dates - pd.Timestamp(self.first)) / pd.Timedelta(days=1)
        parts = [dates.year, dates.month, dates.dayofweek, days]
        if self.has_hours:
            parts.append((dates - dates.normalize()) / pd.Timedelta(hours=1))
        return np.column_stack([np.asarray(part, np.float64) for part in parts])

    def describe(self) -> str:
        """Say what is made of the column."""
        hours = ", hour" if self.has_hours else ""
        text = f"{', '.join(DATE_PARTS)} since {self.first:%Y-%m-%d}{hours}"
        return f"{text}; for a gap those of {self.fill:%Y-%m-%d}" if self.marks_gaps else text


class CategoryEncoding(ColumnEncoding, frozen=True):
    """Encodes categories as a 0/1 column for each level, or as the number of the level.

    levels: those of the training rows, sorted.
    shares: of the training rows that have each level. They encode a level that no training row has,
    so that the row is an average one. If there are none, all columns of such a level are 0.
    drop_first: whether the first level has no column.
    is_numbered: whether the one column is the number of the level, NaN for a gap or another level.
    """

    kind: Literal["category"] = "category"
    levels: list[str]
    shares: list[float] = []
    drop_first: bool = True
    is_numbered: bool = False

    @property
    def matrix_columns(self) -> list[MatrixColumn]:
        """The columns of the matrix, without that of the gaps."""
        if self.is_numbered:
            return [MatrixColumn(self.name, is_categorical=True)]
        return [MatrixColumn(f"{self.name}[{level}]") for level in self.levels[self.drop_first :]]

    def encode(self, values: Series) -> Matrix:
        """Return the columns of the matrix, without that of the gaps."""
        codes = pd.Index(self.levels, dtype="object").get_indexer(pd.Index(values, dtype="object"))
        if self.is_numbered:
            return np.where(codes < 0, np.nan, codes)[:, None]
        columns: Matrix = np.eye(len(self.levels))[codes]
        columns[codes < 0] = self.shares or 0
        if self.marks_gaps:
            columns[values.isna()] = 0
        return columns[:, self.drop_first :]

    def describe(self) -> str:
        """Say what is made of the column."""
        count = pluralize(len(self.levels), "level")
        if self.is_numbered:
            return f"a number for each of {count}: {shorten_list(self.levels)}"
        but = ", but the first" if self.drop_first else ""
        return f"0/1 for each of {count}{but}: {shorten_list(self.levels)}"


class TextEncoding(ColumnEncoding, frozen=True):
    """Encodes texts as a 0/1 column for each of some words: whether the text has the word.

    words: in small letters, sorted.
    """

    kind: Literal["text"] = "text"
    words: list[str]

    @property
    def matrix_columns(self) -> list[MatrixColumn]:
        """The columns of the matrix, without that of the gaps."""
        return [MatrixColumn(f"{self.name}[{word}]") for word in self.words]

    def encode(self, values: Series) -> Matrix:
        """Return the columns of the matrix, without that of the gaps."""
        from sklearn.feature_extraction.text import CountVectorizer  # slow

        counter = CountVectorizer(
            vocabulary=self.words, binary=True, token_pattern=TEXT_WORD, dtype=np.float64
        )
        columns: Matrix = counter.transform(values.fillna("")).toarray()
        return columns

    def describe(self) -> str:
        """Say what is made of the column."""
        return f"0/1 for each of {pluralize(len(self.words), 'word')}: {shorten_list(self.words)}"


Encoding: TypeAlias = (
    NumberEncoding | BooleanEncoding | DateEncoding | CategoryEncoding | TextEncoding
)


def _fill(values: Series, fill: float | datetime | None) -> Series:
    """Return values with something for their gaps, or as they are."""
    return values if fill is None else values.fillna(fill)


class TableEncoder(BaseModel, frozen=True):
    """Says how a table's columns become the columns of a matrix. A run saves it as JSON.

    moments: of each column of the matrix, what is subtracted, and then what divides; (0, 1) for
    0/1 columns. It is empty if no column is standardised.
    """

    encodings: list[Annotated[Encoding, Field(discriminator="kind")]]
    moments: list[tuple[float, float]] = []

    @classmethod
    def fit(
        cls,
        columns: Sequence[Column],
        rows: pd.DataFrame,
        *,
        standardise: bool = False,
        for_trees: bool = False,
    ) -> "TableEncoder":
        """Fit an encoder to the training rows, as `convert_columns` returns them.

        A column without a value in them is not read.

        standardise: whether columns of numbers get mean 0 and standard deviation 1.
        for_trees: gaps stay NaN, and a category is the number of its level.

        Raises DataError if nothing is left to read.
        """
        encodings: list[Encoding] = []
        for column in columns:
            if not column.left_out and rows[column.name].notna().any():
                encoding = _fit_column(column, rows[column.name], for_trees=for_trees)
                if encoding.matrix_columns or encoding.marks_gaps:
                    encodings.append(encoding)
        if not encodings:
            problem = "no column has different values in the training rows"
            raise DataError(problem, "data.kinds says how columns are read that were left out")
        encoder = cls(encodings=encodings)
        if not standardise:
            return encoder
        means, scales = mean_and_scale(encoder.encode(rows))
        moments = [
            (mean, scale) if column.is_number else (0.0, 1.0)
            for column, mean, scale in zip(
                encoder.matrix_columns, means.tolist(), scales.tolist(), strict=True
            )
        ]
        return encoder.model_copy(update={"moments": moments})

    @property
    def input_columns(self) -> list[str]:
        """The names of the table's columns that are read."""
        return [encoding.name for encoding in self.encodings]

    @property
    def matrix_columns(self) -> list[MatrixColumn]:
        """The columns of the matrix."""
        columns: list[MatrixColumn] = []
        for encoding in self.encodings:
            columns += encoding.matrix_columns
            if encoding.marks_gaps:
                columns.append(MatrixColumn(f"{encoding.name}[missing]"))
        return columns

    @property
    def places(self) -> dict[str, slice]:
        """Where the columns of the matrix are that are made of each column of the table."""
        places: dict[str, slice] = {}
        begin = 0
        for encoding in self.encodings:
            end = begin + len(encoding.matrix_columns) + encoding.marks_gaps
            places[encoding.name] = slice(begin, end)
            begin = end
        return places

    @property
    def names(self) -> list[str]:
        """The names of the matrix's columns, such as `Hits` and `League[N]`."""
        return [column.name for column in self.matrix_columns]

    @property
    def categorical(self) -> list[bool]:
        """Which columns of the matrix number the levels of a category, for trees."""
        return [column.is_categorical for column in self.matrix_columns]

    def encode(self, rows: pd.DataFrame) -> Matrix:
        """Return a matrix (rows, columns) of rows that `convert_columns` returned."""
        parts: list[Matrix] = []
        for encoding in self.encodings:
            values = rows[encoding.name]
            parts.append(encoding.encode(values))
            if encoding.marks_gaps:
                parts.append(values.isna().to_numpy()[:, None].astype(np.float64))
        matrix = np.ascontiguousarray(np.hstack(parts))  # sums differ in the last bits otherwise
        if self.moments:
            means, scales = np.array(self.moments).T
            matrix -= means
            matrix /= scales
        return matrix

    def unknown_levels(self, rows: pd.DataFrame) -> dict[str, list[str]]:
        """Return the levels of each category that no training row has, for a warning."""
        unknown: dict[str, list[str]] = {}
        for encoding in self.encodings:
            if isinstance(encoding, CategoryEncoding):
                levels = set(rows[encoding.name].dropna()) - set(encoding.levels)
                if levels:
                    unknown[encoding.name] = sorted(levels)
        return unknown


def _fit_column(column: Column, values: Series, *, for_trees: bool) -> Encoding:
    """Fit the encoding of a column to the training rows, of which at least one has a value."""
    name = column.name
    gaps = int(values.isna().sum())
    marks_gaps = gaps > 0 and not for_trees
    match column.kind:
        case "number":
            fill = None if for_trees else float(values.median())
            return NumberEncoding(name=name, gaps=gaps, marks_gaps=marks_gaps, fill=fill)
        case "boolean":
            # As of a category: a gap is a level of its own, or else the row is an average one.
            share = None if for_trees else 0.0 if gaps else float(values.mean())
            return BooleanEncoding(
                name=name,
                gaps=gaps,
                marks_gaps=marks_gaps,
                true_word=column.true_word,
                fill=share,
            )
        case "date":
            return DateEncoding(
                name=name,
                gaps=gaps,
                marks_gaps=marks_gaps,
                first=pd.Timestamp(values.min()).to_pydatetime(),
                fill=None if for_trees else pd.Timestamp(values.median()).to_pydatetime(),
                has_hours=bool((values.dropna() != values.dropna().dt.normalize()).any()),
            )
        case "category":
            rows_by_level = Counter(values.dropna())
            levels = _most_frequent(rows_by_level, MOST_LEVELS)
            return CategoryEncoding(
                name=name,
                gaps=gaps,
                marks_gaps=marks_gaps,
                levels=levels,
                shares=[rows_by_level[level] / len(values) for level in levels],
                is_numbered=for_trees,
            )
        case "text":
            words = _find_words(values)
            marks_gaps = marks_gaps and bool(words)
            return TextEncoding(name=name, gaps=gaps, marks_gaps=marks_gaps, words=words)
        case other:
            assert_never(other)


def _find_words(values: Series) -> list[str]:
    """Return the most frequent words of texts, without those that all texts or few texts have."""
    texts = values.dropna()
    rows_by_word = Counter(word for text in texts for word in words_of_text(text))
    least = least_rows_of_text_word(len(texts))
    frequent = Counter({word: n for word, n in rows_by_word.items() if least <= n < len(texts)})
    return _most_frequent(frequent, MOST_TEXT_WORDS)


def _most_frequent(counts: Counter[str], most: int) -> list[str]:
    """Return the most frequent words, sorted. Of equally frequent words the first ones count."""
    by_frequency = sorted(counts, key=lambda word: (-counts[word], word))
    return sorted(by_frequency[:most])


class ColumnUse(NamedTuple):
    """Says what is made of a column of a table.

    gaps: how many training rows have no value; None if the column is not read.
    """

    column: str
    kind: ColumnKind
    use: str
    gaps: int | None


def describe_columns(columns: Sequence[Column], encoder: TableEncoder) -> list[ColumnUse]:
    """Return what an encoder makes of each column."""
    encodings = {encoding.name: encoding for encoding in encoder.encodings}
    uses: list[ColumnUse] = []
    for column in columns:
        encoding = encodings.get(column.name)
        if encoding:
            use = encoding.describe()
            if encoding.marks_gaps:
                use += f"; gaps are marked in {column.name}[missing]"
            uses.append(ColumnUse(column.name, column.kind, use, encoding.gaps))
        else:
            reason = column.left_out or "the training rows have nothing to learn from"
            uses.append(ColumnUse(column.name, column.kind, f"left out: {reason}", None))
    return uses
