"""Predictions of texts, read as a run read its reviews."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from dlrun.experiments.predictor import Prediction, Predictor, Words

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dlrun.data.encoding import RaggedIds
    from dlrun.lasso.storage import ChosenModel

MOVED = 20  # words that count most, of a text


class ReviewsPredictor(Predictor):
    """Reads a text as the run read its reviews: its words, its vocabulary's ids.

    by: what the effects of words are measured in. length: ids that the network reads, the last
    ones; None: all.
    """

    reads = "text"
    by: ClassVar[str] = "logit"

    def __init__(self, assets: dict[str, Any]) -> None:
        from dlrun.data.encoding import Vocabulary  # slow: numpy, scipy

        super().__init__(assets["labels"])
        self.width = assets["width"]
        self.length: int | None = assets["preprocessing"].get("max_length")
        self._vocabulary = Vocabulary(assets["vocabulary"])

    @abstractmethod
    def probabilities(self, reviews: "RaggedIds") -> "NDArray[np.float64]":
        """Reviews -> (n_reviews, classes)."""

    @abstractmethod
    def explained(
        self, words: Sequence[str], ids: "NDArray[np.int64]", towards: int
    ) -> tuple[Words, Words]:
        """The words with their effects on a class, in any order; and each word with what the
        class's probability was after it, where the network reads one word after the other.

        `words` and their `ids` are those that the network reads of one text.
        """

    def predict(self, inputs: Sequence[str], *, words: bool = False) -> list[Prediction]:
        """Two classes: what is said of words is about the second, `positive`."""
        from dlrun.data.encoding import RaggedIds, split_words

        texts = [split_words(text) for text in inputs]
        ids = [self._vocabulary.ids(text) for text in texts]
        found = self.probabilities(RaggedIds.from_ids(ids, self.width - 3))
        return [
            self._prediction(text, its, probabilities, words)
            for text, its, probabilities in zip(texts, ids, found, strict=True)
        ]

    def _prediction(
        self, text: list[str], ids: list[int], probabilities: "NDArray[np.float64]", words: bool
    ) -> Prediction:
        import numpy as np

        from dlrun.data.encoding import UNKNOWN

        first = max(0, len(ids) - self.length) if self.length else 0
        read, its = text[first:], np.array(ids[first:], np.int64)
        towards = 1 if len(self.labels) == 2 else int(probabilities.argmax())
        moved, after = self.explained(read, its, towards) if words and read else ([], [])
        return Prediction(
            self.named(probabilities),
            words=len(text),
            read=len(read),
            unknown=int((its == UNKNOWN).sum()),
            towards=self.labels[towards] if words else "",
            by=self.by if words else "",
            moved=sorted(moved, key=lambda pair: -abs(pair[1]))[:MOVED],
            after=after,
        )


class LinearPredictor(ReviewsPredictor):
    """What moves a text are its words' coefficients. Needs no torch."""

    def __init__(self, model: "ChosenModel", assets: dict[str, Any]) -> None:
        super().__init__(assets)
        self._model = model

    def probabilities(self, reviews: "RaggedIds") -> "NDArray[np.float64]":
        """Reviews -> (n_reviews, 2)."""
        import numpy as np
        from scipy.special import expit

        logits = self._model.decision(reviews.bag_of_words(self.width))
        found: NDArray[np.float64] = expit(np.stack([-logits, logits], 1))
        return found

    def explained(
        self, words: Sequence[str], ids: "NDArray[np.int64]", towards: int
    ) -> tuple[Words, Words]:
        """Each word once, with its coefficient."""
        from dlrun.data.encoding import UNKNOWN

        effects = zip(words, ids.tolist(), self._model.coef[ids].tolist(), strict=True)
        moved = {word: effect for word, one, effect in effects if one != UNKNOWN and effect}
        return list(moved.items()), []
