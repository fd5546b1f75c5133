"""Load reviews or other texts, and predict their classes, for the experiments on texts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dlrun.config.sections import ExperimentConfig
from dlrun.config.yaml_loader import Values
from dlrun.data.labelled_texts import Reviews
from dlrun.data.splits import Rows, split_off_validation
from dlrun.data.text_encoding import (
    FIRST_WORD,
    PAD,
    SPACES,
    START,
    UNKNOWN,
    RaggedWordIds,
    split_words,
)
from dlrun.experiments.base import Network, NetworkAssets, NetworkToExport, load_data
from dlrun.experiments.predictions import DescribeRow
from dlrun.experiments.predictors import Prediction, Predictor, Words
from dlrun.run_context import RunContext

if TYPE_CHECKING:
    from torch import Tensor

MOST_MOVED = 20  # words of a text whose effects are listed


class ReviewAssets(NetworkAssets, frozen=True):
    """Holds the vocabulary and the settings with which a model encodes a text as its run did."""

    labels: list[str]
    width: int  # number of word ids, with the special ones
    preprocessing: Values  # how a review becomes word ids, for other programs
    vocabulary: list[str]  # words by frequency rank

    @classmethod
    def of(cls, reviews: Reviews, max_length: int | None = None) -> "ReviewAssets":
        """Return the assets of a run on reviews; `max_length` word ids of each are kept at most."""
        ids = {"pad": PAD, "start": START, "unknown": UNKNOWN, "first_word": FIRST_WORD}
        length = {} if max_length is None else {"max_length": max_length}
        return cls(
            labels=reviews.labels,
            width=reviews.width,
            preprocessing={"ids": ids, **length},
            vocabulary=reviews.vocabulary,
        )

    def for_export(self) -> dict[str, object]:
        """Return the assets for programs without dlrun, with the rule that splits a text."""
        words = {"words": {"lower_case": True, "spaces": SPACES}}
        return self.values() | {"preprocessing": self.preprocessing | words}


def load_and_split_reviews(
    config: ExperimentConfig, context: RunContext
) -> tuple[Reviews, Rows, Rows]:
    """Return the reviews, and the indices of the training rows for fitting and for validation."""
    reviews: Reviews = load_data(config, context)
    validation = config.data_section.validation
    return reviews, *split_off_validation(
        validation, reviews.train, reviews.test, config.split_seed, context.screen
    )


def review_describer(reviews: Reviews) -> DescribeRow:
    """Return a function that shows a test review as words, unknown words as <UNK>."""
    ids = reviews.test.ids
    return lambda row: {"text": reviews.decode(ids.review(row)[1:])}  # without <START>


def network_reading_bags(network: Network, assets: ReviewAssets) -> NetworkToExport:
    """Return a network for export that reads bags of words, (rows, width) of 0 and 1."""
    weight = next(network.parameters())
    density = min(0.5, 150 / assets.width)  # share of the vocabulary that a review has

    def inputs(rows: int) -> "Tensor":
        return weight.new_empty(rows, assets.width).uniform_().lt(density).to(weight.dtype)

    return NetworkToExport(network, "bags", inputs, assets.for_export())


@dataclass
class ReviewsPredictor(Predictor):
    """Predicts the classes of texts, encoded with the vocabulary of the run.

    probabilities: encoded texts -> class probabilities (n_texts, classes). word_effects: the words
    that the model reads, their ids (n_words,) and the index of a class -> the effect of each word
    on the class. by: what an effect is measured in.
    """

    reads = "text"
    assets: ReviewAssets
    probabilities: Callable[[RaggedWordIds], NDArray[np.float64]]
    word_effects: Callable[[Sequence[str], NDArray[np.int64], int], Words]
    by: str = "logit"

    def __post_init__(self) -> None:
        self.labels = self.assets.labels
        words = enumerate(self.assets.vocabulary, start=FIRST_WORD)
        self._ids = {word: index for index, word in words}

    def predict(self, inputs: Sequence[str], *, words: bool = False) -> list[Prediction]:
        """Return a prediction for each text; of two classes, word effects are on the second one."""
        texts = [split_words(text) for text in inputs]
        ids = [[self._ids.get(word, UNKNOWN) for word in text] for text in texts]
        rows = self.probabilities(RaggedWordIds.from_ids(ids, self.assets.width - 3))
        return [self._prediction(*text, words) for text in zip(texts, ids, rows, strict=True)]

    def _prediction(
        self, text: list[str], ids: list[int], probabilities: NDArray[np.float64], words: bool
    ) -> Prediction:
        first = -self.assets.preprocessing.get("max_length", 0)  # 0: all words
        read = text[first:]
        read_ids = np.array(ids[first:], np.int64)
        towards = 1 if len(self.labels) == 2 else int(probabilities.argmax())
        moved = self.word_effects(read, read_ids, towards) if words and read else []
        return Prediction(
            self.ranked(probabilities),
            words=len(text),
            read=len(read),
            unknown=int((read_ids == UNKNOWN).sum()),
            towards=self.labels[towards] if words else "",
            by=self.by if words else "",
            moved=sorted(moved, key=lambda pair: -abs(pair[1]))[:MOST_MOVED],
        )
