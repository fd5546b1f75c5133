"""A CSV file with a header, row by row: of any size, with the line of whatever is wrong."""

import csv
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import TextIO

from dlrun.data.data_warnings import Oddities
from dlrun.errors import ConfigError, DataError, did_you_mean, first_line
from dlrun.system.files import open_regular

DELIMITERS = (",", ";", "\t")  # the first by which the header has all columns
LONGEST_TEXT = 8 << 20  # characters; a quote that nobody closes makes all the rest one text
MB = 1_000_000  # bytes
QUOTES = "a text with a comma, a quote or a line break stands in quotes, a quote in it twice"
_NO_UTF8 = re.compile("[\udc80-\udcff]")
_START = 1 << 12  # bytes in which a file that is no text shows it


class Table:
    """A CSV file with a header.

    UTF-8, with or without its mark, or UTF-16 with it; a line that is not UTF-8 is read as Latin-1
    (as Windows means it), and noted.

    Args:
        path: the file.
        columns: that it must have, by the setting or option that names each.
        odd: takes what is noted.

    Raises ConfigError where a column is missing or there twice, DataError where the file cannot be
    read.
    """

    def __init__(self, path: Path, columns: Mapping[str, str], odd: Oddities) -> None:
        self.path, self._odd = path, odd
        headers = {delimiter: self._header(delimiter) for delimiter in DELIMITERS}
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
        """A row's place in words."""
        return f"{self.path}:{line}"

    def rows(self) -> Iterator[tuple[list[str], int, float]]:
        """Each row's cells, the line where it begins, and the MB read by then. Raises DataError."""
        line = 1
        with self._opened() as (file, lines):
            reader = csv.reader(
                self._decoded(lines, self._odd), delimiter=self._delimiter, strict=True
            )
            try:
                for row in reader:
                    first, line = line, reader.line_num + 1
                    if first > 1 and row:
                        yield row, first, file.tell() / MB
            except csv.Error as error:
                raise self._no_csv(line, error) from None

    def _header(self, delimiter: str) -> list[str]:
        with self._opened() as (_, lines):
            decoded = self._decoded(lines, Oddities())
            try:
                row = next(csv.reader(decoded, delimiter=delimiter, strict=True), [])
            except csv.Error:  # by this delimiter it is none
                return []
        return [" ".join(name.split()) for name in row]

    @contextmanager
    def _opened(self) -> Iterator[tuple[BufferedReader, Iterator[str]]]:
        before = csv.field_size_limit(LONGEST_TEXT)
        try:
            with open_regular(self.path) as file:
                start = file.peek(_START)[:_START]
                marked = start[:2] in (b"\xff\xfe", b"\xfe\xff")
                if not marked and b"\0" in start:
                    raise DataError(f"{self.path}: no CSV: it holds a zero byte")
                encoding, errors = (
                    ("utf-16", "replace") if marked else ("utf-8-sig", "surrogateescape")
                )
                with TextIOWrapper(file, encoding, errors, newline="") as stream:
                    yield file, self._lines(stream)
        except OSError as error:
            raise DataError(f"{self.path}: {error.strerror or error}") from None
        finally:
            csv.field_size_limit(before)

    def _lines(self, stream: TextIO) -> Iterator[str]:
        while line := stream.readline(2 * LONGEST_TEXT):
            if len(line) == 2 * LONGEST_TEXT:
                raise DataError(
                    f"{self.path}: a line of more than {len(line):,} characters: no CSV"
                )
            yield line

    def _decoded(self, lines: Iterator[str], odd: Oddities) -> Iterator[str]:
        for number, line in enumerate(lines, start=1):
            if "\0" in line:
                raise DataError(f"{self.where(number)}: no CSV: it holds a zero byte")
            if line.isascii() or not _NO_UTF8.search(line):
                yield line
                continue
            odd.add("not UTF-8: read as Latin-1", self.where(number))
            yield line.encode("utf-8", "surrogateescape").decode("cp1252", "replace")

    def _no_csv(self, line: int, error: csv.Error) -> DataError:
        if "field limit" in str(error):
            message = (
                f"a text of more than {LONGEST_TEXT:,} characters: a quote that is not closed?"
            )
            return DataError(f"{self.where(line)}: {message}", QUOTES)
        return DataError(f"{self.where(line)}: not CSV: {first_line(error)}", QUOTES)
