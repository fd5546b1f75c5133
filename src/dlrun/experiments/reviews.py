"""What the experiments on movie reviews share, without torch: assets, and predictions of texts."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from dlrun.data.encoding import (
    FIRST_WORD,
    PAD,
    SPACES,
    START,
    UNKNOWN,
    RaggedIds,
    decode,
    split_words,
)
from dlrun.data.imdb import Reviews
from dlrun.data.test_predictions import DescribeRow
from dlrun.experiments.base import Assets
from dlrun.experiments.predictor import Prediction, Predictor, Words
from dlrun.run_context import DataOrigin

WORDS = "words.csv"  # each word with its weight
MOST_MOVED = 20  # words of a text whose effects are listed


class SpecialIds(BaseModel, frozen=True):
    """The ids of no word, and the id of the most frequent word."""

    pad: int = PAD
    start: int = START
    unknown: int = UNKNOWN
    first_word: int = FIRST_WORD


class Preprocessing(BaseModel, frozen=True):
    """How a review becomes ids; max_length: how many ids are kept, the last ones; None: all."""

    ids: SpecialIds = SpecialIds()
    max_length: int | None = None


class ReviewAssets(Assets, frozen=True):
    """What a model needs to read a review as its run did.

    width: how many ids there are, special ones included. vocabulary: the words, by frequency rank.
    """

    labels: list[str]
    width: int
    preprocessing: Preprocessing
    vocabulary: list[str]

    @classmethod
    def of(cls, reviews: Reviews, max_length: int | None = None) -> "ReviewAssets":
        """Return the assets of a run on these reviews."""
        return cls(
            labels=reviews.labels,
            width=reviews.width,
            preprocessing=Preprocessing(max_length=max_length),
            vocabulary=reviews.vocabulary,
        )

    def for_export(self) -> dict[str, Any]:
        """Return the assets for programs without dlrun: they also say how a text is split."""
        about: dict[str, Any] = self.values()
        about["preprocessing"]["words"] = {"lower_case": True, "spaces": SPACES}
        return about


def origin(reviews: Reviews) -> DataOrigin:
    """Return where the reviews come from."""
    return DataOrigin(reviews.origin, reviews.differs)


def describe_review(reviews: Reviews) -> DescribeRow:
    """Return what shows a test review as the words of its ids, unknown words as <UNK>."""
    ids, words = reviews.test.ids, reviews.vocabulary
    return lambda row: {"text": decode(ids.review(row)[1:], words)}  # without <START>


class ReviewsPredictor(Predictor):
    """Reads a text as the run read its reviews: its words, as ids of its vocabulary.

    by: the unit of the effects of words.
    """

    reads = "text"
    by: ClassVar[str] = "logit"

    def __init__(self, assets: ReviewAssets) -> None:
        super().__init__(assets.labels)
        self.width, self.length = assets.width, assets.preprocessing.max_length
        self._ids = {word: FIRST_WORD + rank for rank, word in enumerate(assets.vocabulary)}

    @abstractmethod
    def probabilities(self, reviews: RaggedIds) -> NDArray[np.float64]:
        """Return the probabilities (n_reviews, classes)."""

    @abstractmethod
    def word_effects(
        self, words: Sequence[str], ids: NDArray[np.int64], towards: int
    ) -> tuple[Words, Words]:
        """Return the effects of a text's words on a class, and its probability after each word.

        The second list is empty if the network does not read the words in order. `words` and their
        `ids` are those that the network reads.
        """

    def predict(self, inputs: Sequence[str], *, words: bool = False) -> list[Prediction]:
        """Return a prediction for each text; of two classes, effects are on the second one."""
        texts = [split_words(text) for text in inputs]
        ids = [[self._ids.get(word, UNKNOWN) for word in text] for text in texts]
        found = self.probabilities(RaggedIds.from_ids(ids, self.width - 3))
        return [self._prediction(*one, words) for one in zip(texts, ids, found, strict=True)]

    def _prediction(
        self, text: list[str], ids: list[int], probabilities: NDArray[np.float64], words: bool
    ) -> Prediction:
        first = max(0, len(ids) - self.length) if self.length else 0
        read, read_ids = text[first:], np.array(ids[first:], np.int64)
        towards = 1 if len(self.labels) == 2 else int(probabilities.argmax())
        moved, after = self.word_effects(read, read_ids, towards) if words and read else ([], [])
        return Prediction(
            self.ranked(probabilities),
            words=len(text),
            read=len(read),
            unknown=int((read_ids == UNKNOWN).sum()),
            towards=self.labels[towards] if words else "",
            by=self.by if words else "",
            moved=sorted(moved, key=lambda pair: -abs(pair[1]))[:MOST_MOVED],
            after=after,
        )
