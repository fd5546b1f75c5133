"""Rows of texts as numbers: their words in order of appearance, their classes, their lines."""

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

from dlrun.data.data_warnings import Oddities
from dlrun.data.encoding import split_words
from dlrun.data.own_data import Classes, check_known
from dlrun.errors import DataError
from dlrun.system.console import Screen

MOST_WORDS = 10_000_000  # distinct ones, which take 1.5 GB while they are counted
OFTEN = 500  # rows after which the bar moves


class Texts(Protocol):
    """The texts of one place, in order; `size` of them in `unit`, as their rows count."""

    path: Path
    size: float
    unit: str

    def where(self, number: int) -> str:
        """A text's place in words, by its line or number."""

    def state(self) -> str:
        """Another where the texts were changed."""

    def rows(self) -> Iterator[tuple[str, str, int, float]]:
        """Text, label, line or number, and how much was read by then."""


class _Numbering(dict[str, int]):
    """Numbers words in order of appearance."""

    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        return number


class Rows:
    """The rows that were read: of each its class, its line, how many words, a hash of its text.

    numbers: the file that takes the words of all rows, end to end, as int32.
    words: with their numbers, in order.
    first_of_part: the row at which each part begins.
    """

    def __init__(self, numbers: IO[bytes], odd: Oddities, screen: Screen) -> None:
        self._numbers, self._odd, self._screen = numbers, odd, screen
        self.words, self.classes = _Numbering(), Classes()
        self.labels, self.lines = array("q"), array("q")
        self.lengths, self.hashes = array("q"), array("q")
        self.first_of_part: list[int] = []
        self._parts: list[Texts] = []

    def read(self, texts: Texts) -> None:
        """Add a part's rows; after the first part no class may be new.

        Raises DataError, with file and line.
        """
        known = len(self.classes) if self._parts else None
        self.first_of_part.append(len(self.labels))
        self._parts.append(texts)
        what = f"reading {texts.path.name}"
        with self._screen.progress(what, texts.size, texts.unit) as bar:
            for text, label, line, done in texts.rows():
                number = self.classes.number(label, texts.where(line))
                if number < 0:
                    self._odd.add("no label: the row is left out", texts.where(line))
                    continue
                check_known(number, known, self.classes.names, texts.where(line))
                self._add(text, number, line, texts)
                if len(self.labels) % OFTEN == 0:
                    bar.to(done)

    def _add(self, text: str, number: int, line: int, texts: Texts) -> None:
        words = split_words(text)
        if not words:
            self._odd.add("a text without a word", texts.where(line))
        array("i", map(self.words.__getitem__, words)).tofile(self._numbers)
        if len(self.words) > MOST_WORDS:
            raise DataError(
                f"{texts.where(line)}: more than {MOST_WORDS:,} different words so far",
                "data.text_column names the column of the texts",
            )
        self.labels.append(number)
        self.lines.append(line)
        self.lengths.append(len(words))
        self.hashes.append(hash(text))

    def where(self, row: int) -> str:
        """A row's file and line."""
        part = bisect_right(self.first_of_part, row) - 1
        return self._parts[part].where(self.lines[row])
