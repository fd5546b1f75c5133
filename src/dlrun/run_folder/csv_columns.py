"""metrics.csv: which of its columns are metrics, and how it is read without pandas."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path

from dlrun.errors import DataError
from dlrun.system.files import read_regular

MAX_BYTES = 1 << 30  # a step's row has about 100
# The columns that are no metrics: the number of the step, and what it took.
STEP, SECONDS = "epoch", "seconds"


def metrics_of(row: Mapping[str, float], *, times: bool = False) -> dict[str, float]:
    """Return a row's metrics; `times` adds the seconds that the step took."""
    apart = {STEP} if times else {STEP, SECONDS}
    return {name: value for name, value in row.items() if name not in apart}


def read_table(path: Path) -> dict[str, list[float]]:
    """Return a table's columns by their names; whole numbers are ints.

    A last row without a line end, as a power cut may leave it, is dropped. Raises DataError if the
    file cannot be read or is damaged.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError("larger than any run's")
        text, _, _ = read_regular(path).decode().rpartition("\n")
        names, *rows = csv.reader(text.split("\n"), strict=True)
        if not names:
            raise ValueError("it has no header")
        if any(len(row) != len(names) for row in rows):
            raise ValueError("a row has more or fewer cells than the header")
        cells = [[_number(cell) for cell in row] for row in rows]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    return {name: [row[place] for row in cells] for place, name in enumerate(names)}


def _number(cell: str) -> float:
    value = float(cell)
    if math.isinf(value):
        return value  # also of a whole number beyond any float
    try:
        return int(cell)
    except ValueError:
        return value
