"""Encode the columns of a table as a matrix; what is fitted comes from the training rows alone."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel

from dlrun.tables.column_kinds import Column

Matrix = NDArray[np.float64]


class TableEncoder(BaseModel, frozen=True):
    """Says how a table's columns become the columns of a matrix. A run saves it as JSON."""

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
        raise NotImplementedError

    @property
    def input_columns(self) -> list[str]:
        """The names of the table's columns that are read."""
        raise NotImplementedError

    @property
    def names(self) -> list[str]:
        """The names of the matrix's columns, such as `Hits` and `League[N]`."""
        raise NotImplementedError

    @property
    def categorical(self) -> list[bool]:
        """Which columns of the matrix number the levels of a category, for trees."""
        raise NotImplementedError

    def encode(self, rows: pd.DataFrame) -> Matrix:
        """Return a matrix (rows, columns) of rows that `convert_columns` returned."""
        raise NotImplementedError
