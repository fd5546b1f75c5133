import io
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from dlrun.data.word_ids import RaggedIds, WordNumbers, decode_word_ids, split_words

KERAS_FILTER = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'


@pytest.mark.parametrize("sign", KERAS_FILTER)
def test_punctuation_is_space(sign: str) -> None:
    assert split_words(f"one{sign}two{sign}") == ["one", "two"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's the director's 'cut'", ["it's", "the", "director's", "'cut'"]),
        ("Good!<br /><br />Really GOOD...", ["good", "br", "br", "really", "good"]),
        ("  a   b ", ["a", "b"]),
        ("10/10 \u00c9T\u00c9 na\u00efve", ["10", "10", "\u00e9t\u00e9", "na\u00efve"]),
        ("a\u00a0b\rc \u2014 \u201cd\u201d", ["a\u00a0b\rc", "\u2014", "\u201cd\u201d"]),
        ("", []),
        ("?!", []),
    ],
)
def test_words_by_keras_rules(text: str, words: list[str]) -> None:
    assert split_words(text) == words


def by_keras_rules(
    train: Sequence[str], test: Sequence[str], num_words: int
) -> tuple[list[str], RaggedIds, RaggedIds]:
    """The vocabulary and both parts' ids, with all words in memory: the rules as plain code."""
    counts = Counter(word for text in train for word in split_words(text))
    words = [word for word, _ in counts.most_common()][: num_words - 4]
    ids = {word: 4 + rank for rank, word in enumerate(words)}
    parts = [[[ids.get(word, 2) for word in split_words(text)] for text in part]
             for part in (train, test)]  # fmt: skip
    return words, *(RaggedIds.from_ids(part, num_words) for part in parts)


def numbered(texts: Sequence[Sequence[str]], ranked: Sequence[str] = ()) -> WordNumbers:
    words = WordNumbers(io.BytesIO(), ranked)
    for text in texts:
        words.append(text)
    return words


def test_words_rank_by_frequency_then_by_appearance() -> None:
    words = numbered([["x", "x", "x"], ["b", "a", "c"], [], ["c", "a", "c"]])
    counted = np.array([False, True, True, True])
    ranked = words.rank(counted, num_words=100)
    assert [list(words.words)[number] for number in ranked] == ["c", "a", "b"]
    assert words.encode(counted, ranked, 100)["ids"].tolist() == [1, 6, 5, 4, 1, 1, 4, 5, 4]
    assert words.encode(~counted, ranked, 100)["ids"].tolist() == [1, 2, 2, 2]
    assert words.rank(counted, num_words=6).tolist() == ranked[:2].tolist()


def test_a_vocabulary_that_is_given_is_not_counted() -> None:
    words = numbered([["b", "b", "x"], ["a"]], ranked=["a", "b", "c"])
    ranked = words.rank(np.array([True, True]), num_words=100)
    assert ranked.tolist() == [0, 1, 2]
    assert words.encode(np.array([True, True]), ranked, 100)["ids"].tolist() == [1, 5, 5, 2, 1, 4]


def test_ids_start_with_one_and_rare_words_are_two() -> None:
    ragged = RaggedIds.from_ids([[4, 5, 9], [], [10, 11, 4]], num_words=10)
    assert len(ragged) == 3
    assert [ragged.review(index).tolist() for index in range(3)] == [
        [1, 4, 5, 9],
        [1],
        [1, 2, 2, 4],
    ]
    assert ragged.ids.dtype == np.uint16


def test_no_reviews() -> None:
    ragged = RaggedIds.from_ids([], num_words=10)
    assert len(ragged) == 0
    assert ragged.padded(4).shape == (0, 4)
    assert ragged.bag_of_words(13).shape == (0, 13)


def test_the_bag_is_binary_sorted_and_leaves_the_reviews_alone() -> None:
    ragged = RaggedIds.from_ids([[7, 4, 7, 7], [], [12, 4]], num_words=10)
    before = ragged.ids.copy(), ragged.offsets.copy()
    bag = ragged.bag_of_words(13)
    assert bag.shape == (3, 13)
    assert bag.dtype == np.float32
    assert bag.has_canonical_format
    expected = np.zeros((3, 13))
    for row, columns in enumerate([[1, 4, 7], [1], [1, 2, 4]]):
        expected[row, columns] = 1
    assert bag.toarray().tolist() == expected.tolist()
    assert np.array_equal(ragged.ids, before[0])
    assert np.array_equal(ragged.offsets, before[1])


@pytest.mark.parametrize("length", [1, 2, 3, 4, 6])
def test_padding_stands_in_front_and_the_end_is_kept(length: int) -> None:
    reviews = [[4, 5, 6], [], [7], [8] * 9 + [9]]
    padded = RaggedIds.from_ids(reviews, num_words=100).padded(length)
    assert padded.dtype == np.int16
    assert padded.tolist() == [([0] * length + [1, *review])[-length:] for review in reviews]


def test_rows_are_padded_as_all_are(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    reviews = [random.integers(4, 2**15, random.integers(0, 12)).tolist() for _ in range(20)]
    ragged = RaggedIds.from_ids(reviews, num_words=2**15)
    whole = ragged.padded(8)
    monkeypatch.setattr("dlrun.data.word_ids.PADDED_ROWS", 3)
    assert np.array_equal(ragged.padded(8), whole)
    rows = np.array([7, 3, 19, 0])
    assert np.array_equal(ragged.padded(8, rows), whole[rows])
    assert whole.min() >= 0


def test_ids_become_words_again() -> None:
    words = ["the", "and", "<br>"]
    assert (
        decode_word_ids([0, 0, 1, 4, 2, 5, 6, 3], words)
        == "<PAD> <PAD> <START> the <UNK> and <br> <UNUSED>"
    )
    assert decode_word_ids([7, 60000], words) == "<UNK> <UNK>"
    assert decode_word_ids([], words) == ""
    assert decode_word_ids(np.array([1, 4], np.uint16), words) == "<START> the"
