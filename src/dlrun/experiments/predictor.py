"""Predictions of new inputs by a finished run, and those of its test set that a run keeps."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from dlrun.run_context import RunContext
from dlrun.run_folder.folder import PREDICTIONS, to_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dlrun.data.test_predictions import DescribeRow, TestPredictions

Words = list[tuple[str, float]]


@dataclass(frozen=True)
class Prediction:
    """The prediction for one input, or the reason why there is none.

    labels: classes with their probabilities, the most probable first.
    words, read, unknown: how many words a text has, how many of them (the last) the network reads,
    and how many of these are not in its vocabulary.
    moved: the words with the largest effect on the class `towards`, measured in `by`.
    after: each word that was read, with the probability of `towards` after it.
    """

    labels: Words = field(default_factory=list)
    words: int | None = None
    read: int | None = None
    unknown: int | None = None
    towards: str = ""
    by: str = ""
    moved: Words = field(default_factory=list)
    after: Words = field(default_factory=list)
    error: str | None = None

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.labels[0][0]

    @property
    def probability(self) -> float:
        """The probability of the most probable class."""
        return self.labels[0][1]


class Predictor(ABC):
    """A run's network with its own preprocessing.

    reads: what an input is: a text, or an image's file. labels: names of the classes.
    shown: how many labels a prediction lists; None: all.
    """

    reads: ClassVar[Literal["text", "image"]]
    shown: int | None = None

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = labels

    @abstractmethod
    def predict(self, inputs: Sequence[Any], *, words: bool = False) -> list[Prediction]:
        """Return a prediction for each input; if `words`, with each word's effect."""

    def ranked(self, probabilities: "NDArray[np.float64]") -> Words:
        """Return the classes with their probabilities (classes,), the most probable first."""
        order = (-probabilities).argsort(kind="stable")[: self.shown]
        return [(self.labels[index], float(probabilities[index])) for index in order]


class ImagePredictor(Predictor):
    """Predicts image files of any mode, size and orientation.

    smallest: see `data.images.read`.
    """

    reads = "image"
    smallest: int | None = None

    @abstractmethod
    def to_input(self, image: Any) -> Any:
        """Convert a PIL image, upright and RGB, to the network's input."""

    @abstractmethod
    def probabilities(self, inputs: Sequence[Any]) -> "NDArray[np.float64]":
        """Return the probabilities (n_inputs, classes)."""

    def predict(self, inputs: Sequence[str | Path], *, words: bool = False) -> list[Prediction]:
        """Return a prediction for each file; for one that cannot be read, its error."""
        from dlrun.data import images  # slow: Pillow

        files = [Path(file) for file in inputs]
        (batch,) = images.batches(files, self.to_input, size=len(files), smallest=self.smallest)
        readable = [one.pixels for one in batch if one.error is None]
        found = iter(self.probabilities(readable) if readable else ())
        return [
            Prediction(error=one.error) if one.error else Prediction(self.ranked(next(found)))
            for one in batch
        ]


def keep_predictions(
    context: RunContext, predictions: "TestPredictions", describe: "DescribeRow | None"
) -> None:
    """Keep predictions.csv and mistakes.json; `describe` shows a row beside its mistake."""
    from dlrun.data.test_predictions import MISTAKES  # slow: numpy, scipy

    context.keep(PREDICTIONS, predictions.table())
    context.keep(MISTAKES, to_json({"mistakes": predictions.mistakes(describe)}).encode())
