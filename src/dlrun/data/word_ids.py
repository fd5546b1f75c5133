"""Encode texts as word ids by Keras's rules (keras.datasets.imdb; ISLP, lab 10.9.5).

0 pads, 1 starts a text, 2 is an out-of-vocabulary word, and the word of frequency rank r (counted
on the training texts) is r + 3.
"""

import itertools
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from dlrun.data.archives import Array

PAD, START, UNKNOWN = 0, 1, 2
FIRST_WORD = 4  # rank 1 + 3
PADDED_ROWS = 4096  # at once: each id takes 9 bytes
ENCODED_ROWS = 10_000  # at once
SPECIAL = ("<PAD>", "<START>", "<UNK>", "<UNUSED>")

SPACES = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'  # these characters separate words, as " " does
_SPACES = str.maketrans(dict.fromkeys(SPACES, " "))


def split_words(text: str) -> list[str]:
    """Return a text's words in lower case; punctuation, except the apostrophe, separates them."""
    return [word for word in text.lower().translate(_SPACES).split(" ") if word]


def decode_word_ids(ids: Iterable[int], words: Sequence[str]) -> str:
    """Return the text of word ids; `words` is the vocabulary, most frequent word first."""
    names = [*SPECIAL, *words]
    return " ".join(names[index] if index < len(names) else SPECIAL[UNKNOWN] for index in ids)


def make_binary_matrix(columns: Array, offsets: Array, width: int) -> sparse.csr_matrix:
    """Return a float32 CSR matrix (n_rows, width) that is 1 at the given columns of each row."""
    ones = np.ones(len(columns), dtype=np.float32)
    return sparse.csr_matrix((ones, columns, offsets), (len(offsets) - 1, width))


class RaggedWordIds:
    """Holds the word ids of texts end to end: text i is `ids[offsets[i]:offsets[i + 1]]`."""

    def __init__(self, ids: NDArray[np.uint16], offsets: NDArray[np.int64]) -> None:
        self.ids = ids
        self.offsets = offsets

    @classmethod
    def from_ids(cls, reviews: Iterable[Sequence[int]], num_words: int) -> "RaggedWordIds":
        """Join texts of word ids, each after START; replace ids from `num_words` on by UNKNOWN."""
        parts: list[NDArray[np.uint16]] = []
        for review in reviews:
            ids = np.array([START, *review], np.int64)
            ids[ids >= num_words] = UNKNOWN
            parts.append(ids.astype(np.uint16))
        offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
        return cls(np.concatenate([np.zeros(0, np.uint16), *parts]), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def review(self, index: int) -> NDArray[np.uint16]:
        """Return the word ids of one text."""
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    def bag_of_words(self, width: int) -> sparse.csr_matrix:
        """Return which ids each text has: a binary float32 CSR matrix, (n_texts, width)."""
        # A copy of the offsets: sum_duplicates compresses in place.
        matrix = make_binary_matrix(self.ids.astype(np.int32), self.offsets.copy(), width)
        matrix.sum_duplicates()
        matrix.data[:] = 1
        return matrix

    def padded(self, length: int, rows: NDArray[np.int64] | None = None) -> NDArray[np.int16]:
        """Return the last `length` ids of texts, padded in front with 0, (n_rows, length).

        Ids are below 2**15: each is a positive int16.
        """
        chosen = np.arange(len(self)) if rows is None else rows
        out = np.zeros((len(chosen), length), dtype=np.int16)
        columns = np.arange(length)
        for start in range(0, len(chosen), PADDED_ROWS):
            part = chosen[start : start + PADDED_ROWS]
            kept = np.minimum(self.offsets[part + 1] - self.offsets[part], length)
            mask = columns >= (length - kept)[:, None]
            position = self.offsets[part + 1][:, None] - length + columns
            out[start : start + PADDED_ROWS][mask] = self.ids[position[mask]]
        return out


class NumberedTexts:
    """Holds a million texts in memory, their words numbered in the order of first appearance.

    `file`, empty, takes the numbers as int32. `ranked` is the vocabulary by frequency rank, unless
    it is to be counted.
    """

    def __init__(self, file: IO[bytes], ranked: Sequence[str] = ()) -> None:
        self._file, self._ranked = file, len(ranked)
        numbers = itertools.count(len(ranked))
        self.words = defaultdict(numbers.__next__, zip(ranked, range(len(ranked)), strict=True))
        self.lengths = array("q")  # words of each text

    def append(self, words: Sequence[str]) -> None:
        """Add the words of a text."""
        self._file.write(array("i", map(self.words.__getitem__, words)).tobytes())
        self.lengths.append(len(words))

    def rank(self, counted: NDArray[np.bool_], num_words: int) -> NDArray[np.int64]:
        """Return the numbers of the most frequent words: those whose ids are below `num_words`.

        The most frequent word comes first; equally frequent ones in order of appearance. `counted`
        says which texts count, (n_texts,).
        """
        if self._ranked:
            return np.arange(min(self._ranked, num_words - FIRST_WORD))
        counts = np.zeros(len(self.words), np.int64)
        first = np.full(len(self.words), -1, np.int64)  # where a word appears first
        done = 0
        for _, numbers in self._chunks(counted):
            counts += np.bincount(numbers, minlength=len(counts))
            (new,) = np.nonzero(first[numbers] < 0)
            first[numbers[new[::-1]]] = done + new[::-1]  # the first appearance is written last
            done += len(numbers)
        order = np.lexsort((first, -counts))[: np.count_nonzero(counts)]
        ranked: NDArray[np.int64] = order[: num_words - FIRST_WORD]
        return ranked

    def encode(
        self, chosen: NDArray[np.bool_], ranked: NDArray[np.int64], num_words: int
    ) -> dict[str, Array]:
        """Return the chosen texts as the ids and offsets of RaggedWordIds, and those of their bags.

        `chosen` has a value for each text; `ranked` is what `rank` returned.
        """
        ids = np.full(len(self.words), UNKNOWN, np.uint16)
        ids[ranked] = FIRST_WORD + np.arange(len(ranked))
        offsets = np.concatenate([[0], np.cumsum(np.array(self.lengths)[chosen] + 1)])
        bag_offsets: list[NDArray[np.int64]] = [np.zeros(1, np.int64)]
        # Memory counts once it is written, and a bag is never longer than its text.
        all_ids, bag_ids = np.empty(offsets[-1], np.uint16), np.empty(offsets[-1], np.int32)
        done = held = 0
        for lengths, numbers in self._chunks(chosen):
            ends = np.cumsum(lengths)
            row_ids = np.insert(ids[numbers], ends - lengths, START)
            row_offsets = np.concatenate([[0], ends + np.arange(1, len(ends) + 1)])
            bag = RaggedWordIds(row_ids, row_offsets).bag_of_words(num_words + 3)
            all_ids[done : done + len(row_ids)] = row_ids
            bag_ids[held : held + len(bag.indices)] = bag.indices
            bag_offsets.append(held + bag.indptr[1:].astype(np.int64))
            done, held = done + len(row_ids), held + len(bag.indices)
        return {
            "ids": all_ids,
            "offsets": offsets,
            "bag_ids": bag_ids[:held],
            "bag_offsets": np.concatenate(bag_offsets),
        }

    def _chunks(
        self, chosen: NDArray[np.bool_]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int32]]]:
        """Yield the lengths of some of the chosen texts and their words' numbers, in order."""
        self._file.seek(0)
        for start in range(0, len(self.lengths), ENCODED_ROWS):
            rows = slice(start, start + ENCODED_ROWS)
            lengths = np.array(self.lengths[rows])
            numbers = np.frombuffer(self._file.read(4 * int(lengths.sum())), np.int32)
            yield lengths[chosen[rows]], numbers[np.repeat(chosen[rows], lengths)]
