"""Texts and labels of a CSV file, row by row."""

from collections.abc import Iterator
from pathlib import Path

from dlrun.data.csv_table import MB, QUOTES, Table
from dlrun.data.data_warnings import Oddities
from dlrun.data.download import digest
from dlrun.errors import DataError


class CsvTexts:
    """A table with a column of texts and one of labels; its rows are those of its file.

    Raises ConfigError where a column is missing, DataError where the file cannot be read.
    """

    def __init__(self, path: Path, text_column: str, label_column: str, odd: Oddities) -> None:
        named = {"data.text_column": text_column, "data.label_column": label_column}
        self._table = Table(path, named, odd)
        header = self._table.header
        self._cells = len(header)
        self._text, self._label = header.index(text_column), header.index(label_column)
        self.path, self.where = path, self._table.where
        self.size, self.unit = path.stat().st_size / MB, "MB"

    def state(self) -> str:
        """Another where the file was changed. Raises DataError."""
        try:
            return digest(self.path, "sha256")
        except OSError as error:
            raise DataError(f"{self.path}: {error.strerror}") from None

    def rows(self) -> Iterator[tuple[str, str, int, float]]:
        """Each row's text and label, the line where it begins, and the MB read by then.

        Raises DataError, with the line, for a row that has more or fewer cells than the header.
        """
        for row, line, done in self._table.rows():
            if len(row) != self._cells:
                raise DataError(
                    f"{self.where(line)}: the row has {_cells(len(row))}, the header {self._cells}",
                    QUOTES,
                )
            yield row[self._text], row[self._label], line, done


def _cells(number: int) -> str:
    return f"{number} cell" + ("" if number == 1 else "s")
