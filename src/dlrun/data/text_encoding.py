"""Encode texts as word ids by the rules of Keras's IMDB data (keras.datasets.imdb).

0 pads, 1 starts a text, 2 is an out-of-vocabulary word, and the word of frequency rank r (counted
on the training texts) is r + 3.
"""

import itertools
from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from dlrun.data.array_cache import Array

PAD, START, UNKNOWN = 0, 1, 2
FIRST_WORD = 4  # the id of the most frequent word: its rank, 1, plus 3 special ids
SPECIAL = ("<PAD>", "<START>", "<UNK>", "<UNUSED>")

SPACES = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'  # these characters separate words, as " " does
_SPACES = str.maketrans(dict.fromkeys(SPACES, " "))


def split_words(text: str) -> list[str]:
    """Split a text into lower-case words; punctuation, except the apostrophe, separates them."""
    return [word for word in text.lower().translate(_SPACES).split(" ") if word]


def decode_ids(ids: Iterable[int], words: Sequence[str]) -> str:
    """Join the words that word ids encode, without padding; `words` has the word of each id."""
    return " ".join(
        words[index] if index < len(words) else SPECIAL[UNKNOWN] for index in ids if index != PAD
    )


def make_binary_matrix(columns: Array, offsets: Array, width: int) -> sparse.csr_matrix:
    """Make a float32 CSR matrix (n_rows, width) with ones at the given columns of each row."""
    ones = np.ones(len(columns), dtype=np.float32)
    return sparse.csr_matrix((ones, columns, offsets), (len(offsets) - 1, width))


@dataclass(frozen=True)
class RaggedWordIds:
    """Holds the word ids of texts end to end: text i is `ids[offsets[i]:offsets[i + 1]]`."""

    ids: NDArray[np.uint16]
    offsets: NDArray[np.int64]

    @classmethod
    def from_ids(cls, reviews: Iterable[Sequence[int]], num_words: int) -> "RaggedWordIds":
        """Join texts of word ids, each after START; ids of `num_words` or more become UNKNOWN."""
        texts = [[START, *review] for review in reviews]
        ids = np.fromiter(itertools.chain.from_iterable(texts), np.int64)
        ids[ids >= num_words] = UNKNOWN
        return cls(ids.astype(np.uint16), np.cumsum([0, *map(len, texts)], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def review(self, index: int) -> NDArray[np.uint16]:
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    def bag_of_words(self, width: int) -> sparse.csr_matrix:
        """Mark which word ids each text has in a binary float32 CSR matrix, (n_texts, width)."""
        columns = self.ids.astype(np.int32)
        small = np.ones(len(self.ids), np.int8)
        # A copy of the offsets: sum_duplicates compresses in place.
        matrix = sparse.csr_matrix((small, columns, self.offsets.copy()), (len(self), width))
        matrix.sum_duplicates()
        return make_binary_matrix(matrix.indices, matrix.indptr, width)

    def padded(self, length: int, rows: NDArray[np.int64] | None = None) -> NDArray[np.int16]:
        """Take the last `length` word ids of each text, padded in front with 0, (n_rows, length).

        Ids are below 2**15: each is a positive int16.
        """
        chosen = np.arange(len(self)) if rows is None else rows
        out = np.zeros((len(chosen), length), dtype=np.int16)
        starts = self.offsets[chosen]
        ends = self.offsets[chosen + 1]
        for row, start, end in zip(out, starts, ends, strict=True):
            last = self.ids[max(start, end - length) : end]
            row[length - len(last) :] = last
        return out


class NumberedTexts:
    """Holds texts as integers that number the different words in the order of first appearance."""

    def __init__(self) -> None:
        self.words: defaultdict[str, int] = defaultdict(itertools.count().__next__)
        self.words[SPECIAL[START]]  # START gets the number 0
        self._numbers = array("i")  # the words of all texts stand end to end
        self._lengths = array("q")

    def append(self, words: Sequence[str]) -> None:
        self._numbers.append(0)
        self._numbers.extend(map(self.words.__getitem__, words))
        self._lengths.append(1 + len(words))

    def encode(
        self, is_test: NDArray[np.bool_], num_words: int
    ) -> tuple[dict[str, Array], list[str]]:
        """Encode all texts as word ids, offsets and bags of words, and find the vocabulary.

        The arrays have names. The vocabulary, the most frequent word first, has the words whose ids
        are below `num_words`. Words are counted in the training texts; equally frequent ones stand
        in order of appearance.
        """
        numbers = np.asarray(self._numbers)
        lengths = np.asarray(self._lengths)
        ranked = _rank_by_frequency(numbers[np.repeat(~is_test, lengths)])
        ranked = ranked[: num_words - FIRST_WORD]
        ids = np.full(len(self.words), UNKNOWN, np.uint16)
        ids[0] = START
        ids[ranked] = FIRST_WORD + np.arange(len(ranked))
        arrays: dict[str, Array] = {}
        for part, chosen in (("train", ~is_test), ("test", is_test)):
            offsets = np.concatenate([[0], np.cumsum(lengths[chosen])])
            texts = RaggedWordIds(ids[numbers[np.repeat(chosen, lengths)]], offsets)
            bags = texts.bag_of_words(num_words + 3)
            arrays |= {f"{part}_ids": texts.ids, f"{part}_offsets": texts.offsets}
            arrays[f"{part}_bag_ids"] = bags.indices
            arrays[f"{part}_bag_offsets"] = bags.indptr.astype(np.int64)
        words = list(self.words)
        return arrays, [words[number] for number in ranked]


def _rank_by_frequency(numbers: NDArray[np.int32]) -> NDArray[np.int64]:
    """Rank the numbers of words, the most frequent first, without 0, which begins a text."""
    counts = np.bincount(numbers)
    counts[0] = 0
    first = np.full(len(counts), len(numbers))  # the place where each number appears first
    np.minimum.at(first, numbers, np.arange(len(numbers)))
    order = np.lexsort((first, -counts))
    return order[: np.count_nonzero(counts)]
