"""Where labelled texts come from: Stanford's archive, Keras's arrays, generated ones, a user's own.

Stanford: https://ai.stanford.edu/~amaas/data/sentiment/ (Maas et al., ACL 2011).
Keras: keras.datasets.imdb.
"""

import json
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

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


Row = tuple[str | list[str], str, int, float]
"""A text (or its words), its label, its line or number, and how much was read so far."""


@dataclass(frozen=True)
class TextSource:
    """Labelled texts, in order.

    place: their path, or a part's name. size: how many there are, in `unit`. rows: reads them.
    where: returns a text's place for a message, by its line or number. state: differs if the
    texts do.
    """

    place: str
    size: float
    unit: str
    rows: Callable[[], Iterator[Row]]
    where: Callable[[int], str]
    state: Callable[[], str] = str


def _listed(place: str, texts: Iterable[str | list[str]], labels: Sequence[str]) -> TextSource:
    """Return the source of texts in memory, or of an iterator, which is read once."""

    def rows() -> Iterator[Row]:
        for number, (text, label) in enumerate(zip(texts, labels, strict=True)):
            yield text, label, number, number + 1

    return TextSource(place, len(labels), "reviews", rows, lambda number: f"{place} {number}")


def generate(reviews: int, seed: int) -> list[TextSource]:
    """Return as many generated reviews for training as for the test."""
    parts = []
    for name, part_seed in (("train", seed), ("test", seed + 1)):
        texts, labels = sample.reviews(reviews, part_seed)
        parts.append(_listed(name, texts, [LABELS[label] for label in labels]))
    return parts


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
        _listed(
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
        parts.append(_listed(name, map(to_words, x), [LABELS[label] for label in y.astype(int)]))
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


def open_csv(path: Path, text_column: str, label_column: str, warnings: DataWarnings) -> TextSource:
    """Return the texts of a CSV file with a column of texts and one of labels.

    Raises ConfigError if a column is missing, DataError if the file cannot be read, or, with the
    line, if a row has more or fewer cells than the header.
    """
    columns = {"data.text_column": text_column, "data.label_column": label_column}
    table = CsvTable(path, columns, warnings)
    text, label = table.header.index(text_column), table.header.index(label_column)

    def rows() -> Iterator[Row]:
        for row, line, done in table.rows():
            if len(row) != len(table.header):
                cells = f"{len(row)} cell" + ("" if len(row) == 1 else "s")
                raise DataError(
                    f"{table.where(line)}: the row has {cells}, the header {len(table.header)}",
                    QUOTES_HINT,
                )
            yield row[text], row[label], line, done

    size = path.stat().st_size / MB
    return TextSource(str(path), size, "MB", rows, table.where, lambda: digest(path, "sha256"))


def open_folder(path: Path, warnings: DataWarnings) -> TextSource:
    """Return the texts of a folder with a sub-folder for each class, one text in each file.

    Raises DataError for a file that cannot be read or is too large.
    """
    found = files_by_class(path, warnings)

    def rows() -> Iterator[Row]:
        for number, (label, file) in enumerate(found):
            try:
                with open_regular(file) as stream:
                    raw = stream.read(MAX_FILE_BYTES + 1)
            except OSError as error:
                raise DataError(f"{file}: {error.strerror}") from None
            if len(raw) > MAX_FILE_BYTES:
                raise DataError(f"{file}: a text of more than {MAX_FILE_BYTES:,} bytes: refused")
            latin1_lines: list[int] = []
            try:
                text = decode_bytes(raw, latin1_lines.append)
            except NotTextError:
                warnings.add("not a text, it has a zero byte: left out", file)
                continue
            for line in latin1_lines:
                warnings.add(NOT_UTF8, f"{file}:{line}")
            yield text, label, number, number + 1

    return TextSource(
        str(path),
        len(found),
        "texts",
        rows,
        where=lambda number: str(found[number][1]),
        state=lambda: folder_state(found, path),
    )


def open_user_texts(config: ReviewsData, place: Path, warnings: DataWarnings) -> TextSource:
    """Return the texts of a CSV file or a folder. Raises ConfigError, DataError."""
    if config.source == "csv":
        return open_csv(place, config.text_column, config.label_column, warnings)
    return open_folder(place, warnings)
