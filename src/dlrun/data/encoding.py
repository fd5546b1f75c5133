"""Reviews as ids, by Keras's rules (keras.datasets.imdb; ISLP, lab 10.9.5).

0 pads, 1 starts a review, 2 is an out-of-vocabulary word, and the word of frequency rank r
(counted on the training reviews) is r + 3.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy import sparse

PAD, START, UNKNOWN = 0, 1, 2
FIRST_WORD = 4  # rank 1 + 3
AT_ONCE = 4096  # rows that are padded at once
SPECIAL = ("<PAD>", "<START>", "<UNK>", "<UNUSED>")

SPACES = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'  # these characters separate words, as " " does
_SPACES = str.maketrans(dict.fromkeys(SPACES, " "))


def split_words(text: str) -> list[str]:
    """A review's words: lower case, punctuation (but the apostrophe) is space."""
    return [word for word in text.lower().translate(_SPACES).split(" ") if word]


def rank_words(reviews: Iterable[Sequence[str]]) -> list[str]:
    """The distinct words, most frequent first; equally frequent ones in order of appearance."""
    counts: Counter[str] = Counter()
    for review in reviews:
        counts.update(review)
    return [word for word, _ in counts.most_common()]


class Vocabulary:
    """Words as the ids that a run gave them; all others are UNKNOWN."""

    def __init__(self, words: Sequence[str]) -> None:
        self._ids = {word: FIRST_WORD + rank for rank, word in enumerate(words)}

    def ids(self, words: Iterable[str]) -> list[int]:
        """An id for each word."""
        return [self._ids.get(word, UNKNOWN) for word in words]


class RaggedIds:
    """Reviews of ids, end to end: review i is `ids[offsets[i]:offsets[i + 1]]`."""

    def __init__(self, ids: NDArray[np.uint16], offsets: NDArray[np.int64]) -> None:
        self.ids = ids
        self.offsets = offsets

    @classmethod
    def from_ids(cls, reviews: Iterable[Sequence[int]], num_words: int) -> "RaggedIds":
        """Join reviews of word ids (rank + 3); adds the start id, cuts the vocabulary."""
        parts: list[NDArray[np.uint16]] = []
        for review in reviews:
            ids = np.empty(1 + len(review), np.int64)
            ids[0], ids[1:] = START, review
            ids[ids >= num_words] = UNKNOWN
            parts.append(ids.astype(np.uint16))
        offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
        return cls(np.concatenate([np.zeros(0, np.uint16), *parts]), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def review(self, index: int) -> NDArray[np.uint16]:
        """The ids of one review."""
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    def bag_of_words(self, width: int) -> "sparse.csr_matrix":
        """Which ids each review holds: binary float32 CSR, shape (n_reviews, width)."""
        from scipy import sparse  # slow: a config error need not wait for it

        ones = np.ones(len(self.ids), dtype=np.float32)
        shape = (len(self), width)
        # A copy of the offsets: sum_duplicates compresses in place.
        matrix = sparse.csr_matrix((ones, self.ids.astype(np.int32), self.offsets.copy()), shape)
        matrix.sum_duplicates()
        matrix.data[:] = 1
        return matrix

    def padded(self, length: int, rows: NDArray[np.int64] | None = None) -> NDArray[np.int16]:
        """The last `length` ids of some reviews, or of all, padded in front with 0.

        Shape (n_rows, length); ids are below 2**15, so that their sign is never reached.
        """
        chosen = np.arange(len(self)) if rows is None else rows
        out = np.zeros((len(chosen), length), dtype=np.int16)
        columns = np.arange(length)
        for start in range(0, len(chosen), AT_ONCE):  # what follows takes 9 bytes for each id
            part = chosen[start : start + AT_ONCE]
            kept = np.minimum(self.offsets[part + 1] - self.offsets[part], length)
            mask = columns >= (length - kept)[:, None]
            position = self.offsets[part + 1][:, None] - length + columns
            out[start : start + AT_ONCE][mask] = self.ids[position[mask]]
        return out


def decode(ids: Iterable[int], words: Sequence[str]) -> str:
    """The review as words; `words` by frequency rank, most frequent first."""
    names = [*SPECIAL, *words]
    return " ".join(names[index] if index < len(names) else SPECIAL[UNKNOWN] for index in ids)
