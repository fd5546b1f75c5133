"""Read a table from a file: CSV in its many forms, Parquet or Excel."""

import codecs
import contextlib
import csv
import datetime
import io
import math
import re
import warnings as python_warnings
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlrun.data.text_files import (
    MAX_CELL,
    QUOTES_HINT,
    DataWarnings,
    check_columns,
    decode_lines,
)
from dlrun.errors import DataError, first_line
from dlrun.system.extras import require_extra
from dlrun.system.files import MOST_UNPACKED, open_regular_file, read_unpacked
from dlrun.system.text import pluralize

SPACES = " "  # the separator that stands for any number of blanks and tabs
SEPARATORS = (",", ";", "\t", "|", SPACES)
FIRST_ROWS = 50  # so many rows tell which separator a file has, and whether it has a header
BEGINNING = 4 << 20  # bytes: the header and the first rows of nearly every table are in them
NO_ROWS_HINT = "it needs a line of cells for each example"
LARGEST_WHOLE = 1e15  # Excel keeps 15 digits of a number
# pandas names a column so that had no name in the file that it read.
NAMED_BY_PANDAS = re.compile(r"Unnamed: 0(\.\d+)?")


@dataclass(frozen=True)
class ReadTable:
    """Holds a table as its file has it.

    frame: a column of a text file or of Excel has texts (str), "" for an empty cell; one of Parquet
    keeps its type. The index counts rows from 0.
    lines: of each row (n,), the line of the file in which it begins; the header of a CSV file is
    at line 1, unless comments stand before it. Of Parquet it is the number of the row, from 1.
    left_out: the columns that only name the rows, as R and pandas write them: their names, or
    `column 1 (no name)`.
    """

    path: Path
    frame: pd.DataFrame
    lines: NDArray[np.int64]
    left_out: list[str]


class _Start(NamedTuple):
    """Says how a table begins: its separator (of a text), its header and its first rows.

    line: of the header. body, body_line: the character and the line of a text at which the rows
    begin.
    """

    separator: str
    names: list[str]
    line: int
    rows: list[list[str]]
    body: int = 0
    body_line: int = 0


def read_table(path: Path, columns: Mapping[str, str], warnings: DataWarnings) -> ReadTable:
    """Read a table; a line that is not UTF-8 is read as Windows-1252, with a warning.

    columns: the columns that are needed, by the setting that names each.

    Raises ConfigError if a column is missing or there are two of its name, DataError with file,
    line and column if the file cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        table = _read_parquet(path, columns)
    elif suffix == ".xlsx":
        table = _read_excel(path, columns)
    else:
        table = _read_text(path, columns, warnings)
    if not len(table.frame):
        raise DataError(f"{path}: no rows", NO_ROWS_HINT)
    return table


def read_header(path: Path, columns: Mapping[str, str]) -> list[str]:
    """Return the names of a table's columns without reading its rows; see `read_table`."""
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return list(_read_parquet(path, columns, only_header=True).frame.columns)
    if suffix == ".xlsx":
        return list(_read_excel(path, columns, most_rows=FIRST_ROWS).frame.columns)
    content = _read_content(path, BEGINNING)
    is_whole = len(content) < BEGINNING
    text = _decode(path, content, DataWarnings(), is_whole=is_whole)
    if not is_whole:
        last_break = max(text.rfind("\n"), text.rfind("\r"))
        if last_break < 0:  # the header is longer
            return list(read_table(path, columns, DataWarnings()).frame.columns)
        text = text[: last_break + 1]
    start = _find_start(path, io.StringIO(text, newline=""), columns)
    positions, _ = _choose_columns(path, start, columns)
    return [start.names[position] for position in positions]


def _read_text(path: Path, columns: Mapping[str, str], warnings: DataWarnings) -> ReadTable:
    """Read a text file. The csv module finds each fault with its line; pandas makes the columns."""
    most = MOST_UNPACKED
    with contextlib.suppress(OSError):  # the reading reports it
        most = max(most, path.stat().st_size)  # the bound is for what a small file unpacks to
    content = _read_content(path, most + 1)
    if len(content) > most:
        raise DataError(f"{path}: its content is larger than {MOST_UNPACKED:,} bytes")
    stream = io.StringIO(_decode(path, content, warnings), newline="")
    del content
    start = _find_start(path, stream, columns)
    positions, left_out = _choose_columns(path, start, columns)
    lines = _check_rows(path, stream, start)
    stream.seek(start.body)
    try:
        frame = pd.read_csv(
            stream,
            sep=r"\s+" if start.separator == SPACES else start.separator,
            header=None,
            names=list(range(len(start.names))),
            index_col=False,
            dtype=str,
            keep_default_na=False,
            skipinitialspace=True,
        )
    except pd.errors.EmptyDataError:
        frame = pd.DataFrame(columns=range(len(start.names)))
    except pd.errors.ParserError as error:
        raise DataError(f"{path}: not CSV: {first_line(error)}", QUOTES_HINT) from None
    if len(frame) != len(lines):
        problem = f"pandas finds {len(frame):,} rows and Python's csv module {len(lines):,}"
        raise DataError(f"{path}: {problem}", "look for odd quotes and for lines of blanks")
    return _make_table(path, frame, lines, start, positions, left_out)


def _make_table(
    path: Path,
    frame: pd.DataFrame,
    lines: NDArray[np.int64],
    start: _Start,
    positions: list[int],
    left_out: list[str],
) -> ReadTable:
    """Keep the columns at the given positions, and name them."""
    if len(positions) < len(start.names):
        frame = frame.iloc[:, positions]
    frame.columns = pd.Index([start.names[position] for position in positions])
    return ReadTable(path, frame, lines, left_out)


def _read_content(path: Path, most: int) -> bytes:
    try:
        return read_unpacked(path, most)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None


def _decode(path: Path, content: bytes, warnings: DataWarnings, *, is_whole: bool = True) -> str:
    """Decode the content of a file, or its beginning, which may end within a character."""
    encoding = "utf-8-sig"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(content, is_whole)
    except UnicodeDecodeError as error:
        if encoding == "utf-16":
            problem = f"not UTF-16, as it begins: {error.reason}"
            raise DataError(f"{path}: {problem}", "save the table in UTF-8") from None
        lines = io.StringIO(content.decode(encoding, "surrogateescape"), newline="")
        text = "".join(decode_lines(path, lines, warnings))
    zero = text.find("\0")
    if zero >= 0:
        problem = f"{path}:{1 + _count_breaks(text[:zero])}: not a text: it has a zero byte"
        raise DataError(problem, "save the table as CSV in UTF-8, as .xlsx or as .parquet")
    if text.count("\r") > text.count("\r\n"):
        # A blank line that ends so makes pandas lose an empty first cell of the next row.
        text = re.sub("\r(?!\n)", "\n", text)
    return text


def _count_breaks(text: str) -> int:
    return text.count("\n") + text.count("\r") - text.count("\r\n")


def _find_start(path: Path, stream: io.StringIO, columns: Mapping[str, str]) -> _Start:
    """Find the header of a text and its separator.

    The separator is that which gives all wanted columns. If several do, or none does, it is the
    one with rows as long as the header; then not the blank, which is in words too; then that with
    most columns.
    """
    wanted = set(columns.values())
    begin, line = _find_header(stream, wanted)
    with _long_cells():
        starts = [_split_start(path, stream, separator, begin, line) for separator in SEPARATORS]
        start = max(starts, key=lambda start: _fitness(start, wanted))
        if not start.names:
            stream.seek(begin)
            next(_read_records(path, stream, ",", line), None)  # raises what is wrong in it
            raise DataError(f"{path}: no rows", NO_ROWS_HINT)
    _check_is_header(path, start, columns)
    return start


def _fitness(start: _Start, wanted: set[str]) -> tuple[bool, bool, bool, int, bool]:
    is_even = all(len(row) == len(start.names) for row in start.rows)
    return (
        wanted <= set(start.names),
        is_even and len(start.names) > 1,
        start.separator != SPACES,
        len(start.names),
        is_even,
    )


def _find_header(stream: io.StringIO, wanted: set[str]) -> tuple[int, int]:
    """Return the character and the line at which the header begins.

    Blank lines and comments (#) stand before the header. A comment with all wanted columns is
    itself the header, as numpy writes it.
    """
    stream.seek(0)
    position = 0
    line_number = 0
    for line_number, line in enumerate(stream, start=1):
        text = line.strip()
        if text and not text.startswith("#"):
            return position, line_number
        if wanted and all(name in text for name in wanted):  # parse few of very many comments
            hash_sign = position + line.index("#")
            if _has_columns(text[1:], wanted):
                return hash_sign + 1, line_number
            if _has_columns(text, wanted):  # such as `#id`
                return hash_sign, line_number
        position += len(line)
    return position, line_number + 1


def _has_columns(line: str, wanted: set[str]) -> bool:
    for separator in SEPARATORS:
        with contextlib.suppress(DataError), _long_cells():
            for cells, *_ in _read_records(Path(), io.StringIO(line), separator, 1):
                if wanted <= set(_clean_names(cells)):
                    return True
    return False


def _clean_names(cells: Sequence[str]) -> list[str]:
    return [" ".join(cell.split()) for cell in cells]


def _split_start(path: Path, stream: io.StringIO, separator: str, begin: int, line: int) -> _Start:
    """Read the header and the first rows with a separator, up to the first fault."""
    names: list[str] = []
    rows: list[list[str]] = []
    body = begin
    body_line = line
    stream.seek(begin)
    records = _read_records(path, stream, separator, line)
    with contextlib.suppress(DataError):
        for cells, _, next_line in islice(records, 1):
            names = _clean_names(cells)
            body = stream.tell()
            body_line = next_line
        rows += (cells for cells, *_ in islice(records, FIRST_ROWS))
    if _have_row_names(rows, len(names)):
        names.insert(0, "")
    return _Start(separator, names, line, rows, body, body_line)


def _have_row_names(rows: Sequence[Sequence[str]], columns: int) -> bool:
    """Tell whether rows begin with a name that the header lacks, as R's `write.table` writes.

    The names differ, and are words or whole numbers in their order: a decimal comma makes rows
    longer than the header too.
    """
    if len(rows) < 2 or any(len(row) != columns + 1 for row in rows):
        return False
    names = [row[0] for row in rows]
    if all(name.isdecimal() for name in names):
        numbers = [int(name) for name in names]
        return all(number < after for number, after in pairwise(numbers))
    return len(set(names)) == len(names) and not any(map(_is_number, names))


def _is_number(cell: str) -> bool:
    """A decimal comma makes a number too; `nan` is a word."""
    try:
        return math.isfinite(float(cell.replace(",", ".")))
    except ValueError:
        return False


def _has_kind_of(name: str, cells: Sequence[str]) -> bool:
    """Tell whether a header's cell is a number or a word as the cells below are; gaps are both."""
    filled = [cell for cell in cells if cell.strip()]
    if not name or not filled:
        return True
    return _is_number(name) == any(map(_is_number, filled))


def _check_is_header(path: Path, start: _Start, columns: Mapping[str, str]) -> None:
    """Raise DataError if the first line is a row: all numbers, or cells like those below it."""
    names = [name for name in start.names if name]
    numbers = [name for name in names if _is_number(name)]
    is_row = bool(numbers) and len(numbers) == len(names)
    # Columns may be called 2010, but hardly all of them by numbers such as 0.083.
    has_decimals = is_row and not all(name.isdecimal() for name in names)
    if set(columns.values()) & set(start.names) and not has_decimals:
        return
    if numbers and columns and start.rows:
        columns_below = zip(*start.rows, strict=False)
        is_row = is_row or all(map(_has_kind_of, start.names, columns_below))
    if is_row:
        target = next(iter(columns.values()), "") or "y"
        problem = "no header: the line is like a row"
        if target not in start.names:
            problem += f", and does not name a column {target!r}"
        examples = [f"x{number}" for number in range(1, len(start.names))][:5]
        more = ["..."] if len(start.names) > 6 else []
        example = start.separator.join([*examples, *more, target])
        hint = f"write a line of column names above it, such as `{example}`, or name one of it"
        raise DataError(f"{path}:{start.line}: {problem}", hint)


def _choose_columns(
    path: Path, start: _Start, columns: Mapping[str, str]
) -> tuple[list[int], list[str]]:
    """Return the positions of the columns that hold data, and the names of those left out.

    Raises ConfigError if a needed column is missing or two columns have one name, DataError if a
    column besides the first has no name.
    """
    wanted = set(columns.values())
    positions: list[int] = []
    left_out: list[str] = []
    for position, name in enumerate(start.names):
        if not name and position == 0:
            left_out.append("column 1 (no name)")
        elif not name:
            problem = f"{path}:{start.line}: column {position + 1} has no name"
            raise DataError(problem, "name it in the header, or delete the column")
        elif NAMED_BY_PANDAS.fullmatch(name) and name not in wanted:
            left_out.append(name)
        else:
            positions.append(position)
    names = [start.names[position] for position in positions]
    repeated = [name for name, times in Counter(names).items() if times > 1]
    once = {f"column {name}": name for name in repeated if name not in wanted}
    check_columns(path, names, {**columns, **once}, start.line)
    return positions, left_out


def _check_rows(path: Path, stream: io.StringIO, start: _Start) -> NDArray[np.int64]:
    """Return the line of each row; raise DataError for the first row of another length."""
    lines: list[int] = []
    stream.seek(start.body)
    body = stream.read()
    if rows := _count_even_lines(body, start):
        return np.arange(rows) + start.body_line
    stream.seek(start.body)
    with _long_cells():
        for cells, line, _ in _read_records(path, stream, start.separator, start.body_line):
            if len(cells) != len(start.names):
                number = pluralize(len(cells), "cell")
                problem = f"{path}:{line}: {number} for {len(start.names)} columns"
                raise DataError(problem, QUOTES_HINT)
            lines.append(line)
    return np.array(lines, np.int64)


def _count_even_lines(body: str, start: _Start) -> int:
    """Count the lines if each is plainly a row, without quotes; otherwise return 0.

    The csv module takes a second for 200,000 rows, and few tables need it.
    """
    breaks = len(start.names) - 1
    if start.separator == SPACES or not breaks or '"' in body:
        return 0
    lines = body.removesuffix("\n").split("\n")
    is_even = all(line.count(start.separator) == breaks for line in lines)
    return len(lines) if is_even else 0


@contextlib.contextmanager
def _long_cells() -> Iterator[None]:
    """Let the csv module read cells of MAX_CELL characters in a `with` block."""
    limit_before = csv.field_size_limit(MAX_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(limit_before)


def _read_records(
    path: Path, stream: io.StringIO, separator: str, line: int
) -> Iterator[tuple[list[str], int, int]]:
    """Yield the cells of each record, its line and the line after it; leave blank lines out.

    line: that at which the stream stands. Raises DataError with the line of a record that is not
    CSV.
    """
    lines = (
        _split_by_single_blanks(stream) if separator == SPACES else _blank_lines(stream, separator)
    )
    reader = csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=True)
    record_line = line
    try:
        for cells in reader:
            next_line = line + reader.line_num
            if cells:
                yield cells, record_line, next_line
            record_line = next_line
    except csv.Error as error:
        problem = f"not CSV: {first_line(error)}"
        if "unexpected end" in problem:
            problem = "a quote is not closed"
        elif "field larger" in problem:
            problem = f"a cell has more than {MAX_CELL:,} characters: a quote is not closed"
        raise DataError(f"{path}:{record_line}: {problem}", QUOTES_HINT) from None


def _blank_lines(stream: io.StringIO, separator: str) -> Iterator[str]:
    """Yield lines; those of blanks alone are empty, which pandas leaves out."""
    blanks = " \r\n" if separator == "\t" else " \t\r\n"
    for line in stream:
        yield line if line.strip(blanks) else "\n"


def _split_by_single_blanks(stream: io.StringIO) -> Iterator[str]:
    """Yield lines for a csv reader that separates at blanks, and skips those that follow."""
    for line in stream:
        yield line.replace("\t", " ").rstrip(" \r\n") + "\n"


def _read_parquet(
    path: Path, columns: Mapping[str, str], *, only_header: bool = False
) -> ReadTable:
    """Read a Parquet file; an index with names of rows is left out, unless it is wanted."""
    require_extra(f"{path}: a Parquet file", "parquet", "pyarrow")
    with _reading(path, "Parquet"), open_regular_file(path) as stream:
        if only_header:
            from pyarrow import parquet

            frame = parquet.read_schema(stream).empty_table().to_pandas()
        else:
            frame = pd.read_parquet(stream, engine="pyarrow")
        wanted_levels = [name for name in frame.index.names if name in columns.values()]
        names_of_rows = [
            str(name or "index") for name in frame.index.names if name not in wanted_levels
        ]
        if isinstance(frame.index, pd.RangeIndex):
            names_of_rows = []
        if wanted_levels:
            frame = frame.reset_index(level=wanted_levels)
        frame = frame.reset_index(drop=True)
        start = _Start(",", _clean_names([str(name) for name in frame.columns]), 1, [])
    positions, left_out = _choose_columns(path, start, columns)
    lines = np.arange(1, len(frame) + 1)
    return _make_table(path, frame, lines, start, positions, [*names_of_rows, *left_out])


def _read_excel(path: Path, columns: Mapping[str, str], most_rows: int | None = None) -> ReadTable:
    """Read the first sheet of an Excel file, with the texts that a CSV file would have."""
    require_extra(f"{path}: an Excel file", "excel", "openpyxl")
    with (
        _reading(path, "Excel"),
        open_regular_file(path) as stream,
        python_warnings.catch_warnings(),
    ):
        python_warnings.simplefilter("ignore")  # of what openpyxl does not read, such as charts
        if sum(part.file_size for part in zipfile.ZipFile(stream).infolist()) > MOST_UNPACKED:
            raise DataError(f"{path}: its content is larger than {MOST_UNPACKED:,} bytes")
        sheet = pd.read_excel(
            stream, header=None, dtype=object, na_filter=False, nrows=most_rows, engine="openpyxl"
        )
        cells = sheet.map(_to_text)
    is_filled = (cells != "").any(axis=1).to_numpy()
    (lines,) = np.nonzero(is_filled)
    if not len(lines):
        raise DataError(f"{path}: no rows", NO_ROWS_HINT)
    cells = cells[is_filled].reset_index(drop=True)
    first_rows = cells.iloc[: FIRST_ROWS + 1].to_numpy().tolist()
    start = _Start(",", _clean_names(first_rows[0]), int(lines[0]) + 1, first_rows[1:])
    _check_is_header(path, start, columns)
    positions, left_out = _choose_columns(path, start, columns)
    frame = cells.iloc[1:].reset_index(drop=True).astype(str)
    return _make_table(path, frame, lines[1:] + 1, start, positions, left_out)


def _to_text(value: object) -> str:
    """Write a cell of Excel as a CSV file has it: 1 and not 1.0, dates as 2024-01-31."""
    if value is None or value is pd.NaT:
        return ""
    if isinstance(value, float) and math.isnan(value):  # an error such as #N/A
        return ""
    if isinstance(value, int) and abs(value) >= LARGEST_WHOLE:  # pandas makes it of 1e300
        return repr(float(value))
    if isinstance(value, datetime.datetime):
        return value.isoformat(sep=" ").removesuffix(" 00:00:00")
    return str(value)


@contextlib.contextmanager
def _reading(path: Path, kind: str) -> Iterator[None]:
    """Explain what a library raises in a `with` block: of a damaged file it may be anything."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or first_line(error)}") from None
    except Exception as error:
        problem = f"{path}: no {kind} file, or a damaged one: {first_line(error)}"
        raise DataError(problem, "write the file again, or save the table as CSV") from None
