"""Evaluate a run's test predictions: confusion matrix and recall of classes; or residuals.

Also compare those of two runs, row by row.
"""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from operator import eq
from statistics import median
from typing import NamedTuple

from dlrun.errors import ConfigError, DataError
from dlrun.experiments.saved_run import Run
from dlrun.metrics import Metric
from dlrun.reports.charts import Chart, ChartCurve
from dlrun.reports.spread import PairedComparison, compare_pairs
from dlrun.run_folder.folder import PREDICTIONS
from dlrun.run_folder.record import ACCURACY
from dlrun.run_folder.recorded_metrics import score_classes

MATRIX_CLASSES = 12  # up to which the confusion matrix is a table; it fits a phone, scrolled
RECALLS = 200  # classes in the table of recalls
PAIRS = 10
MAE = "test_mae"
CLASSES, VALUES = "row,label,predicted,", "row,target,predicted\n"  # how predictions.csv begins
DOTS = 500  # rows in the chart of a regression: at most 7 kB


@dataclass(frozen=True)
class PredictionEvaluation:
    """Holds the evaluation of a classifier's predictions on its test set."""

    classes: list[str]
    rows: int
    correct: int
    matrix: list[list[int]] | None  # counts [label][predicted] of a few classes
    pairs: list[tuple[str, str, int]]  # the commonest mistakes: label, predicted class, rows
    recalls: list[tuple[str, float, int]]  # class, share recognised, rows; lowest share first


@dataclass(frozen=True)
class ResidualEvaluation:
    """Holds the evaluation of the values that a regression predicts for its test set."""

    median: float  # median of the absolute residuals
    bias: float  # mean of predicted minus true values
    chart: Chart


def evaluate_table(
    table: bytes, labels: Sequence[str]
) -> PredictionEvaluation | ResidualEvaluation | None:
    """Evaluate a predictions.csv of classes, or of values; None if it has neither.

    Raises ValueError or csv.Error if it is not what a run writes.
    """
    if table.startswith(VALUES.encode()):
        return evaluate_values(table)
    rows = csv_rows(table, CLASSES)
    return evaluate_predictions(rows, labels) if rows else None


def evaluate_values(table: bytes) -> ResidualEvaluation:
    """Evaluate the values in a predictions.csv, and draw them by the true ones, at most DOTS."""
    from dlrun.experiments.predictions import TrueAndPredictedValues  # slow: scipy

    found = TrueAndPredictedValues.of_table(table)
    residuals = found.predicted - found.targets
    chosen = slice(None, None, len(found) // (DOTS + 1) + 1)
    both = found.targets.tolist() + found.predicted.tolist()
    ends = [min(both), max(both)]
    dots = zip(found.targets[chosen].tolist(), found.predicted[chosen].tolist(), strict=True)
    chart = Chart(
        "predicted value by true value",
        "true value",
        "predicted value",
        [ChartCurve("right", ends, ends, "ideal")],
        dots=list(dots),
    )
    return ResidualEvaluation(median(abs(residuals).tolist()), float(residuals.mean()), chart)


def evaluate_predictions(
    table: Sequence[Sequence[str]], labels: Sequence[str]
) -> PredictionEvaluation:
    """Evaluate the rows of a predictions.csv, which begin with row, label and predicted class.

    `labels` gives the order of the classes; classes that no row names are left out.
    """
    counts = Counter((row[1], row[2]) for row in table)
    named = {name for pair in counts for name in pair}
    classes = [one for one in labels if one in named]
    classes += sorted(named.difference(classes))
    matrix = None
    if len(classes) <= MATRIX_CLASSES:
        matrix = [[counts[label, predicted] for predicted in classes] for label in classes]
    wrong = Counter({pair: rows for pair, rows in counts.items() if pair[0] != pair[1]})
    scores = score_classes(counts).items()
    recalls = [(name, one.recall, one.rows) for name, one in scores if one.recall is not None]
    return PredictionEvaluation(
        classes=classes,
        rows=len(table),
        correct=sum(rows for (label, predicted), rows in counts.items() if label == predicted),
        matrix=matrix,
        pairs=[(*pair, rows) for pair, rows in wrong.most_common(PAIRS)],
        recalls=sorted(recalls, key=lambda one: one[1])[:RECALLS],
    )


def csv_rows(content: bytes, start: str) -> list[list[str]]:
    """Return the rows below the header of a CSV file; none if the header begins otherwise.

    Raises ValueError or csv.Error if it is not what a run writes.
    """
    if not content.startswith(start.encode()):
        return []
    head, *rows = csv.reader(io.StringIO(content.decode(), newline=""), strict=True)
    if {*map(len, rows)} - {len(head)}:
        raise ValueError("a row and the header differ in length")
    return rows


class _TestRows(NamedTuple):
    """Holds the true class or value of each test row, and whether it is right, or its error.

    near: how far true values of the same row can be apart, because of rounding.
    """

    metric: Metric
    true: Sequence[str | float]
    scores: Sequence[float]
    near: float = 0.0


def compare_test_rows(run: Run, baseline: Run) -> PairedComparison:
    """Compare the predictions of two runs on the same data, row by row.

    Raises DlrunError if one has no predictions, or their test rows differ.
    """
    ours, theirs = _read_test_rows(run), _read_test_rows(baseline)
    is_same = ours.metric == theirs.metric and len(ours.true) == len(theirs.true)
    if not is_same or not all(
        one == other or (ours.metric.name == MAE and abs(float(one) - float(other)) <= ours.near)
        for one, other in zip(ours.true, theirs.true, strict=True)
    ):
        raise ConfigError("the runs have different test rows")
    return compare_pairs(ours.metric, ours.scores, theirs.scores)


def _read_test_rows(run: Run) -> _TestRows:
    content = run.read_if_written(PREDICTIONS) or b""
    try:
        if content.startswith(VALUES.encode()):
            from dlrun.experiments.predictions import TrueAndPredictedValues  # slow: scipy

            table = TrueAndPredictedValues.of_table(content)
            errors = abs(table.targets - table.predicted).tolist()
            return _TestRows(run.record.metric(MAE), table.targets.tolist(), errors, table.near)
        if rows := csv_rows(content, CLASSES):
            _, true, predicted, *_ = zip(*rows, strict=True)
            return _TestRows(run.record.metric(ACCURACY), true, [*map(eq, true, predicted)])
    except (ValueError, csv.Error) as error:
        raise DataError(f"{run.folder / PREDICTIONS}: not what a run writes: {error}") from None
    raise ConfigError(f"{run.name} kept no predictions of a test set")
