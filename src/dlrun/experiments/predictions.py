"""Predict classes or values with a finished run, and save the predictions of its test set."""

import csv
import io
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.special import expit

from dlrun.config.sections import Predictions
from dlrun.data import photographs
from dlrun.data.archives import Array
from dlrun.errors import DataError
from dlrun.metrics import TESTED
from dlrun.run_context import RunContext
from dlrun.run_folder.folder import MISTAKES, PREDICTIONS
from dlrun.run_folder.record import ACCURACY, ClassSummary
from dlrun.run_folder.recorded_metrics import MAX_PLOTTABLE, format_metric
from dlrun.system.console import to_json

MOST_ROWS = 100_000  # up to which predictions are written by default: 3 MB
MOST_MISTAKES = 20
NEAR = 1e-5

Words = list[tuple[str, float]]
DescribeRow = Callable[[int], dict[str, str]]
"""Returns a row for a reader: {"text": its words} or {"image": a PNG in base64}."""


@dataclass(frozen=True)
class Prediction:
    """Holds the prediction for one input, or the reason why there is none.

    labels: classes with their probabilities, the most probable first; empty for a number.
    value: the predicted number, or None for a class.
    words, read, unknown: how many words a text has, how many last words of it the network reads,
    and how many of the words read are not in its vocabulary.
    moved: the words with the largest effect on the class `towards`, measured in `by`.
    """

    labels: Words = field(default_factory=list)
    value: float | None = None
    words: int | None = None
    read: int | None = None
    unknown: int | None = None
    towards: str = ""
    by: str = ""
    moved: Words = field(default_factory=list)
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
    """Predicts new inputs with a run's model, after the run's own preprocessing.

    reads: the kind of input: a text, an image file, or a row of a table (column -> text).
    columns: those that a row needs. labels: names of the classes; none for numbers.
    shown: how many labels a prediction lists; None: all.
    """

    reads: ClassVar[Literal["text", "image", "row"]]
    columns: Sequence[str]
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
    """Predicts the classes of image files of any colour mode, size and orientation.

    to_input: converts a PIL image, upright and RGB, to the network's input.
    probabilities: inputs -> probabilities (n_inputs, classes).
    smallest: see `data.photographs.read_photograph`.
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
        batch = list(photographs.load_photographs(files, self.to_input, smallest=self.smallest))
        readable = [photo.pixels for photo in batch if photo.error is None]
        rows = iter(self.probabilities(readable) if readable else ())
        return [
            Prediction(error=photo.error) if photo.error else Prediction(self.ranked(next(rows)))
            for photo in batch
        ]


@dataclass
class RowPredictor(Predictor):
    """Predicts the class or the value of rows of a table.

    columns: see Predictor; a row's other columns are ignored.
    to_input: converts the texts of a row, by column, to the model's input (...), or raises
    ValueError or DataError with the reason why the row cannot be predicted.
    infer: inputs (rows, ...) -> class probabilities (rows, classes), or values (rows,).
    """

    reads = "row"
    columns: Sequence[str]
    to_input: Callable[[Mapping[str, str]], Array]
    infer: Callable[[Array], NDArray[np.float64]]
    labels: Sequence[str] = ()

    def predict(
        self, inputs: Sequence[Mapping[str, object]], *, words: bool = False
    ) -> list[Prediction]:
        """Return a prediction for each row, or the error if it cannot be predicted."""
        read = [self._read(row) for row in inputs]
        arrays = [one for one in read if not isinstance(one, Prediction)]
        found = iter(self.infer(np.stack(arrays)) if arrays else ())
        return [
            one if isinstance(one, Prediction) else self._prediction(next(found)) for one in read
        ]

    def _read(self, row: Mapping[str, object]) -> Array | Prediction:
        """Return the model's input for a row, or a Prediction with the reason why it has none."""
        if missing := [name for name in self.columns if name not in row]:
            return Prediction(error=f"no column {missing[0]!r}")
        try:
            return self.to_input({name: str(row[name]) for name in self.columns})
        except (DataError, ValueError) as error:
            return Prediction(error=str(error))

    def _prediction(self, output: NDArray[np.float64]) -> Prediction:
        if not np.isfinite(output).all():
            return Prediction(error="no finite prediction: a value is too large, or is NaN")
        if self.labels:
            return Prediction(self.ranked(output))
        return Prediction(value=float(output))


class TrueAndPredicted(ABC):
    """Holds what is true and what was predicted of each row of a test set, in order."""

    def __repr__(self) -> str:
        metrics = (f"{name} {format_metric(value)}" for name, value in self.metrics.items())
        return f"<test {', '.join(metrics)} of {len(self):,} rows>"

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows."""

    @property
    def near(self) -> float:
        """Return the largest difference that another machine may cause in a number of the table."""
        return NEAR

    @property
    @abstractmethod
    def metrics(self) -> dict[str, float]:
        """Return the metrics of the predictions by their names, without the prefix `test_`."""

    @property
    def classes(self) -> ClassSummary | None:
        """Return a summary of the classes; None if numbers were predicted."""
        return None

    @abstractmethod
    def table(self) -> bytes:
        """Return the text of predictions.csv, whose last column has numbers."""

    def mistakes(self, show: DescribeRow | None) -> list[dict[str, object]]:
        """Return the rows that were predicted worst, the worst first; `show` describes a row."""
        return [
            {"row": row, **self._cells(row), **(show(row) if show else {})}
            for row in self._worst()[:MOST_MISTAKES].tolist()
        ]

    @abstractmethod
    def _worst(self) -> NDArray[np.int64]: ...

    @abstractmethod
    def _cells(self, row: int) -> dict[str, object]: ...


@dataclass(frozen=True, repr=False)
class TrueAndPredictedValues(TrueAndPredicted):
    """Holds the true and the predicted value of each row of the test set, in order.

    targets, predicted: (n_rows,), in the unit of the data.
    """

    targets: NDArray[np.float64]
    predicted: NDArray[np.float64]

    @classmethod
    def of_table(cls, table: bytes) -> "TrueAndPredictedValues":
        """Return the values in the text of a predictions.csv; raise ValueError if it has none."""
        _, *rows = csv.reader(io.StringIO(table.decode(), newline=""), strict=True)
        targets, predicted = np.array([row[1:] for row in rows], np.float64).T
        if not (np.abs([targets, predicted]) <= MAX_PLOTTABLE).all():
            raise ValueError(f"a value is not a number, or beyond {MAX_PLOTTABLE:g}")
        return cls(targets, predicted)

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def near(self) -> float:
        """Return a hundred thousandth of the targets' standard deviation."""
        return NEAR * (float(self.targets.std()) or 1)

    @property
    def mae(self) -> float:
        """Return the mean absolute error."""
        return float(np.abs(self.targets - self.predicted).mean())

    @property
    def r2(self) -> float:
        """Return R²; NaN of fewer than two rows, or if all squares are 0; of equal targets 0."""
        if len(self) < 2:
            return math.nan
        variance = float(np.square(self.targets - self.targets.mean()).sum())
        error = float(np.square(self.targets - self.predicted).sum())
        if not variance:
            return 0.0 if error else math.nan
        return 1 - error / variance

    @property
    def metrics(self) -> dict[str, float]:
        """Return the mean absolute error and, if it is defined, R²."""
        r2 = self.r2
        return {"mae": self.mae} | ({} if math.isnan(r2) else {"r2": r2})

    def table(self) -> bytes:
        """Return the text of predictions.csv, with each number in the digits that identify it."""
        columns = _shortest_texts(self.targets), _shortest_texts(self.predicted)
        rows = zip(range(len(self)), *columns, strict=True)
        return to_plain_csv([("row", "target", "predicted"), *rows])

    def _worst(self) -> NDArray[np.int64]:
        return np.argsort(-np.abs(self.targets - self.predicted), kind="stable")

    def _cells(self, row: int) -> dict[str, object]:
        return {"target": float(self.targets[row]), "predicted": float(self.predicted[row])}


@dataclass(frozen=True, repr=False)
class TrueAndPredictedClasses(TrueAndPredicted):
    """Holds the true and the predicted class of each row of the test set, in order.

    labels, predicted: indices of names, (n_rows,). probability: of the predicted class, (n_rows,).
    """

    names: Sequence[str]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probability: NDArray[np.float64]

    @classmethod
    def of_two(
        cls, logits: Array, labels: Array, names: Sequence[str]
    ) -> "TrueAndPredictedClasses":
        """Return the predictions for two classes from logits (n_rows,) of the second class."""
        predicted = (logits > 0).astype(np.int64)
        return cls(names, labels.astype(np.int64), predicted, expit(np.abs(logits)))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def metrics(self) -> dict[str, float]:
        """Return the accuracy and macro-F1."""
        return {"accuracy": self.accuracy, "macro_f1": self.macro_f1}

    @property
    def accuracy(self) -> float:
        """Return the share of rows whose class is predicted correctly."""
        return float((self.labels == self.predicted).mean())

    @property
    def macro_f1(self) -> float:
        """Return the mean F1 score over all classes that occur in the labels or the predictions."""
        size = len(self.names)
        right = np.bincount(self.labels[self.labels == self.predicted], minlength=size)
        both = np.bincount(np.concatenate([self.labels, self.predicted]), minlength=size)
        return float((2 * right[both > 0] / both[both > 0]).mean())

    @property
    def classes(self) -> ClassSummary:
        """Return the number of classes, and the largest class with its share."""
        rows = np.bincount(self.labels)
        return ClassSummary(
            number=len(self.names),
            largest=self.names[int(rows.argmax())],
            share=float(rows.max() / rows.sum()),
        )

    def table(self) -> bytes:
        """Return the text of predictions.csv, with the exact names of the classes."""
        columns = (part.tolist() for part in (self.labels, self.predicted, self.probability))
        rows = (
            (row, self.names[label], self.names[predicted], f"{value:.9g}")
            for row, (label, predicted, value) in enumerate(zip(*columns, strict=True))
        )
        return to_plain_csv([("row", "label", "predicted", "probability"), *rows])

    def _worst(self) -> NDArray[np.int64]:
        (wrong,) = np.nonzero(self.labels != self.predicted)  # those with high probabilities first
        return wrong[np.argsort(-self.probability[wrong], kind="stable")]

    def _cells(self, row: int) -> dict[str, object]:
        return {
            "label": self.names[self.labels[row]],
            "predicted": self.names[self.predicted[row]],
            "probability": float(self.probability[row]),
        }


def add_class_metrics(
    metrics: dict[str, float], predictions: TrueAndPredicted | None
) -> dict[str, float]:
    """Return a run's metrics with those of its predicted classes after the test accuracy.

    A metric that the run has already keeps its value. Without a test accuracy none is added: a
    run's main metric is the first of the test that is no loss, and would be another one.
    """
    found = dict[str, float]()
    for name, value in metrics.items():
        found[name] = value
        if name == ACCURACY and isinstance(predictions, TrueAndPredictedClasses):
            found |= {f"{TESTED}{name}": value for name, value in predictions.metrics.items()}
    return found | metrics


def _shortest_texts(values: NDArray[np.float64]) -> list[str]:
    """Return numbers as the shortest texts that identify them, in the precision that they have."""
    single = values.astype(np.float32)
    exact = single if (single == values).all() else values
    return [str(value).removesuffix(".0") for value in exact]


def to_plain_csv(rows: Iterable[Sequence[object]]) -> bytes:
    """Return rows as a CSV table with all texts unchanged."""
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue().encode("utf-8", "backslashreplace")


def keep_test_predictions(
    context: RunContext,
    wanted: Predictions,
    predictions: TrueAndPredicted,
    describe: DescribeRow | None,
) -> None:
    """Save predictions.csv and mistakes.json in the run folder, if the config asks for them."""
    if wanted is True or (wanted == "auto" and len(predictions) <= MOST_ROWS):
        context.keep(PREDICTIONS, predictions.table())
        mistakes = {"mistakes": predictions.mistakes(describe)}
        context.keep(MISTAKES, to_json(mistakes).encode())
