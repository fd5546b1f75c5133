"""Texts from files and streams, in whatever encoding they are, one after the other."""

import codecs
import csv
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO

from dlrun.disk import open_regular
from dlrun.errors import ConfigError, DataError, first_line, nearest

LONGEST = 64 << 20  # bytes of a text, or characters of a cell
BLOCK = 1 << 16  # bytes of a stream that are taken at once, as soon as there are any
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class NoTextError(DataError):
    """Bytes that are no text."""


def decoded(raw: bytes) -> str:
    """UTF-8, with or without its mark, UTF-16 with it, or else Latin-1 as Windows means it.

    Raises NoTextError for what is no text.
    """
    if raw.startswith(UTF16):
        return raw.decode("utf-16", "replace")
    if b"\0" in raw:
        raise NoTextError("not a text: it holds a zero byte")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def read_text(path: Path) -> str:
    """A file as one text. Raises NoTextError, with the file's name in the message."""
    try:
        with open_regular(path) as stream:
            raw = stream.read(LONGEST + 1)
    except OSError as error:
        raise NoTextError(f"{path}: {error.strerror or error}") from None
    if len(raw) > LONGEST:
        raise NoTextError(f"{path}: more than {LONGEST >> 20} MB: refused")
    try:
        return decoded(raw)
    except NoTextError as error:
        raise NoTextError(f"{path}: {error.message}") from None


def lines(stream: BinaryIO) -> Iterator[list[bytes]]:
    """A stream's lines as they come, those that are there at once together.

    Raises DataError for a line that is longer than any text.
    """
    read = getattr(stream, "read1", stream.read)
    rest = b""
    while block := read(BLOCK):
        *whole, end = block.split(b"\n")
        if whole:
            whole[0] = rest + whole[0]
            rest = end
            yield [line.removesuffix(b"\r") for line in whole]
        else:
            rest += end
        if len(rest) > LONGEST:
            raise DataError(f"standard input: a line of more than {LONGEST >> 20} MB: refused")
    if rest:
        yield [rest]


def csv_column(path: Path, column: str) -> Iterator[tuple[str, str | None]]:
    """The texts of a table's column, row by row; or nothing and why a row has none.

    A line that is not UTF-8 is read as Latin-1. Raises ConfigError where the table has no such
    column, DataError where it cannot be read or is no table.
    """
    with _rows(path) as reader:
        try:
            header = [" ".join(name.split()) for name in next(reader, [])]
            if column not in header:
                names = ", ".join(name[:40] for name in header[:20]) or "none"
                raise ConfigError(
                    f"{path}: no column {column!r}{nearest(column, header)}",
                    f"--column names one of: {names}",
                )
            place = header.index(column)
            for row in reader:
                if not row:  # an empty line is none
                    continue
                missing = len(row) <= place
                yield ("", f"no cell {column!r}") if missing else (row[place], None)
        except csv.Error as error:
            where = f"{path}:{reader.line_num}"  # type: ignore[attr-defined]
            raise DataError(f"{where}: no table: {first_line(error)}") from None


@contextmanager
def _rows(path: Path) -> Iterator[Iterator[list[str]]]:
    before = csv.field_size_limit(LONGEST)
    try:
        with open_regular(path) as file:
            start = file.peek(BLOCK)[:BLOCK]
            marked = start.startswith(UTF16)
            if not marked and b"\0" in start:
                raise DataError(f"{path}: not a table: it holds a zero byte")
            encoding, errors = ("utf-16", "replace") if marked else ("utf-8-sig", "surrogateescape")
            with TextIOWrapper(file, encoding, errors, newline="") as stream:
                yield csv.reader(map(_mended, stream), strict=True)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    finally:
        csv.field_size_limit(before)


def _mended(line: str) -> str:
    try:
        line.encode()
    except UnicodeEncodeError:  # bytes that are no UTF-8
        return line.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
    return line
