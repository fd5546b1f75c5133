"""Make short and printable text for the terminal: cut, counted, aligned, with relative paths."""

import os
import re
from collections.abc import Container, Sequence
from pathlib import Path

from rich import filesize
from rich.cells import cell_len

LINE_WIDTH = 80  # a wrapped text has so many columns
format_size = filesize.decimal  # it writes a number of bytes with a unit, as in `0.6 MB`


def printable(text: str) -> str:
    """Control characters and line breaks, which could corrupt a terminal, are replaced."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def printable_lines(text: str) -> str:
    """Control characters except line breaks are replaced."""
    return "\n".join(map(printable, text.split("\n")))


def shorten_paths(text: str) -> str:
    """Each path below the working folder becomes relative to the folder."""
    try:
        here = str(Path.cwd()) + os.sep
    except OSError:  # it was removed
        return text
    if here not in text or here == 2 * os.sep:  # no path is relative to the root
        return text
    # A path begins outside of words and other paths, and is not the folder alone.
    return re.sub(rf"(?<![^\s\"'`([=:,]){re.escape(here)}(?=[^\s/])", "", text)


def cut(text: str, length: int) -> str:
    """A text of more than `length` characters ends with an ellipsis."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def shorten_list(names: Sequence[str], most: int = 10) -> str:
    """Join names by commas for a message, only the first ones of a long list."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def pluralize(number: int, noun: str) -> str:
    """A noun follows its number, as in `1 epoch` and `2,000 epochs`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def format_position(number: int, total: int) -> str:
    """The text has a constant width, as ` 3/50` has."""
    return f"{number:{len(str(total))}}/{total}"


def format_text_table(
    rows: Sequence[Sequence[str]], *, left: Container[int] = (0,), gap: int = 2
) -> list[str]:
    """Align rows, the heading first; the columns in `left` are aligned to the left."""
    columns = []
    for place, cells in enumerate(zip(*rows, strict=True)):
        width = max(map(cell_len, cells))
        align = str.ljust if place in left else str.rjust
        columns.append([align(cell, width - cell_len(cell) + len(cell)) for cell in cells])
    return [(" " * gap).join(row).rstrip() for row in zip(*columns, strict=True)]
