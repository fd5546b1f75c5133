"""Read a table from a file: CSV in its many forms, Parquet or Excel."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlrun.data.text_files import DataWarnings


@dataclass(frozen=True)
class ReadTable:
    """Holds a table as its file has it.

    frame: a column of a text file or of Excel has texts (str), "" for an empty cell; one of Parquet
    keeps its type. The index counts rows from 0.
    lines: of each row (n,), the line of the file in which it begins; the header of a CSV file is
    at line 1, unless comments stand before it. Of Parquet it is the number of the row, from 1.
    left_out: the names of columns that only name the rows, as R and pandas write them.
    """

    path: Path
    frame: pd.DataFrame
    lines: NDArray[np.int64]
    left_out: list[str]


def read_table(path: Path, columns: Mapping[str, str], warnings: DataWarnings) -> ReadTable:
    """Read a table; a line that is not UTF-8 is read as Windows-1252, with a warning.

    columns: the columns that are needed, by the setting that names each.

    Raises ConfigError if a column is missing or there are two of its name, DataError with file,
    line and column if the file cannot be read.
    """
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    return ReadTable(path, frame, np.arange(len(frame)) + 2, [])


def read_header(path: Path, columns: Mapping[str, str]) -> list[str]:
    """Return the names of a table's columns without reading its rows; see `read_table`."""
    return list(read_table(path, columns, DataWarnings()).frame.columns)
