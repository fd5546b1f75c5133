"""Predict the classes of new inputs with the network of a finished run."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dlrun.data import images

Words = list[tuple[str, float]]


@dataclass(frozen=True)
class Prediction:
    """Holds the prediction for one input, or the reason why there is none.

    labels: classes with their probabilities, the most probable first.
    words, read, unknown: how many words a text has, how many last words of it the network reads,
    and how many of the words read are not in its vocabulary.
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
        """Return the most probable class."""
        return self.labels[0][0]

    @property
    def probability(self) -> float:
        """Return the probability of the most probable class."""
        return self.labels[0][1]


class Predictor(ABC):
    """Predicts the classes of new inputs with a run's model, after the run's own preprocessing.

    reads: the kind of input: a text, or an image file. labels: names of the classes.
    shown: how many labels a prediction lists; None: all.
    """

    reads: ClassVar[Literal["text", "image"]]
    labels: Sequence[str]
    shown: int | None = None

    @abstractmethod
    def predict(self, inputs: Sequence[Any], *, words: bool = False) -> list[Prediction]:
        """Return a prediction for each input, with each word's effect if `words` is true."""

    def ranked(self, probabilities: NDArray[np.float64]) -> Words:
        """Return the class names with their probabilities (classes,), the most probable first."""
        order = (-probabilities).argsort(kind="stable")[: self.shown]
        return [(self.labels[index], float(probabilities[index])) for index in order]


@dataclass
class ImagePredictor(Predictor):
    """Predicts the classes of image files of any mode, size and orientation.

    to_input: converts a PIL image, upright and RGB, to the network's input.
    probabilities: inputs -> probabilities (n_inputs, classes).
    smallest: see `data.images.read_photograph`.
    """

    reads = "image"
    labels: Sequence[str]
    to_input: Callable[[Image.Image], Any]
    probabilities: Callable[[list[Any]], NDArray[np.float64]]
    shown: int | None = None
    smallest: int | None = None

    def predict(self, inputs: Sequence[str | Path], *, words: bool = False) -> list[Prediction]:
        """Return a prediction for each image file, or the error if it cannot be read."""
        files = [Path(file) for file in inputs]
        batch = list(images.load_photographs(files, self.to_input, smallest=self.smallest))
        readable = [photo.pixels for photo in batch if photo.error is None]
        rows = iter(self.probabilities(readable) if readable else ())
        return [
            Prediction(error=photo.error) if photo.error else Prediction(self.ranked(next(rows)))
            for photo in batch
        ]
