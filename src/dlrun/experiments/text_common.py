"""Split reviews or other texts, and predict their classes, for the experiments on texts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dlrun.config.data_sections import DataExperimentConfig
from dlrun.data.labelled_texts import Reviews
from dlrun.data.split import Split
from dlrun.data.splits import RowIndices, make_split
from dlrun.data.text_encoding import FIRST_WORD, UNKNOWN, RaggedWordIds, split_words
from dlrun.experiments.network_assets import NetworkAssets
from dlrun.experiments.predictors import Prediction, Predictor
from dlrun.runs.predictions_csv import DescribeRow


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
        ids = [[self._ids.get(word, UNKNOWN) for word in split_words(text)] for text in inputs]
        rows = self.probabilities(RaggedWordIds.from_ids(ids, self.assets.width - 3))
        return [
            Prediction(self.ranked(row), words=len(text), unknown=text.count(UNKNOWN))
            for text, row in zip(ids, rows, strict=True)
        ]
