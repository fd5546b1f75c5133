"""Evaluate a run's test predictions: a confusion matrix and recalls of classes, or residuals."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from dlrun.runs.predictions_csv import PredictedClasses, PredictedValues, parse_predictions

MATRIX_CLASSES = 12  # the confusion matrix of more classes does not fit a phone, and is not shown
RECALLS = 200  # the table of recalls has at most so many classes
PAIRS = 10  # the commonest mistakes that are shown


@dataclass(frozen=True)
class ClassifierEvaluation:
    """Holds the evaluation of a classifier's predictions on its test set."""

    classes: list[str]
    rows: int
    correct: int
    matrix: list[list[int]] | None  # counts [label][predicted] of a few classes
    pairs: list[tuple[str, str, int]]  # the commonest mistakes: label, predicted class, rows
    recalls: list[tuple[str, float, int]]  # class, share recognised, rows; lowest share first


@dataclass(frozen=True)
class RegressionEvaluation:
    """Holds the evaluation of the values that a regression predicts for its test set."""

    median: float  # median of the absolute residuals
    bias: float  # mean of predicted minus true values


def evaluate_table(
    table: bytes, names: Sequence[str]
) -> ClassifierEvaluation | RegressionEvaluation | None:
    """Evaluate the text of a predictions.csv, by confusion matrix or residuals."""
    predictions = parse_predictions(table, names)
    if isinstance(predictions, PredictedClasses):
        return evaluate_classes(predictions)
    return evaluate_values(predictions) if isinstance(predictions, PredictedValues) else None


def evaluate_values(predictions: PredictedValues) -> RegressionEvaluation:
    """Evaluate predicted values: their median error and their bias."""
    bias = float((predictions.predicted - predictions.true).mean())
    return RegressionEvaluation(median(predictions.scores.tolist()), bias)


def evaluate_classes(predictions: PredictedClasses) -> ClassifierEvaluation:
    """Evaluate predicted classes: a confusion matrix, frequent confusions, and recalls."""
    pairs = zip(predictions.true.tolist(), predictions.predicted.tolist(), strict=True)
    counts = Counter(pairs)
    classes = sorted({number for pair in counts for number in pair})
    matrix = None
    if len(classes) <= MATRIX_CLASSES:
        matrix = [[counts[label, predicted] for predicted in classes] for label in classes]
    wrong = Counter({pair: rows for pair, rows in counts.items() if pair[0] != pair[1]})
    names = predictions.names
    return ClassifierEvaluation(
        classes=[names[number] for number in classes],
        rows=len(predictions),
        correct=int(predictions.scores.sum()),
        matrix=matrix,
        pairs=[(names[a], names[b], rows) for (a, b), rows in wrong.most_common(PAIRS)],
        recalls=predictions.recalls[:RECALLS],
    )
