"""Texts from files, streams and CSV tables of any size, in whatever encoding they are."""

import codecs
import csv
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import BinaryIO, TextIO

from dlrun.errors import ConfigError, DataError, did_you_mean, first_line
from dlrun.system.files import open_regular

MAX_BYTES = 64 << 20  # of a text
BLOCK_BYTES = 1 << 16  # that are read from a stream at once, as soon as there are any
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
DELIMITERS = (",", ";", "\t")  # of a table: the first that gives all columns
MAX_CELL = 8 << 20  # characters; a quote that is not closed makes all the rest one cell
MB = 1_000_000  # bytes
QUOTES_HINT = "put a text with a comma, a quote or a line break in quotes; double a quote in it"
NOT_UTF8 = "not UTF-8: read as Latin-1"
_INVALID_UTF8 = re.compile("[\udc80-\udcff]")
_START_BYTES = 1 << 12  # a binary file has a zero byte in its first bytes


class NotTextError(DataError):
    """The bytes are not a text."""


class DataWarnings:
    """Collects what a user should know of their data: of each kind the first place and a count."""

    def __init__(self) -> None:
        self._first: dict[str, str] = {}
        self._counts: dict[str, int] = {}

    def add(self, what: str, place: object, count: int = 1) -> None:
        """Count a kind; `place` is the file, or file and line, where it was found."""
        self._first.setdefault(what, str(place))
        self._counts[what] = self._counts.get(what, 0) + count

    def lines(self) -> list[str]:
        """Return a warning for each kind."""
        return [
            f"{place}: {what}" + (f" (and {more:,} more)" if more else "")
            for what, place in self._first.items()
            for more in [self._counts[what] - 1]
        ]


def decode_bytes(raw: bytes, on_latin1: Callable[[int], None] = lambda line: None) -> str:
    """Decode UTF-8, UTF-16 with a byte order mark, or else Latin-1 (Windows-1252).

    `on_latin1` is told the first line that is not UTF-8. Raises NotTextError for binary data.
    """
    if raw.startswith(UTF16_MARKS):
        return raw.decode("utf-16", "replace")
    if b"\0" in raw:
        raise NotTextError("not a text: it has a zero byte")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        on_latin1(raw.count(b"\n", 0, error.start) + 1)
        return raw.decode("cp1252", "replace")


def read_text(path: Path) -> str:
    """Read a file as one text. Raises NotTextError, whose message does not name the file."""
    try:
        with open_regular(path) as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise NotTextError(error.strerror or str(error)) from None
    if len(raw) > MAX_BYTES:
        raise NotTextError(f"more than {MAX_BYTES >> 20} MB: refused")
    return decode_bytes(raw)


def lines(stream: BinaryIO) -> Iterator[list[bytes]]:
    """Yield a stream's lines as they come, those that are available at once together.

    Raises DataError for a line that is longer than any text.
    """
    read = getattr(stream, "read1", stream.read)
    rest = b""
    while block := read(BLOCK_BYTES):
        *whole, end = block.split(b"\n")
        if whole:
            whole[0] = rest + whole[0]
            rest = end
            yield [line.removesuffix(b"\r") for line in whole]
        else:
            rest += end
        if len(rest) > MAX_BYTES:
            raise DataError(f"standard input: a line of more than {MAX_BYTES >> 20} MB: refused")
    if rest:
        yield [rest]


def csv_column(path: Path, column: str) -> Iterator[tuple[str, str | None]]:
    """Yield each row's text in a column of a CSV file, or "" and the reason why it has none.

    Raises ConfigError if the table has no such column, DataError if it cannot be read.
    """
    table = CsvTable(path, {"--column": column}, DataWarnings())
    place = table.header.index(column)
    for row, line, _ in table.rows():
        if len(row) > place:
            yield row[place], None
        else:
            yield "", f"{table.where(line)}: no cell {column!r}"


class CsvTable:
    """A CSV file with a header, in UTF-8, or in UTF-16 with a byte order mark.

    A line that is not UTF-8 is read as Latin-1 (Windows-1252), with a warning.

    Args:
        path: the file.
        columns: that it must have, by the setting or option that names each.
        warnings: takes what a user should know.

    Raises ConfigError if a column is missing or there are two, DataError if the file cannot be
    read.
    """

    def __init__(self, path: Path, columns: Mapping[str, str], warnings: DataWarnings) -> None:
        self.path, self._warnings = path, warnings
        headers = {delimiter: self._read_header(delimiter) for delimiter in DELIMITERS}
        self._delimiter, self.header = next(
            (pair for pair in headers.items() if set(columns.values()) <= set(pair[1])),
            max(headers.items(), key=lambda pair: len(pair[1])),
        )
        for setting, column in columns.items():
            if (times := self.header.count(column)) > 1:
                raise ConfigError(
                    f"{setting}: {path}:1: {times} columns are named {column!r}",
                    "give each column another name",
                )
            if not times:
                names = ", ".join(name[:40] for name in self.header[:20]) or "none"
                raise ConfigError(
                    f"{setting}: {path}:1: no column {column!r}{did_you_mean(column, self.header)}",
                    f"the columns are: {names}",
                )

    def where(self, line: int) -> str:
        """Return a row's place for a message."""
        return f"{self.path}:{line}"

    def rows(self) -> Iterator[tuple[list[str], int, float]]:
        """Yield each row's cells, its first line, and the MB read so far. Raises DataError."""
        line = 1
        with self._opened() as (file, raw_lines):
            decoded = self._decoded(raw_lines, self._warnings)
            reader = csv.reader(decoded, delimiter=self._delimiter, strict=True)
            try:
                for row in reader:
                    first, line = line, reader.line_num + 1
                    if first > 1 and row:
                        yield row, first, file.tell() / MB
            except csv.Error as error:
                problem = f"not CSV: {first_line(error)}"
                if "field limit" in str(error):
                    problem = f"a text of more than {MAX_CELL:,} characters: an unclosed quote?"
                raise DataError(f"{self.where(line)}: {problem}", QUOTES_HINT) from None

    def _read_header(self, delimiter: str) -> list[str]:
        with self._opened() as (_, raw_lines):
            decoded = self._decoded(raw_lines, DataWarnings())
            try:
                row = next(csv.reader(decoded, delimiter=delimiter, strict=True), [])
            except csv.Error:  # not a header with this delimiter
                return []
        return [" ".join(name.split()) for name in row]

    @contextmanager
    def _opened(self) -> Iterator[tuple[BufferedReader, Iterator[str]]]:
        before = csv.field_size_limit(MAX_CELL)
        try:
            with open_regular(self.path) as file:
                start = file.peek(_START_BYTES)[:_START_BYTES]
                is_utf16 = start.startswith(UTF16_MARKS)
                if not is_utf16 and b"\0" in start:
                    raise DataError(f"{self.path}: not CSV: it has a zero byte")
                encoding = "utf-16" if is_utf16 else "utf-8-sig"
                errors = "replace" if is_utf16 else "surrogateescape"
                with TextIOWrapper(file, encoding, errors, newline="") as stream:
                    yield file, self._lines(stream)
        except OSError as error:
            raise DataError(f"{self.path}: {error.strerror or error}") from None
        finally:
            csv.field_size_limit(before)

    def _lines(self, stream: TextIO) -> Iterator[str]:
        while line := stream.readline(2 * MAX_CELL):
            if len(line) == 2 * MAX_CELL:
                raise DataError(
                    f"{self.path}: not CSV: a line of more than {len(line):,} characters"
                )
            yield line

    def _decoded(self, raw_lines: Iterator[str], warnings: DataWarnings) -> Iterator[str]:
        for number, line in enumerate(raw_lines, start=1):
            if "\0" in line:
                raise DataError(f"{self.where(number)}: not CSV: it has a zero byte")
            if line.isascii() or not _INVALID_UTF8.search(line):
                yield line
                continue
            warnings.add(NOT_UTF8, self.where(number))
            yield line.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
