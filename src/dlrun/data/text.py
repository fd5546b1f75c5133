"""Reviews as ids, by Keras's rules (keras.datasets.imdb; ISLP, lab 10.9.5).

0 pads, 1 starts a review, 2 is an out-of-vocabulary word, and the word of frequency rank r
(counted on the training reviews) is r + 3.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

PAD, START, UNKNOWN = 0, 1, 2
FIRST_WORD = 4  # rank 1 + 3
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


class Ragged:
    """Reviews of ids, end to end: review i is `ids[offsets[i]:offsets[i + 1]]`."""

    def __init__(self, ids: NDArray[np.uint16], offsets: NDArray[np.int64]) -> None:
        self.ids = ids
        self.offsets = offsets

    @classmethod
    def from_ids(cls, reviews: Iterable[Sequence[int]], num_words: int) -> "Ragged":
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

    def bag_of_words(self, width: int) -> sparse.csr_matrix:
        """Which ids each review holds: binary float32 CSR, shape (n_reviews, width)."""
        ones = np.ones(len(self.ids), dtype=np.float32)
        shape = (len(self), width)
        # A copy of the offsets: sum_duplicates compresses in place.
        matrix = sparse.csr_matrix((ones, self.ids.astype(np.int32), self.offsets.copy()), shape)
        matrix.sum_duplicates()
        matrix.data[:] = 1
        return matrix

    def padded(self, length: int) -> NDArray[np.int32]:
        """The last `length` ids of each review, padded in front with 0: (n_reviews, length)."""
        ends = self.offsets[1:]
        kept = np.minimum(np.diff(self.offsets), length)
        out = np.zeros((len(self), length), dtype=np.int32)
        columns = np.arange(length)
        mask = columns >= (length - kept)[:, None]
        position = ends[:, None] - length + columns
        out[mask] = self.ids[position[mask]]
        return out


def decode(ids: Iterable[int], words: Sequence[str]) -> str:
    """The review as words; `words` by frequency rank, most frequent first."""
    names = [*SPECIAL, *words]
    return " ".join(names[index] if index < len(names) else SPECIAL[UNKNOWN] for index in ids)
