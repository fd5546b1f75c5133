"""Parse and write CSV tables: as exact texts, or safe to open in a spreadsheet."""

import csv
import io
from collections.abc import Iterable, Sequence

from dlrun.system.text import printable


def parse_csv(content: bytes) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of the CSV table are equally long.

    Raises ValueError or csv.Error if the content is no CSV table.
    """
    rows = list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))
    header = rows.pop(0) if rows else []
    if not header:
        raise ValueError("it has no header")
    if any(len(row) != len(header) for row in rows):
        raise ValueError("a row and the header differ in length")
    return header, rows


def to_csv(rows: Sequence[Sequence[object]]) -> bytes:
    """A spreadsheet reads no cell of this table as a formula, and no text breaks a line."""
    return to_plain_csv(([format_csv_cell(value) for value in row] for row in rows), "\r\n")


def format_csv_cell(value: object) -> object:
    """Line breaks are escaped, and texts that a spreadsheet would read as a formula."""
    if isinstance(value, float):
        return f"{value:.9g}"
    if isinstance(value, str):
        value = printable(value)
        return "'" + value if value.startswith(("=", "+", "-", "@")) else value
    return value


def to_plain_csv(rows: Iterable[Sequence[object]], line_end: str = "\n") -> bytes:
    """The cells stay as they are; only bytes that are not UTF-8 are escaped."""
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator=line_end).writerows(rows)
    return stream.getvalue().encode("utf-8", "backslashreplace")
