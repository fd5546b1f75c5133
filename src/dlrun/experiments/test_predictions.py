"""Save the predictions for a test set in predictions.csv, with scores and the worst mistakes."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from dlrun.config.sections import Predictions
from dlrun.data.archives import Array
from dlrun.run_context import RunContext
from dlrun.run_folder.folder import MISTAKES, PREDICTIONS, to_json
from dlrun.run_folder.record import ClassSummary

MOST_ROWS = 100_000  # up to which predictions are written by default: 3 MB
MOST_MISTAKES = 20

DescribeRow = Callable[[int], dict[str, str]]
"""Returns a row for a reader: {"text": its words} or {"image": a PNG in base64}."""


@dataclass(frozen=True)
class ClassPredictions:
    """Holds the true and the predicted class of each row of the test set, in order.

    names: the class names. labels, predicted: the true and the predicted class index of each row,
    (n_rows,). probability: of the predicted class, float64 (n_rows,).
    """

    names: Sequence[str]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probability: NDArray[np.float64]

    @classmethod
    def of_two(cls, logits: Array, labels: Array, names: Sequence[str]) -> "ClassPredictions":
        """Return the predictions for two classes from logits (n_rows,) of the second class."""
        predicted = (logits > 0).astype(np.int64)
        return cls(names, labels.astype(np.int64), predicted, expit(np.abs(logits)))

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

    def table(self) -> bytes:
        """Return the text of predictions.csv, with the exact names of the classes."""
        stream = io.StringIO(newline="")
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["row", "label", "predicted", "probability"])
        columns = (part.tolist() for part in (self.labels, self.predicted, self.probability))
        for row, (label, predicted, value) in enumerate(zip(*columns, strict=True)):
            writer.writerow([row, self.names[label], self.names[predicted], f"{value:.9g}"])
        return stream.getvalue().encode()

    def mistakes(self, show: DescribeRow | None) -> list[dict[str, object]]:
        """Return the wrong predictions with the highest probabilities, highest first."""
        (wrong,) = np.nonzero(self.labels != self.predicted)
        order = np.argsort(-self.probability[wrong], kind="stable")[:MOST_MISTAKES]
        return [
            {
                "row": row,
                "label": self.names[self.labels[row]],
                "predicted": self.names[self.predicted[row]],
                "probability": float(self.probability[row]),
                **(show(row) if show else {}),
            }
            for row in wrong[order].tolist()
        ]


def summarize_classes(
    names: Sequence[str], labels: Array, predictions: ClassPredictions | None
) -> ClassSummary:
    """Summarize the classes of a test set: count, largest class, and macro-F1 if predicted."""
    rows = np.bincount(labels.astype(np.int64))
    return ClassSummary(
        number=len(names),
        largest=names[int(rows.argmax())],
        share=float(rows.max() / rows.sum()),
        macro_f1=predictions.macro_f1 if predictions else None,
    )


def keep_test_predictions(
    context: RunContext,
    wanted: Predictions,
    predictions: ClassPredictions,
    describe: DescribeRow | None,
) -> None:
    """Save predictions.csv and mistakes.json in the run folder, if the config asks for them.

    `describe` returns what is shown of a test row beside its mistake.
    """
    if wanted is True or (wanted == "auto" and len(predictions.labels) <= MOST_ROWS):
        context.keep(PREDICTIONS, predictions.table())
        mistakes = {"mistakes": predictions.mistakes(describe)}
        context.keep(MISTAKES, to_json(mistakes).encode())
