"""What a prediction is asked of: arguments, files, a table, standard input; in batches."""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dlrun.data.text_files import NotTextError, csv_column, decode_bytes, lines, read_text
from dlrun.errors import ConfigError

AT_ONCE = 256  # inputs of a batch ...
MUCH = 1 << 20  # ... or characters
FILE_LIKE = re.compile(r"\S+\.(txt|text|csv|tsv|jsonl?|html?|md|xml|gz|zip)", re.IGNORECASE)


@dataclass(frozen=True)
class Asked:
    """One input: a name to show, a text or an image's file; or why it is none."""

    name: str
    value: Any = ""
    error: str | None = None


def asked(
    inputs: Sequence[str], csv: Path | None, column: str, reads: str
) -> Iterator[list[Asked]]:
    """The inputs in their order. Raises ConfigError for one that is not there."""
    if csv is not None:
        rows = csv_column(csv, column)
        return _batches(Asked(text, text, error) for text, error in rows)
    if not inputs or list(inputs) == ["-"]:
        return _piped(reads)
    if "-" in inputs:
        raise ConfigError("- stands for standard input, and alone", "dlrun predict --help")
    if reads == "image":
        from dlrun.data import images  # slow: Pillow

        return _batches(
            Asked(str(file), file) for file in images.find_images(list(map(Path, inputs)))
        )
    _check_texts(inputs)
    return _batches(map(_text, inputs))


def _check_texts(inputs: Sequence[str]) -> None:
    """Raises ConfigError where something else than a text or a text's file is named."""
    for one in inputs:
        if not _is_there(one):
            if FILE_LIKE.fullmatch(one):
                raise ConfigError(f"{one}: no such file", "a text has blanks in it, or no ending")
        elif Path(one).is_dir():
            raise ConfigError(f"{one} is a folder", f"name the files in it: {one}/*.txt")
        elif Path(one).suffix.lower() in (".csv", ".tsv"):
            raise ConfigError(f"{one} is a table", f"--csv {one} --column NAME")


def _is_there(name: str) -> bool:
    try:
        return bool(name.strip()) and Path(name).exists()
    except (OSError, ValueError):  # too long for a name: a text
        return False


def _text(one: str) -> Asked:
    if not _is_there(one):
        return Asked(one, one)
    try:
        return Asked(one, read_text(Path(one)))
    except NotTextError as error:
        return Asked(one, error=error.message)


def _piped(reads: str) -> Iterator[list[Asked]]:
    """What comes is answered as it comes."""
    if sys.stdin is None:
        raise ConfigError("standard input is closed", "name texts or files")
    for number, whole in enumerate(lines(sys.stdin.buffer)):
        if number == 0:
            whole[0] = whole[0].removeprefix(b"\xef\xbb\xbf")
        yield from _batches(_line(one, reads) for one in whole)


def _line(raw: bytes, reads: str) -> Asked:
    try:
        text = decode_bytes(raw)
    except NotTextError as error:
        return Asked("", error=error.message)
    return Asked(text, Path(text) if reads == "image" else text)


def _batches(stream: Iterable[Asked]) -> Iterator[list[Asked]]:
    batch: list[Asked] = []
    size = 0
    for one in stream:
        batch.append(one)
        size += len(one.value) if isinstance(one.value, str) else 0
        if len(batch) == AT_ONCE or size > MUCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
