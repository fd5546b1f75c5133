"""Split reviews or other texts, and predict their classes, for the experiments on texts."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dlrun.config.data_sections import DataExperimentConfig
from dlrun.data.labelled_texts import Reviews
from dlrun.data.split import Split
from dlrun.data.splits import RowIndices, make_split
from dlrun.data.text_encoding import FIRST_WORD, UNKNOWN, RaggedWordIds, split_words
from dlrun.errors import ConfigError
from dlrun.experiments.network_assets import NetworkAssets
from dlrun.experiments.predictors import ByWord, Prediction, Predictor, WordValue
from dlrun.runs.predictions_csv import DescribeRow
from dlrun.system.text import pluralize

MOST_WORDS = 5000  # of a text that is predicted word by word; an LSTM reads so many in seconds
BATCH_TEXTS = 512


class TextAssets(NetworkAssets, frozen=True):
    """Holds what encodes and labels new texts as a run did: vocabulary and class names."""

    width: int  # number of word ids, with the special ones
    vocabulary: list[str]  # words by frequency rank

    @classmethod
    def of_reviews(cls, reviews: Reviews) -> "TextAssets":
        """Return the assets of a run on reviews."""
        return cls(labels=reviews.labels, width=reviews.width, vocabulary=reviews.vocabulary)


def make_split_of_reviews(
    config: DataExperimentConfig, reviews: Reviews, fitted: RowIndices, held_out: RowIndices
) -> Split:
    """Return which reviews a run tests, and which it trains and validates with."""
    return make_split(
        config,
        reviews.origin,
        fitted=reviews.train.contents.take(fitted),
        validation=reviews.train.contents.take(held_out),
        test=reviews.test.contents,
    )


def review_describer(reviews: Reviews) -> DescribeRow:
    """Return a function that shows a test review as words, for the list of mistakes."""
    ids = reviews.test.ids
    return lambda row: {"text": reviews.decode(ids.review(row)[1:])}  # without <START>


@dataclass
class TextPredictor(Predictor):
    """Predicts the classes of texts, which it encodes with the vocabulary of a run.

    probabilities: encoded texts -> class probabilities (n_texts, classes).
    """

    reads = "text"
    assets: TextAssets
    probabilities: Callable[[RaggedWordIds], NDArray[np.float64]]

    def __post_init__(self) -> None:
        self.labels = self.assets.labels
        words = enumerate(self.assets.vocabulary, start=FIRST_WORD)
        self._ids = {word: index for index, word in words}

    def predict(self, inputs: Sequence[str]) -> list[Prediction]:
        """Return a prediction for each text, with its number of words and of unknown words."""
        ids = [self._encode(split_words(text)) for text in inputs]
        rows = self.probabilities(self._join(ids))
        return [
            Prediction(self.ranked(row), words=len(text), unknown=text.count(UNKNOWN))
            for text, row in zip(ids, rows, strict=True)
        ]

    def _encode(self, words: Sequence[str]) -> list[int]:
        return [self._ids.get(word, UNKNOWN) for word in words]

    def _join(self, texts: Sequence[Sequence[int]]) -> RaggedWordIds:
        return RaggedWordIds.from_ids(texts, self.assets.width - 3)

    def _predict_words(self, text: str) -> tuple[list[str], Prediction, int]:
        """Return a text's words, its prediction, and the index of the predicted class.

        Raises ConfigError if a model could not read all of its variants, of which there are as
        many as words.
        """
        words = split_words(text)
        if not 1 <= len(words) <= MOST_WORDS:
            problem = f"word by word: a text of {pluralize(len(words), 'word')}"
            raise ConfigError(problem, f"1 to {MOST_WORDS:,} words can be shown")
        (prediction,) = self.predict([text])
        return words, prediction, self.labels.index(prediction.label)

    def _values_of(
        self,
        texts: Iterable[Sequence[int]],
        compute: Callable[[RaggedWordIds], NDArray[np.float64]],
        label: int,
    ) -> list[float]:
        """Compute a class's column of a function (n_texts, classes) of many encoded texts."""
        values: list[float] = []
        remaining = iter(texts)
        while batch := list(itertools.islice(remaining, BATCH_TEXTS)):
            values += compute(self._join(batch))[:, label].tolist()
        return values


class SequencePredictor(TextPredictor):
    """Predicts the classes of texts by a network that reads their words in order."""

    def by_word(self, text: str) -> ByWord:
        """Return the probability of the predicted class if the text ended with each word.

        Each beginning of the text is padded and cut as a text of its own, so that its probability
        is that which `predict` gives for it.
        """
        words, prediction, label = self._predict_words(text)
        ids = self._encode(words)
        beginnings = (ids[:end] for end in range(len(ids) + 1))
        base, *values = self._values_of(beginnings, self.probabilities, label)
        by_word = [
            WordValue(word, value, index != UNKNOWN)
            for word, value, index in zip(words, values, ids, strict=True)
        ]
        return ByWord(prediction, "probability", base, by_word)


@dataclass
class BagPredictor(TextPredictor):
    """Predicts the classes of texts by a model that reads which words occur in each.

    log_odds: encoded texts -> the log odds of each class (n_texts, classes).
    """

    log_odds: Callable[[RaggedWordIds], NDArray[np.float64]]

    def by_word(self, text: str) -> ByWord:
        """Return by how much the log odds of the predicted class fall without each word.

        Of a linear model this is the word's weight: `base` and all values add up to the log odds.
        """
        words, prediction, label = self._predict_words(text)
        words_of_id: dict[int, dict[str, None]] = {}  # in order of appearance
        for word, index in zip(words, self._encode(words), strict=True):
            words_of_id.setdefault(index, {})[word] = None
        ids = list(words_of_id)
        shorter = ([index for index in ids if index != left_out] for left_out in ids)
        texts = itertools.chain([[], ids], shorter)
        base, whole, *without = self._values_of(texts, self.log_odds, label)
        by_word = [
            WordValue(" ".join(words_of_id[index]), whole - value, index != UNKNOWN)
            for index, value in zip(ids, without, strict=True)
        ]
        return ByWord(prediction, "log_odds", base, by_word)


def log_odds(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the log odds of each class from the classes' probabilities (n_texts, classes)."""
    others = [np.delete(probabilities, index, 1).sum(1) for index in range(probabilities.shape[1])]
    # 1 - probability would round the smaller one to 0.
    odds: NDArray[np.float64] = np.log(probabilities) - np.log(np.stack(others, axis=1))
    return odds
