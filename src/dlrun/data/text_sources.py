"""Where labelled texts come from: Stanford's archive, Keras's arrays, generated ones, a user's own.

Stanford: https://ai.stanford.edu/~amaas/data/sentiment/ (Maas et al., ACL 2011).
Keras: keras.datasets.imdb.
"""

import json
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dlrun.config.sections import ReviewsData
from dlrun.data import sample
from dlrun.data.archives import files, load_npz
from dlrun.data.download import Published, digest
from dlrun.data.text_files import (
    MB,
    NOT_UTF8,
    QUOTES_HINT,
    CsvTable,
    DataWarnings,
    NotTextError,
    decode_bytes,
)
from dlrun.data.user_data import files_by_class, folder_state
from dlrun.errors import DataError
from dlrun.system.console import Screen
from dlrun.system.files import open_regular, read_regular

LABELS = ["negative", "positive"]  # of the published and the generated reviews
STANFORD_ARCHIVE = Published(
    "aclImdb_v1.tar.gz",
    "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    "md5",
    "7c2ac02c03563afcf9b574c7e56c153a",
)
KERAS_ARRAYS = Published(
    "imdb.npz",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/imdb.npz",
    "sha256",
    "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f",
)
KERAS_WORDS = Published(
    "imdb_word_index.json",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/imdb_word_index.json",
    "md5",
    "bfafd718b763782e994055a2d397834f",
    "data.word_index",
)
FILES = {"stanford": (STANFORD_ARCHIVE,), "keras": (KERAS_ARRAYS, KERAS_WORDS)}

MAX_REVIEW_BYTES = 1 << 20
MAX_TEXT_BYTES = 160 << 20  # of all reviews; the published ones have 66 MB
MAX_RANKS = 100_000_000  # of Keras's reviews; the published ones have 12 million
MAX_FILE_BYTES = 8 << 20  # of a text in a folder
_MEMBER = re.compile(r"aclImdb/(train|test)/(pos|neg)/(\d+_\d+)\.txt")
_NO_WORD = "<UNK>"  # splitting a text gives no such word


class TextSource(Protocol):
    """Labelled texts, in order.

    place: their path, or a part's name. size: how many there are, in `unit`.
    """

    place: str
    size: float
    unit: str

    def where(self, number: int) -> str:
        """Return a text's place for a message, by its line or number."""

    def rows(self) -> Iterator[tuple[str | list[str], str, int, float]]:
        """Yield text (or its words), label, line or number, and how much was read so far."""


class ListedTexts:
    """Texts in memory, or what `to_words` makes words of."""

    unit = "reviews"

    def __init__(
        self,
        place: str,
        texts: Sequence[Any] | NDArray[Any],
        labels: Sequence[str],
        to_words: Callable[[Any], list[str]] | None = None,
    ) -> None:
        self.place, self.size = place, float(len(texts))
        self._texts, self._labels, self._to_words = texts, labels, to_words

    def where(self, number: int) -> str:
        """Return a text's place for a message."""
        return f"{self.place} {number}"

    def rows(self) -> Iterator[tuple[str | list[str], str, int, float]]:
        """Yield each text and its label."""
        for number, (text, label) in enumerate(zip(self._texts, self._labels, strict=True)):
            yield self._to_words(text) if self._to_words else text, label, number, number + 1


def generate(reviews: int, seed: int) -> list[TextSource]:
    """Return as many generated reviews for training as for the test."""
    parts = []
    for name, part_seed in (("train", seed), ("test", seed + 1)):
        texts, labels = sample.reviews(reviews, part_seed)
        parts.append(ListedTexts(name, texts, [LABELS[label] for label in labels]))
    return [*parts]


def read_stanford(archive: Path, screen: Screen) -> list[TextSource]:
    """Read aclImdb_v1.tar.gz, whatever its checksum, if it has labelled reviews.

    Raises DataError if it is no such archive, is damaged, or lacks one of the four folders.
    """
    texts: dict[str, dict[str, dict[str, bytes]]] = {
        part: {"neg": {}, "pos": {}} for part in ("train", "test")
    }
    total = 0
    with screen.progress("reading the archive", 100, "%", aloud=True) as bar:
        for path, content in files(archive, _MEMBER, MAX_REVIEW_BYTES, bar.to):
            _, part, label, name = path.split("/")
            texts[part][label][name] = content
            total += len(content)
            if total > MAX_TEXT_BYTES:
                raise DataError(
                    f"{archive}: more than {MAX_TEXT_BYTES:,} bytes of reviews: refused"
                )
    empty = [
        f"aclImdb/{part}/{label}"
        for part in texts
        for label in texts[part]
        if not texts[part][label]
    ]
    if empty:
        raise DataError(
            f"{archive}: no reviews in {', '.join(empty)}",
            "the archive's layout is aclImdb/{train,test}/{pos,neg}/ID_STARS.txt",
        )
    return [
        ListedTexts(
            part,
            [
                raw.decode("utf-8", "replace")
                for group in groups.values()
                for _, raw in sorted(group.items())
            ],
            [label for label, group in zip(LABELS, groups.values(), strict=True) for _ in group],
        )
        for part, groups in texts.items()
    ]


def read_keras(
    arrays: Path, word_index: Path, screen: Screen
) -> tuple[list[TextSource], list[str]]:
    """Read Keras's imdb.npz, and imdb_word_index.json as the words by rank.

    Raises DataError if they are not that.
    """
    try:
        words = _by_rank(json.loads(read_regular(word_index)))
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{word_index}: not Keras's word index: {error}") from None
    with screen.progress("reading the arrays", None, "", aloud=True):
        x_train, y_train, x_test, y_test = load_npz(
            arrays, ["x_train", "y_train", "x_test", "y_test"]
        )

    def to_words(ranks: Sequence[int]) -> list[str]:
        try:
            return [_word(operator.index(rank), words) for rank in ranks]
        except (ValueError, TypeError) as error:
            raise DataError(f"{arrays}: not Keras's reviews: {error}") from None

    parts: list[TextSource] = []
    for name, x, y in (("train", x_train, y_train), ("test", x_test, y_test)):
        if x.ndim == 0 or x.shape[:1] != y.shape or not x.size:
            raise DataError(f"{arrays}: {name} has reviews {x.shape}, labels {y.shape}")
        if y.dtype.kind not in "biuf" or not np.isin(y, (0, 1)).all():
            raise DataError(f"{arrays}: labels in {name} are not 0 and 1")
        parts.append(ListedTexts(name, x, [LABELS[label] for label in y.astype(int)], to_words))
    try:
        if sum(len(review) for x in (x_train, x_test) for review in x) > MAX_RANKS:
            raise ValueError(f"more than {MAX_RANKS:,} words")
    except (ValueError, TypeError) as error:
        raise DataError(f"{arrays}: not Keras's reviews: {error}") from None
    return parts, words


def _by_rank(ranks: dict[str, int]) -> list[str]:
    """Return the words by rank. Raises ValueError if a rank is missing: all would be shifted."""
    words = {rank: word for word, rank in ranks.items() if type(rank) is int}
    missing = next((rank for rank in range(1, len(ranks) + 1) if rank not in words), None)
    if missing is not None:
        raise ValueError(f"of {len(ranks):,} words none has the rank {missing}")
    return [words[rank] for rank in range(1, len(ranks) + 1)]


def _word(rank: int, words: Sequence[str]) -> str:
    if rank < 1:
        raise ValueError(f"a word of rank {rank}")
    return words[rank - 1] if rank <= len(words) else _NO_WORD


class CsvTexts:
    """The texts of a CSV file with a column of texts and one of labels.

    Raises ConfigError if a column is missing, DataError if the file cannot be read.
    """

    unit = "MB"

    def __init__(
        self, path: Path, text_column: str, label_column: str, warnings: DataWarnings
    ) -> None:
        columns = {"data.text_column": text_column, "data.label_column": label_column}
        self._table = CsvTable(path, columns, warnings)
        header = self._table.header
        self._cells = len(header)
        self._text, self._label = header.index(text_column), header.index(label_column)
        self._path, self.where = path, self._table.where
        self.place, self.size = str(path), path.stat().st_size / MB

    def state(self) -> str:
        """Return a hash of the file. Raises DataError."""
        return digest(self._path, "sha256")

    def rows(self) -> Iterator[tuple[str, str, int, float]]:
        """Yield each row's text and label, its first line, and the MB read so far.

        Raises DataError, with the line, for a row that has more or fewer cells than the header.
        """
        for row, line, done in self._table.rows():
            if len(row) != self._cells:
                cells = f"{len(row)} cell" + ("" if len(row) == 1 else "s")
                raise DataError(
                    f"{self.where(line)}: the row has {cells}, the header {self._cells}",
                    QUOTES_HINT,
                )
            yield row[self._text], row[self._label], line, done


class FolderTexts:
    """The texts of a folder with a sub-folder for each class, one text in each file."""

    unit = "texts"

    def __init__(self, path: Path, warnings: DataWarnings) -> None:
        self.place, self._path, self._warnings = str(path), path, warnings
        self._files = files_by_class(path, warnings)
        self.size = float(len(self._files))

    def where(self, number: int) -> str:
        """Return a text's file."""
        return str(self._files[number][1])

    def state(self) -> str:
        """Return the files' names, sizes and times. Raises DataError."""
        return folder_state(self._files, self._path)

    def rows(self) -> Iterator[tuple[str, str, int, float]]:
        """Yield each file's text and label, its number, and how many files were read so far.

        Raises DataError for a file that cannot be read or is too large.
        """
        for number, (label, file) in enumerate(self._files):
            try:
                with open_regular(file) as stream:
                    raw = stream.read(MAX_FILE_BYTES + 1)
            except OSError as error:
                raise DataError(f"{file}: {error.strerror}") from None
            if len(raw) > MAX_FILE_BYTES:
                raise DataError(f"{file}: a text of more than {MAX_FILE_BYTES:,} bytes: refused")
            try:
                text = decode_bytes(raw, partial(self._add_latin1_warning, file))
            except NotTextError:
                self._warnings.add("not a text, it has a zero byte: left out", file)
            else:
                yield text, label, number, number + 1

    def _add_latin1_warning(self, file: Path, line: int) -> None:
        self._warnings.add(NOT_UTF8, f"{file}:{line}")


def open_user_texts(
    config: ReviewsData, place: Path, warnings: DataWarnings
) -> CsvTexts | FolderTexts:
    """Open a CSV file or a folder of texts. Raises ConfigError, DataError."""
    if config.source == "csv":
        return CsvTexts(place, config.text_column, config.label_column, warnings)
    return FolderTexts(place, warnings)
