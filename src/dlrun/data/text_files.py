"""Texts from files and streams, in whatever encoding they are, one after the other."""

import codecs
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from dlrun.data.csv_table import Table
from dlrun.data.data_warnings import Oddities
from dlrun.errors import DataError
from dlrun.system.files import open_regular

LONGEST = 64 << 20  # bytes of a text
BLOCK = 1 << 16  # bytes of a stream that are taken at once, as soon as there are any
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class NotTextError(DataError):
    """Bytes that are no text."""


def decode_bytes(raw: bytes, on_latin1: Callable[[int], None] = lambda line: None) -> str:
    """UTF-8, with or without its mark, UTF-16 with it, or else Latin-1 as Windows means it.

    `on_latin1` is told the first line that is not UTF-8. Raises NoTextError for what is no text.
    """
    if raw.startswith(UTF16):
        return raw.decode("utf-16", "replace")
    if b"\0" in raw:
        raise NotTextError("not a text: it holds a zero byte")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        on_latin1(raw.count(b"\n", 0, error.start) + 1)
        return raw.decode("cp1252", "replace")


def read_text(path: Path) -> str:
    """A file as one text. Raises NotTextError, which leaves the file's name to the caller."""
    try:
        with open_regular(path) as stream:
            raw = stream.read(LONGEST + 1)
    except OSError as error:
        raise NotTextError(error.strerror or str(error)) from None
    if len(raw) > LONGEST:
        raise NotTextError(f"more than {LONGEST >> 20} MB: refused")
    return decode_bytes(raw)


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

    Raises ConfigError where the table has no such column, DataError where it cannot be read or is
    no table.
    """
    table = Table(path, {"--column": column}, Oddities())
    place = table.header.index(column)
    for row, line, _ in table.rows():
        if len(row) > place:
            yield row[place], None
        else:
            yield "", f"{table.where(line)}: no cell {column!r}"
