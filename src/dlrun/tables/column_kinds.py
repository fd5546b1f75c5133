"""Find out what each column of a table is: numbers, categories, booleans, dates or texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import pandas as pd
from pydantic import BaseModel

Kind: TypeAlias = Literal["number", "category", "boolean", "date", "text"]


class Column(BaseModel, frozen=True):
    """Describes a column of a table, and what is made of it.

    left_out: why no model reads it; empty if models do.
    date_format: of a date's text, in the words of strptime.
    """

    name: str
    kind: Kind
    date_format: str | None = None
    left_out: str = ""


@dataclass(frozen=True)
class InspectedColumns:
    """Holds the columns of a table, and the warnings about them, each with words to paste."""

    columns: list[Column]
    warnings: list[str] = field(default_factory=list)


def inspect_columns(
    frame: pd.DataFrame, kinds: Mapping[str, Kind], places: Sequence[str]
) -> InspectedColumns:
    """Find out what each column is.

    frame: the columns that a model may read, as `read_table` returns them.
    kinds: what the config says of some columns (`data.kinds`).
    places: the place of each row, such as `cars.csv:3`, for errors.

    Raises DataError with all that is wrong in the columns.
    """
    raise NotImplementedError


def convert_columns(frame: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """Return the columns of a frame by their kinds.

    Numbers and booleans are float64 (NaN: no value), dates datetime64, categories and texts str
    (None: no value). Raises DataError, which names the column, for a cell that has another kind.
    """
    raise NotImplementedError
