"""What a finished run makes of new input: what an experiment that can predict declares."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Words = list[tuple[str, float]]


@dataclass(frozen=True)
class Prediction:
    """What a run makes of one input; or why it makes nothing of it.

    labels: classes with their probabilities, the most probable first. words, read, unknown: how
    many a text has, how many of them (the last) the network reads, and how many of these are not in
    its vocabulary. moved: the words that count most, each with its effect `by`; after: each word
    that was read, with the probability of `towards` by then.
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
        """Its probability."""
        return self.labels[0][1]


class Predictor(ABC):
    """A run's network with its own preprocessing.

    reads: what an input is: a text, or an image's file. labels: names of the classes.
    """

    reads: ClassVar[Literal["text", "image"]]
    shown: int | None = None  # of the labels, where there are many

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = labels

    @abstractmethod
    def predict(self, inputs: Sequence[Any], *, words: bool = False) -> list[Prediction]:
        """A prediction for each input; `words`: with the words that count most."""

    def named(self, probabilities: "NDArray[np.float64]") -> Words:
        """Probabilities (classes,) with the classes' names, the most probable first."""
        order = (-probabilities).argsort(kind="stable")[: self.shown]
        return [(self.labels[place], float(probabilities[place])) for place in order]


class ImagePredictor(Predictor):
    """Reads image files in any mode, size and orientation."""

    reads = "image"
    smallest: int | None = None  # see images.read

    @abstractmethod
    def to_input(self, image: Any) -> Any:
        """A PIL image, upright and RGB, as the network's input."""

    @abstractmethod
    def probabilities(self, inputs: Sequence[Any]) -> "NDArray[np.float64]":
        """Inputs -> (n_inputs, classes)."""

    def predict(self, inputs: Sequence[str | Path], *, words: bool = False) -> list[Prediction]:
        """One that cannot be read has its error."""
        from dlrun.data import photographs

        files = [Path(file) for file in inputs]
        (batch,) = photographs.batches(
            files, self.to_input, size=len(files), thumbnails=0, smallest=self.smallest
        )
        readable = [one.pixels for one in batch if one.error is None]
        found = iter(self.probabilities(readable) if readable else ())
        return [
            Prediction(error=one.error) if one.error else Prediction(self.named(next(found)))
            for one in batch
        ]
