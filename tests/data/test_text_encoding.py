"""Texts become words by Keras's rules, words numbers, and numbers inputs of a network."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from dlrun.data.text_encoding import RaggedWordIds, split_words

KERAS_FILTER = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"a{'a'.join(KERAS_FILTER)}", ["a"] * len(KERAS_FILTER)),
        ("It's the director's 'cut'", ["it's", "the", "director's", "'cut'"]),
        ("Good!<br /><br />Really GOOD...", ["good", "br", "br", "really", "good"]),
        ("10/10 \u00c9T\u00c9 na\u00efve", ["10", "10", "\u00e9t\u00e9", "na\u00efve"]),
        ("a\u00a0b\rc \u2014 \u201cd\u201d", ["a\u00a0b\rc", "\u2014", "\u201cd\u201d"]),
        ("", []),
        (" ?! ", []),
    ],
)
def test_texts_are_split_into_words_by_keras_rules(text: str, words: list[str]) -> None:
    assert split_words(text) == words


def by_keras_rules(
    train: Sequence[str], test: Sequence[str], num_words: int
) -> tuple[list[str], RaggedWordIds, RaggedWordIds]:
    """The vocabulary and both parts' ids, with all words in memory: the rules as plain code."""
    counts = Counter(word for text in train for word in split_words(text))
    words = [word for word, _ in counts.most_common()][: num_words - 4]
    ids = {word: 4 + rank for rank, word in enumerate(words)}
    parts = [[[ids.get(word, 2) for word in split_words(text)] for text in part]
             for part in (train, test)]  # fmt: skip
    return words, *(RaggedWordIds.from_ids(part, num_words) for part in parts)


def test_the_bag_is_binary_sorted_and_leaves_the_reviews_alone() -> None:
    ragged = RaggedWordIds.from_ids([[7, 4, 7, 7], [], [12, 4]], num_words=10)
    before = ragged.ids.copy()
    bag = ragged.bag_of_words(13)
    assert bag.dtype == np.float32
    assert bag.has_canonical_format
    expected = np.zeros((3, 13))
    for row, columns in enumerate([[1, 4, 7], [1], [1, 2, 4]]):
        expected[row, columns] = 1
    assert np.array_equal(bag.toarray(), expected)
    assert np.array_equal(ragged.ids, before)


@pytest.mark.parametrize("length", [1, 4, 6])
def test_padding_stands_in_front_and_the_end_is_kept(length: int) -> None:
    reviews = [[4, 5, 6], [], [2**15 - 1], [8] * 9 + [9]]
    ragged = RaggedWordIds.from_ids(reviews, num_words=2**15)
    expected = [([0] * length + [1, *review])[-length:] for review in reviews]
    assert ragged.padded(length).dtype == np.int16
    assert ragged.padded(length).tolist() == expected
    rows = np.array([3, 0, 2])
    assert ragged.padded(length, rows).tolist() == [expected[row] for row in rows]
