"""Read and write metrics.csv, which has a row for each epoch, lasso penalty or batch of a run."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from dlrun.errors import DataError, DlrunError
from dlrun.runs.csv_tables import parse_csv
from dlrun.runs.folder import METRICS, OutputFolder, Row

# The columns of metrics.csv that are no metrics.
STEP = "epoch"
LR = "lr"
SECONDS = "seconds"
NO_METRICS = (STEP, LR, SECONDS)


def newest_metrics(rows: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The newest value of a metric is that of the last row in which it is not NaN.

    Not every epoch is validated.
    """
    return {
        name: value
        for row in rows
        for name, value in row.items()
        if name not in NO_METRICS and not math.isnan(value)
    }


def parse_metrics_csv(content: bytes, path: Path) -> dict[str, list[float]]:
    """The columns stand by name; `3` becomes an int, `3.0` a float.

    An empty cell becomes NaN. A last row without a line end, as a power cut may leave it, is
    dropped. Raises DataError, which names the path, if the content is damaged.
    """
    try:
        whole_lines, _, _ = content.rpartition(b"\n")
        names, rows = parse_csv(whole_lines)
        cells = [[_parse_csv_number(cell) for cell in row] for row in rows]
    except (ValueError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    return {name: [row[column] for row in cells] for column, name in enumerate(names)}


def _parse_csv_number(cell: str) -> float:
    if cell.isdecimal() and len(cell) < 16:
        return int(cell)
    return float(cell) if cell else math.nan


class MetricsFile:
    """Writes the metrics.csv of one run.

    columns: the names of the columns. If they are None, the first row names them, and a later row
    may have more.
    """

    def __init__(
        self, folder: OutputFolder, columns: Sequence[str] | None, rows: Sequence[Row]
    ) -> None:
        self._folder = folder
        self._takes_columns = columns is None
        self._columns = list(columns or (rows[0] if rows else ()))
        if self._columns:
            self._write(rows)
        else:
            folder.remove(METRICS)

    def widen(self, rows: Sequence[dict[str, float]], row: Row) -> list[dict[str, float]]:
        """The rows get the columns that a further row has and they lack.

        If there are any, metrics.csv is written again.
        """
        if not self._takes_columns or list(row) == self._columns:
            return list(rows)
        self._columns = list(row)
        widened = [{name: old.get(name, math.nan) for name in row} for old in rows]
        self._write(widened)
        return widened

    def append(self, row: Row) -> None:
        """A value that is NaN becomes an empty cell."""
        self._folder.append(METRICS, self._line(row).encode())

    def _write(self, rows: Sequence[Row]) -> None:
        if invalid := [name for name in self._columns if set(name) & set(',"\r\n')]:
            raise DlrunError(f"a metric cannot be named {invalid[0]!r}: it is a column of a CSV")
        head = ",".join(self._columns) + "\n"
        self._folder.write_text(METRICS, head + "".join(map(self._line, rows)))

    def _line(self, row: Row) -> str:
        values = (row[column] for column in self._columns)
        return ",".join("" if math.isnan(value) else f"{value:.9g}" for value in values) + "\n"
