"""Encode the columns of a table as a matrix; what is fitted comes from the training rows alone.

The encoders are declared values, which a run saves as JSON: a file of scikit-learn's transformers
would be a pickle, which can run code.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from dlrun.data.scaling import mean_and_scale
from dlrun.tables.column_kinds import Column

Matrix: TypeAlias = NDArray[np.float64]
Cells: TypeAlias = "pd.Series[Any]"
MISSING = "missing"  # the level of gaps, and the indicator of a gap
MOST_WORDS = 100  # of a column of texts, each with a column of the matrix
WORD = r"\w+"
LEAST_ROWS = 5  # in so many rows such a word is, and in this share of them
LEAST_SHARE = 0.01
DATE_PARTS = ("year", "month", "day of week", "days")


class NumberEncoder(BaseModel, frozen=True):
    """Encodes numbers, and booleans as 0 and 1.

    fill: the number in place of a gap; None: a gap stays NaN.
    has_indicator: whether a further column says where gaps are.
    mean, scale: a number becomes (number - mean) / scale.
    """

    kind: Literal["number", "boolean"] = "number"
    name: str
    true_word: str = ""
    fill: float | None = 0.0
    has_indicator: bool = False
    mean: float = 0.0
    scale: float = 1.0

    @property
    def names(self) -> list[str]:
        first = f"{self.name}[{self.true_word}]" if self.true_word else self.name
        return [first, f"{self.name}[{MISSING}]"] if self.has_indicator else [first]

    @property
    def categorical(self) -> list[bool]:
        return [False] * len(self.names)

    def encode(self, cells: Cells) -> Matrix:
        """Return the columns (n, 1 or 2) of numbers (n,)."""
        numbers = cells.to_numpy(np.float64)
        is_gap = np.isnan(numbers)
        if self.fill is not None:
            numbers = np.where(is_gap, self.fill, numbers)
        scaled = (numbers - self.mean) / self.scale
        return np.column_stack([scaled, is_gap]) if self.has_indicator else scaled[:, None]

    def describe(self) -> str:
        """Return what is made of the column, in words."""
        text = "0 or 1" if self.true_word else "number"
        if self.fill is not None and self.has_indicator:
            text += f", {self.fill:g} in place of a gap, and where gaps are"
        return text


class CategoryEncoder(BaseModel, frozen=True):
    """Encodes categories as columns of 0 and 1, or for trees as the number of a level.

    levels: those of the training rows, sorted.
    shares: of an unknown level, the numbers in the columns, which are means of the training rows.
    has_gaps: whether gaps are a level.
    """

    kind: Literal["category"] = "category"
    name: str
    levels: list[str]
    shares: list[float] = []
    has_gaps: bool = False
    drop_first: bool = True
    for_trees: bool = False

    @classmethod
    def fit(cls, cells: Cells, *, for_trees: bool) -> "CategoryEncoder":
        """Fit the encoder to the categories of training rows (n,)."""
        levels = sorted(cells.dropna().unique())
        has_gaps = bool(cells.isna().any())
        encoder = cls(name=str(cells.name), levels=levels, has_gaps=has_gaps, for_trees=for_trees)
        if for_trees:
            return encoder
        return encoder.model_copy(update={"shares": encoder.encode(cells).mean(axis=0).tolist()})

    @property
    def names(self) -> list[str]:
        if self.for_trees:
            return [self.name]
        named = self.levels[1:] if self.drop_first else self.levels
        return [f"{self.name}[{level}]" for level in [*named, *self._level_of_gaps()]]

    def _level_of_gaps(self) -> list[str]:
        return [MISSING] if self.has_gaps else []

    @property
    def categorical(self) -> list[bool]:
        return [self.for_trees] * len(self.names)

    def encode(self, cells: Cells) -> Matrix:
        """Return the columns (n, columns) of categories (n,)."""
        codes = np.array(pd.Categorical(cells, categories=self.levels).codes, np.int64)
        if self.for_trees:
            numbered = codes[:, None].astype(np.float64)
            numbered[codes < 0] = np.nan
            return numbered
        if self.has_gaps:
            codes[cells.isna().to_numpy(bool)] = len(self.levels)
        all_levels = len(self.levels) + self.has_gaps
        first = int(self.drop_first)
        columns: Matrix = np.eye(all_levels + 1, all_levels)[codes][:, first:]
        if self.shares:
            columns[codes < 0] = self.shares
        return columns

    def describe(self) -> str:
        """Return what is made of the column, in words."""
        levels = len(self.levels) + self.has_gaps
        if self.for_trees:
            return f"category of {levels} levels"
        first = f" but {self.levels[0]!r}" if self.drop_first and self.levels else ""
        gaps = ", of which one is for gaps" if self.has_gaps else ""
        return f"0 or 1 for each of {levels} levels{first}{gaps}"


class DateEncoder(BaseModel, frozen=True):
    """Encodes dates as year, month, day of week (Monday is 0), and days since the first date."""

    kind: Literal["date"] = "date"
    name: str
    first: str  # the first date of the training rows, in ISO's form
    parts: list[NumberEncoder]

    @classmethod
    def fit(cls, cells: Cells, *, standardise: bool, for_trees: bool) -> "DateEncoder":
        """Fit the encoder to the dates of training rows (n,)."""
        first = cells.min()
        if pd.isna(first):
            first = pd.Timestamp(0)
        parts = _divide_dates(cells, first)
        numbers = fit_numbers(parts, standardise=standardise, for_trees=for_trees)
        # One indicator of gaps is enough.
        once = [
            numbers[0],
            *(part.model_copy(update={"has_indicator": False}) for part in numbers[1:]),
        ]
        return cls(name=str(cells.name), first=first.isoformat(), parts=once)

    @property
    def names(self) -> list[str]:
        return [name for part in self.parts for name in part.names]

    @property
    def categorical(self) -> list[bool]:
        return [False] * len(self.names)

    def encode(self, cells: Cells) -> Matrix:
        """Return the columns (n, 4 or 5) of dates (n,)."""
        numbers = _divide_dates(cells, pd.Timestamp(self.first))
        return np.hstack([part.encode(numbers[part.name]) for part in self.parts])

    def describe(self) -> str:
        """Return what is made of the column, in words."""
        return f"year, month, day of week, days since {self.first[:10]}"


class WordsEncoder(BaseModel, frozen=True):
    """Encodes texts as which of some words they have; the words are frequent in training rows."""

    kind: Literal["text"] = "text"
    name: str
    words: list[str]

    @classmethod
    def fit(cls, cells: Cells) -> "WordsEncoder":
        """Fit the encoder to the texts of training rows (n,)."""
        from sklearn.feature_extraction.text import CountVectorizer  # slow

        least = max(LEAST_ROWS, int(np.ceil(LEAST_SHARE * len(cells))))
        words: list[str] = []
        vectorizer = CountVectorizer(
            token_pattern=WORD, binary=True, min_df=least, max_features=MOST_WORDS
        )
        try:
            vectorizer.fit(cells.fillna(""))
            words = sorted(vectorizer.vocabulary_)
        except ValueError:  # no word is so frequent
            pass
        return cls(name=str(cells.name), words=words)

    @property
    def names(self) -> list[str]:
        return [f"{self.name}[{word}]" for word in self.words]

    @property
    def categorical(self) -> list[bool]:
        return [False] * len(self.names)

    def encode(self, cells: Cells) -> Matrix:
        """Return the columns (n, words) of texts (n,)."""
        from sklearn.feature_extraction.text import CountVectorizer  # slow

        if not self.words:
            return np.zeros((len(cells), 0))
        vectorizer = CountVectorizer(token_pattern=WORD, binary=True, vocabulary=self.words)
        found: Matrix = vectorizer.transform(cells.fillna("")).toarray().astype(np.float64)
        return found

    def describe(self) -> str:
        """Return what is made of the column, in words."""
        if not self.words:
            return "nothing: no word is in many rows"
        return f"0 or 1 for each of {len(self.words)} frequent words"


ColumnEncoder: TypeAlias = Annotated[
    NumberEncoder | CategoryEncoder | DateEncoder | WordsEncoder, Field(discriminator="kind")
]


class TableEncoder(BaseModel, frozen=True):
    """Says how a table's columns become the columns of a matrix. A run saves it as JSON."""

    columns: list[ColumnEncoder]

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

        standardise: whether columns of numbers get mean 0 and standard deviation 1.
        for_trees: gaps stay NaN, and a category is the number of its level.
        """
        read = [column for column in columns if not column.left_out]
        numbers = [column.name for column in read if column.kind == "number"]
        of_numbers = fit_numbers(rows[numbers], standardise=standardise, for_trees=for_trees)
        fitted: dict[str, ColumnEncoder] = {encoder.name: encoder for encoder in of_numbers}
        for column in read:
            cells = rows[column.name]
            match column.kind:
                case "boolean":
                    (encoder,) = fit_numbers(
                        cells.to_frame(), standardise=False, for_trees=for_trees
                    )
                    changes = {"kind": "boolean", "true_word": column.true_word}
                    fitted[column.name] = encoder.model_copy(update=changes)
                case "category":
                    fitted[column.name] = CategoryEncoder.fit(cells, for_trees=for_trees)
                case "date":
                    fitted[column.name] = DateEncoder.fit(
                        cells, standardise=standardise, for_trees=for_trees
                    )
                case "text":
                    fitted[column.name] = WordsEncoder.fit(cells)
        return cls(columns=[fitted[column.name] for column in read])

    @property
    def names(self) -> list[str]:
        """The names of the matrix's columns, such as `Hits` and `League[N]`."""
        return [name for column in self.columns for name in column.names]

    @property
    def categorical(self) -> list[bool]:
        """Which columns of the matrix number the levels of a category, for trees."""
        return [is_category for column in self.columns for is_category in column.categorical]

    def encode(self, rows: pd.DataFrame) -> Matrix:
        """Return a matrix (rows, columns) of rows that `convert_columns` returned."""
        parts = [column.encode(rows[column.name]) for column in self.columns]
        columns = np.hstack(parts) if parts else np.zeros((len(rows), 0))
        return np.ascontiguousarray(columns)  # the order in memory changes last bits


def fit_numbers(
    numbers: pd.DataFrame, *, standardise: bool, for_trees: bool
) -> list[NumberEncoder]:
    """Fit an encoder to each column of numbers (n, columns) of the training rows."""
    if for_trees or numbers.empty:
        fill = None if for_trees else 0.0
        return [NumberEncoder(name=str(name), fill=fill) for name in numbers]
    fills = numbers.median().fillna(0.0)
    has_gaps = numbers.isna().any().tolist()
    means, scales = np.zeros(len(fills)), np.ones(len(fills))
    if standardise:
        means, scales = mean_and_scale(numbers.fillna(fills).to_numpy(np.float64))
    return [
        NumberEncoder(
            name=str(name),
            fill=fill,
            has_indicator=has_gap,
            mean=mean,
            scale=scale,
        )
        for name, fill, has_gap, mean, scale in zip(
            numbers, fills.tolist(), has_gaps, means.tolist(), scales.tolist(), strict=True
        )
    ]


def _divide_dates(cells: Cells, first: pd.Timestamp) -> pd.DataFrame:
    """Return the parts of dates (n,) as numbers (n, 4), each under the column's name."""
    date = cells.dt
    days = (cells - first).dt.total_seconds() / 86_400
    parts = zip(DATE_PARTS, (date.year, date.month, date.dayofweek, days), strict=True)
    return pd.DataFrame({f"{cells.name} {part}": values for part, values in parts})
