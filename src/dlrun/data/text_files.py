"""Read texts from files, and rows from CSV tables of any size, in UTF-8 or Latin-1."""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from dlrun.errors import ConfigError, DataError, ErrorCollector, first_line
from dlrun.system.files import open_regular_file, read_regular_file
from dlrun.system.spelling import did_you_mean

DELIMITERS = (",", ";", "\t")
QUOTES_HINT = "put a text with a comma, a quote or a line break in quotes; double a quote in it"
MAX_CELL = 8 << 20  # characters: a quote that is not closed makes all the rest one cell
_INVALID_UTF8 = re.compile("[\udc80-\udcff]")


class RowPlace(NamedTuple):
    """Says where a row was read: file, line (CSV only) and id.

    The header is line 1. The line of a file that is itself a row is 0.
    """

    file: Path
    line: int = 0
    id: str | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else str(self.file)


NAME_COLUMNS = ("line", "path", "id")
RowNames = dict[str, list[str]]  # the columns are `line` and perhaps `id`, or `path`


def names_of_places(places: Sequence[RowPlace | str], root: Path | None = None) -> RowNames:
    """Name the rows at these places. Generated rows have no names. Paths are relative to `root`."""
    in_files = [place for place in places if isinstance(place, RowPlace)]
    files = [place.file.relative_to(root or "").as_posix() for place in in_files if not place.line]
    columns = {
        "line": [str(place.line) for place in in_files if place.line],
        "path": [file.encode("utf-8", "backslashreplace").decode() for file in files],
        "id": [place.id for place in in_files if place.id is not None],
    }
    return {name: column for name, column in columns.items() if column}


CsvRow = tuple[dict[str, str], RowPlace]  # the cells of a row, by column, and its place


class DataWarnings:
    """Collects warnings about a user's data, only the first place of each kind."""

    def __init__(self) -> None:
        self._first: dict[str, object] = {}

    def add(self, what: str, place: object) -> None:
        """Add a warning of one kind; `place` is the file, or file and line, of the problem."""
        self._first.setdefault(what, place)

    def lines(self) -> list[str]:
        """Write a line for each kind of warning, with the first place."""
        return [f"{place}: {what}" for what, place in self._first.items()]


def decode_bytes(raw: bytes, place: object = "", warnings: DataWarnings | None = None) -> str:
    """Decode bytes in UTF-8. A line that is not UTF-8 is read as Latin-1 (Windows-1252).

    Latin-1 is noted in `warnings`, with its place. Raises DataError for binary data and UTF-16.
    """
    if b"\0" in raw:
        raise DataError("not a text: it has a zero byte")
    lines = raw.decode("utf-8-sig", "surrogateescape").splitlines(keepends=True)
    return "".join(decode_lines(place, lines, warnings or DataWarnings()))


def read_text_file(path: Path, warnings: DataWarnings | None = None) -> str:
    """Read a file as text; raise DataError, which does not name the file, for binary data."""
    try:
        raw = read_regular_file(path)
    except OSError as error:
        raise DataError(error.strerror or str(error)) from None
    return decode_bytes(raw, path, warnings)


def open_csv_table(
    path: Path, columns: Mapping[str, str], warnings: DataWarnings, id_column: str | None = None
) -> tuple[list[str], Iterator[CsvRow]]:
    """Open a CSV file, and return its column names and an iterator over its rows.

    A line that is not UTF-8 is read as Latin-1 (Windows-1252), with a warning.

    columns: the columns that are needed, by the setting that names each.
    id_column: the column with the ids of the rows' places.

    Raises ConfigError if a column is missing or there are two. Raises DataError, also when the rows
    are read, if the file cannot be read.
    """
    delimiter, header = _read_header(path, set(columns.values()))
    check_columns(path, header, columns)
    return header, _read_rows(path, delimiter, header, warnings, id_column)


def _read_header(path: Path, wanted: set[str]) -> tuple[str, list[str]]:
    """Read the column names of a CSV file, and find its delimiter.

    The delimiter is that which gives all wanted columns, or else most columns.
    """
    headers: dict[str, list[str]] = {}
    for delimiter in DELIMITERS:
        cells, _ = next(_read_records(path, delimiter, DataWarnings()), ([], 1))
        headers[delimiter] = [" ".join(name.split()) for name in cells]
    return max(headers.items(), key=lambda pair: (wanted <= set(pair[1]), len(pair[1])))


def check_columns(
    path: Path, header: Sequence[str], columns: Mapping[str, str], line: int = 1
) -> None:
    """Raise ConfigError unless each needed column is once in the header of a CSV file.

    columns: those needed, by the setting that names each. line: that of the header.
    """
    collector = ErrorCollector()
    names = ", ".join(name[:40] for name in header[:20]) or "none"
    for setting, column in columns.items():
        times = header.count(column)
        if times != 1:
            problem = f"{times} columns are named {column!r}; give each another name"
            if not times:
                problem = f"no column {column!r}{did_you_mean(column, header)}"
            if not column:
                problem = f"name a column by {setting}=COLUMN"
            error = ConfigError(f"{setting}: {path}:{line}: {problem}", f"the columns are: {names}")
            collector.errors.append(error)
    collector.raise_all()


def _read_rows(
    path: Path,
    delimiter: str,
    header: Sequence[str],
    warnings: DataWarnings,
    id_column: str | None,
) -> Iterator[CsvRow]:
    """Yield the rows of a CSV file; raise DataError if one has too many or too few cells."""
    for cells, line in islice(_read_records(path, delimiter, warnings), 1, None):
        if not cells:  # the line is blank
            continue
        if len(cells) != len(header):
            problem = f"{path}:{line}: {len(cells)} cells for {len(header)} columns"
            raise DataError(problem, QUOTES_HINT)
        row = dict(zip(header, cells, strict=True))
        row_id = row.get(id_column, "") if id_column else None
        yield row, RowPlace(path, line, row_id)


def _read_records(
    path: Path, delimiter: str, warnings: DataWarnings
) -> Iterator[tuple[list[str], int]]:
    """Yield the header and the rows; yield nothing if the delimiter gives no header."""
    limit_before = csv.field_size_limit(MAX_CELL)
    line = 1
    try:
        with (
            open_regular_file(path) as file,
            TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="") as stream,
        ):
            lines = decode_lines(path, stream, warnings)
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
            for row in reader:
                yield row, line
                line = reader.line_num + 1
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    except csv.Error as error:
        if line == 1:
            return
        raise DataError(f"{path}:{line}: not CSV: {first_line(error)}", QUOTES_HINT) from None
    finally:
        csv.field_size_limit(limit_before)


def decode_lines(place: object, lines: Iterable[str], warnings: DataWarnings) -> Iterator[str]:
    """Yield lines whose invalid bytes (surrogates) are decoded as Latin-1."""
    for number, line in enumerate(lines, start=1):
        if "\0" in line:
            problem = f"{place}:{number}: not CSV in UTF-8: it has a zero byte"
            raise DataError(problem, "save the table as CSV, in UTF-8")
        if line.isascii() or not _INVALID_UTF8.search(line):
            yield line
        else:
            warnings.add("not UTF-8: read as Latin-1", f"{place}:{number}")
            yield line.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
