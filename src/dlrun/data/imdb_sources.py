"""Where IMDB's reviews come from: Stanford's archive, Keras's arrays, or generated samples.

Stanford: https://ai.stanford.edu/~amaas/data/sentiment/ (Maas et al., ACL 2011); the archive is
streamed, never unpacked. Keras: keras.datasets.imdb; its arrays are pickled and read as data.
"""

import json
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.data import sample
from dlrun.data.archives import files, load_npz
from dlrun.data.encoding import FIRST_WORD, RaggedIds, rank_words, split_words
from dlrun.data.published_file import Published
from dlrun.errors import DataError
from dlrun.system.console import Advance, Screen
from dlrun.system.files import read_regular

Reviews = Sequence[str] | NDArray[Any]  # texts, or an array of lists of ranks

ARCHIVE = Published(
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
FILES = {"stanford": (ARCHIVE,), "keras": (KERAS_ARRAYS, KERAS_WORDS)}

MAX_REVIEW_BYTES = 1 << 20
MAX_TEXT_BYTES = 160 << 20  # of all reviews; the published ones have 66 MB
MAX_IDS = 100_000_000  # of Keras's reviews; the published ones have 12 million
_MEMBER = re.compile(r"aclImdb/(train|test)/(pos|neg)/(\d+_\d+)\.txt")
_GROUPS = [(part, label) for part in ("train", "test") for label in ("neg", "pos")]


@dataclass(frozen=True)
class Encoded:
    """Both halves as ids, their labels (1 is positive), and the words by frequency rank."""

    train: RaggedIds
    train_labels: NDArray[np.int8]
    test: RaggedIds
    test_labels: NDArray[np.int8]
    words: list[str]


def read_stanford(archive: Path, num_words: int, screen: Screen) -> Encoded:
    """Read aclImdb_v1.tar.gz, whatever its checksum, if it holds labelled reviews.

    Raises DataError where it is no such archive, is damaged, or lacks one of the four folders.
    """
    texts: dict[tuple[str, str], dict[str, bytes]] = {group: {} for group in _GROUPS}
    total = 0
    with screen.progress("reading the archive", 100, "%", aloud=True) as bar:
        for path, content in files(archive, _MEMBER, MAX_REVIEW_BYTES, bar.to):
            _, part, label, name = path.split("/")
            texts[part, label][name] = content
            total += len(content)
            if total > MAX_TEXT_BYTES:
                raise DataError(
                    f"{archive}: more than {MAX_TEXT_BYTES:,} bytes of reviews: refused"
                )
    empty = [f"aclImdb/{part}/{label}" for part, label in _GROUPS if not texts[part, label]]
    if empty:
        raise DataError(
            f"{archive}: no reviews in {', '.join(empty)}",
            "the archive's layout is aclImdb/{train,test}/{pos,neg}/ID_STARS.txt",
        )

    def part_of(part: str) -> tuple[list[str], NDArray[np.int8]]:
        groups = [sorted(texts[part, label].items()) for label in ("neg", "pos")]
        labels = np.repeat(np.array([0, 1], np.int8), [len(group) for group in groups])
        return [raw.decode("utf-8", "replace") for group in groups for _, raw in group], labels

    return encode(*part_of("train"), *part_of("test"), num_words, screen)


def encode(
    train: list[str],
    train_labels: NDArray[np.int8],
    test: list[str],
    test_labels: NDArray[np.int8],
    num_words: int,
    screen: Screen,
) -> Encoded:
    """Texts to ids; the words are ranked on the training texts.

    A text is split each time that its words are wanted: all words at once would take 60 bytes each.
    """
    with screen.progress("counting their words", len(train), "reviews", aloud=True) as bar:
        words = rank_words(map(split_words, _passing(train, bar)))
    ids = {word: FIRST_WORD + rank for rank, word in enumerate(words)}
    beyond = len(words) + num_words  # of a word that no training review holds

    def to_ids(text: str) -> list[int]:
        return [ids.get(word, beyond) for word in split_words(text)]

    encoded = _numbered(train, test, to_ids, num_words, screen)
    return Encoded(encoded[0], train_labels, encoded[1], test_labels, words)


def _numbered(
    train: Reviews,
    test: Reviews,
    to_ids: Callable[[Any], list[int]],
    num_words: int,
    screen: Screen,
) -> tuple[RaggedIds, RaggedIds]:
    both = len(train) + len(test)
    with screen.progress("words to numbers", both, "reviews", aloud=True) as bar:
        return (
            RaggedIds.from_ids(map(to_ids, _passing(train, bar)), num_words),
            RaggedIds.from_ids(map(to_ids, _passing(test, bar, len(train))), num_words),
        )


def _passing(reviews: Reviews, bar: Advance, done: int = 0) -> Iterator[Any]:
    """The reviews, one after the other; the bar moves with them, by a hundred."""
    for number, review in enumerate(reviews, start=done):
        if number % 100 == 0:
            bar.to(number)
        yield review


def read_keras(arrays: Path, word_index: Path, num_words: int, screen: Screen) -> Encoded:
    """Read Keras's imdb.npz and imdb_word_index.json. Raises DataError where they are not that."""
    names = ["x_train", "y_train", "x_test", "y_test"]
    with screen.progress("reading the arrays", None, "", aloud=True):
        x_train, y_train, x_test, y_test = load_npz(arrays, names)
    for x, y, part in ((x_train, y_train, "train"), (x_test, y_test, "test")):
        if x.shape[:1] != y.shape or not x.size:
            raise DataError(f"{arrays}: {part} has reviews {x.shape}, labels {y.shape}")
        if y.dtype.kind not in "biuf" or not np.isin(y, (0, 1)).all():
            raise DataError(f"{arrays}: labels in {part} are not 0 and 1")
    try:
        if sum(len(review) for x in (x_train, x_test) for review in x) > MAX_IDS:
            raise ValueError(f"more than {MAX_IDS:,} words")
        train, test = _numbered(
            x_train, x_test, lambda ranks: [_id(rank) for rank in ranks], num_words, screen
        )
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{arrays}: not Keras's reviews: {error}") from None
    try:
        words = _ranked(json.loads(read_regular(word_index)))
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{word_index}: not Keras's word index: {error}") from None
    return Encoded(train, y_train.astype(np.int8), test, y_test.astype(np.int8), words)


def _ranked(ranks: dict[str, int]) -> list[str]:
    """The words by rank. Raises ValueError where the ranks are not 1 to n: all would be shifted."""
    words = {rank: word for word, rank in ranks.items() if type(rank) is int}
    missing = next((rank for rank in range(1, len(ranks) + 1) if rank not in words), None)
    if missing is not None:
        raise ValueError(f"of {len(ranks):,} words none has the rank {missing}")
    return [words[rank] for rank in range(1, len(ranks) + 1)]


def _id(rank: int) -> int:
    if rank < 0:
        raise ValueError(f"a word of rank {rank}")
    return operator.index(rank) + FIRST_WORD - 1


def generate(reviews: int, seed: int, num_words: int) -> Encoded:
    """As many generated reviews for training as for the test."""
    train = sample.reviews(reviews, seed)
    test = sample.reviews(reviews, seed + 1)
    return encode(*train, *test, num_words, Screen(quiet=True))
