"""Save a run's test predictions as predictions.csv, read the file, and compute metrics from it.

The metrics of a test set are computed here alone, for results.json and `predict --test`.
"""

import csv
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from dlrun.data.array_cache import Array
from dlrun.data.scaling import is_constant
from dlrun.data.text_files import NAME_COLUMNS, RowNames
from dlrun.errors import DataError
from dlrun.metrics import MAX_PLOTTABLE, TESTED, format_metric
from dlrun.runs.csv_tables import parse_csv, to_plain_csv
from dlrun.runs.folder import PREDICTIONS
from dlrun.runs.record import ClassSummary
from dlrun.runs.roc_curve import RocCurve
from dlrun.runs.run import Run

MOST_MISTAKES = 20
NEAR = 1e-5
VALUES = ["target", "predicted"]  # columns of predictions.csv, after `row` and the rows' names
CLASSES = ["label", "predicted", "probability"]
OF_CLASS = "probability of "  # begins the name of the column of a class, after those of CLASSES
MOST_CLASSES = 20  # of more classes only the probability of the predicted one is kept
SMALLEST = np.finfo(np.float64).eps  # the log loss takes a smaller probability for this one

DescribeRow = Callable[[int], dict[str, str]]
"""Returns a row for a reader: {"text": its words} or {"image": a PNG in base64}."""


def log_losses(probabilities: NDArray[np.float64], true: Array) -> NDArray[np.float64]:
    """Compute the log loss of each row (n_rows,) from the probabilities of every class."""
    of_true_class = probabilities[np.arange(len(true)), true]
    losses: NDArray[np.float64] = -np.log(of_true_class.clip(SMALLEST, 1))
    return losses


@dataclass(frozen=True, repr=False)
class Predictions(ABC):
    """Holds the true and the predicted class or value of each row of a test set, in order.

    row_names: columns that name at least these rows: lines of a file and ids, or paths of images.
    """

    true: Array
    predicted: Array
    row_names: RowNames = field(default_factory=dict, kw_only=True)

    def __repr__(self) -> str:
        metrics = (f"{name} {format_metric(value)}" for name, value in self.main_metrics.items())
        return f"<test {', '.join(metrics)} of {len(self):,} rows>"

    def __len__(self) -> int:
        return len(self.true)

    @property
    def near(self) -> float:
        """Another machine may cause a difference up to this in predictions.csv."""
        return NEAR

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics have their names without the prefix `test_`; the main ones come first."""
        return self.main_metrics | self.further_metrics

    @property
    @abstractmethod
    def main_metrics(self) -> dict[str, float]:
        """A run is judged by the first of these metrics, which take no time to compute."""

    @property
    @abstractmethod
    def further_metrics(self) -> dict[str, float]:
        """A metric that is not defined for the rows is left out."""

    @property
    def test_metrics(self) -> dict[str, float]:
        """The metrics have the names that results.json gives them."""
        return {f"{TESTED}{name}": value for name, value in self.metrics.items()}

    @property
    @abstractmethod
    def scores(self) -> Array:
        """The score of a row (n_rows,) is whether its class is right, or how wrong its value is."""

    @abstractmethod
    def contributions(self, metric: str) -> NDArray[np.float64] | None:
        """The mean of these numbers by row (n_rows,) is the metric; None: there are none for it."""

    def summarise_classes(self, train_labels: Array) -> ClassSummary | None:
        """Predicted numbers have no classes to summarise.

        train_labels: the class indices of the training rows (n_train_rows,).
        """
        return None

    def table(self) -> bytes:
        """The text is that of predictions.csv, whose last column has numbers."""
        columns = {"row": range(len(self)), **self.row_names, **self._columns()}
        return to_plain_csv([list(columns), *zip(*columns.values(), strict=False)])

    @abstractmethod
    def _columns(self) -> dict[str, list[str]]:
        """The columns that name the rows are left out."""

    def mistakes(self, show: DescribeRow | None) -> list[dict[str, object]]:
        """The rows that were predicted worst come first; `show` describes a row for a reader."""
        mistakes: list[dict[str, object]] = []
        for row in self._worst()[:MOST_MISTAKES].tolist():
            names = {name: column[row] for name, column in self.row_names.items()}
            description = show(row) if show else {}
            mistakes.append({"row": row, **names, **self._cells(row), **description})
        return mistakes

    @abstractmethod
    def _worst(self) -> NDArray[np.int64]:
        """The indices are those of mispredicted rows, the worst first."""

    @abstractmethod
    def _cells(self, row: int) -> dict[str, object]: ...


@dataclass(frozen=True, repr=False)
class PredictedValues(Predictions):
    """Holds a regression's true and predicted test values, in the unit of the data."""

    @property
    def near(self) -> float:
        """Another machine may shift a value by 1e-5 of the targets' standard deviation."""
        return NEAR if is_constant(self.true) else NEAR * float(self.true.std())

    @property
    def scores(self) -> NDArray[np.float64]:
        """The scores are the absolute errors (n_rows,)."""
        errors: NDArray[np.float64] = np.abs(self.true - self.predicted)
        return errors

    @property
    def r2(self) -> float:
        """R² is NaN if all targets are equal, as a single one is: there is no variance."""
        if is_constant(self.true):
            return math.nan
        variance = float(np.square(self.true - self.true.mean()).sum())
        error = float(np.square(self.true - self.predicted).sum())
        return 1 - error / variance

    def contributions(self, metric: str) -> NDArray[np.float64] | None:
        """A row adds its absolute error to `mae`, and 1 - n error² / (sum of squares) to `r2`."""
        if metric == "mae":
            return self.scores
        if metric != "r2" or "r2" not in self.main_metrics:
            return None
        squares = float(np.square(self.true - self.true.mean()).sum())
        parts: NDArray[np.float64] = 1 - len(self) * np.square(self.scores) / squares
        return parts

    @property
    def main_metrics(self) -> dict[str, float]:
        """R² is left out if it is not defined."""
        r2 = self.r2
        return {"mae": float(self.scores.mean())} | ({} if math.isnan(r2) else {"r2": r2})

    @property
    def further_metrics(self) -> dict[str, float]:
        return {"rmse": math.sqrt(np.square(self.scores).mean())}

    def _columns(self) -> dict[str, list[str]]:
        """A number has as many digits as identify it."""
        return dict(zip(VALUES, map(_shortest_texts, (self.true, self.predicted)), strict=True))

    def _worst(self) -> NDArray[np.int64]:
        return np.argsort(-self.scores, kind="stable")

    def _cells(self, row: int) -> dict[str, object]:
        return {"target": float(self.true[row]), "predicted": float(self.predicted[row])}


@dataclass(frozen=True, repr=False)
class PredictedClasses(Predictions):
    """Holds the true and the predicted classes of a test set, as indices of their names.

    probability: of the predicted class (n_rows,).
    probabilities: of every class (n_rows, n_classes); None if they are not known, or of more than
    MOST_CLASSES classes.
    """

    probability: NDArray[np.float64]
    names: Sequence[str]
    probabilities: NDArray[np.float64] | None = field(default=None, kw_only=True)

    @classmethod
    def of_probabilities(
        cls,
        true: Array,
        predicted: Array,
        probabilities: NDArray[np.float64],
        names: Sequence[str],
        *,
        row_names: RowNames,
    ) -> Self:
        """Keep what is kept of the probabilities of every class (n_rows, n_classes)."""
        of_few_classes = probabilities if len(names) <= MOST_CLASSES else None
        largest = probabilities.max(axis=1)
        return cls(
            true, predicted, largest, names, row_names=row_names, probabilities=of_few_classes
        )

    @property
    def scores(self) -> NDArray[np.bool_]:
        """The score of a row (n_rows,) is whether its class is predicted correctly."""
        is_right: NDArray[np.bool_] = self.true == self.predicted
        return is_right

    def contributions(self, metric: str) -> NDArray[np.float64] | None:
        """A right row adds 1 to the accuracy, another 0; macro-F1 and areas are no means."""
        if metric == "accuracy":
            return self.scores.astype(np.float64)
        if metric == "log_loss":
            return self._log_losses()
        return self._squared_errors() if metric == "brier" else None

    def _log_losses(self) -> NDArray[np.float64] | None:
        if self.probabilities is None:
            return None
        return log_losses(self.probabilities, self.true)

    def _squared_errors(self) -> NDArray[np.float64] | None:
        """A row has the sum over all classes, or of two classes the error of the second alone."""
        if self.probabilities is None:
            return None
        squares = np.square(self.probabilities - np.eye(len(self.names))[self.true])
        errors: NDArray[np.float64] = squares.sum(axis=1)
        return errors if len(self.names) > 2 else squares[:, -1]

    @property
    def main_metrics(self) -> dict[str, float]:
        return {"accuracy": float(self.scores.mean()), "macro_f1": self.macro_f1}

    @property
    def further_metrics(self) -> dict[str, float]:
        """The metrics are those of the probabilities: of two classes, of that of the second."""
        if self.probabilities is None or not np.isfinite(self.probabilities).all():
            return {}
        metrics = self._metrics_of_order()
        for name in ("log_loss", "brier"):
            by_row = self.contributions(name)
            assert by_row is not None
            metrics[name] = float(by_row.mean())
        return metrics

    def _metrics_of_order(self) -> dict[str, float]:
        """Each depends only on the order of the rows by a probability; every class needs a row.

        Of more than two classes, the area is the mean of those of each class against the rest.
        """
        if len(np.unique(self.true)) < max(2, len(self.names)):
            return {}
        if len(self.names) == 2:
            curve = self.roc_curve(1)
            return {"roc_auc": curve.area, "average_precision": curve.average_precision}
        areas = [self.roc_curve(index).area for index in range(len(self.names))]
        return {"roc_auc": float(np.mean(areas))}

    def roc_curve(self, index: int) -> RocCurve:
        """The curve is that of a class against the rest, by the probability of the class."""
        assert self.probabilities is not None
        return RocCurve.of_scores(self.true == index, self.probabilities[:, index])

    @property
    def macro_f1(self) -> float:
        """The mean F1 score is over the classes that occur in the labels or the predictions."""
        true, predicted, right = self._counts()
        occurs = true + predicted > 0
        return float((2 * right[occurs] / (true + predicted)[occurs]).mean())

    @property
    def recalls(self) -> list[tuple[str, float, int]]:
        """Each class has its recall and its number of rows; the lowest recall comes first."""
        true, _, right = self._counts()
        rows = zip(self.names, right.tolist(), true.tolist(), strict=True)
        recalls = [(name, count / of, of) for name, count, of in rows if of]
        return sorted(recalls, key=lambda recall: (recall[1], recall[0]))

    def _counts(self) -> list[NDArray[np.int64]]:
        """The rows are counted that are of a class, predicted as it, and both (n_classes,)."""
        parts = self.true, self.predicted, self.true[self.scores]
        return [np.bincount(part, minlength=len(self.names)) for part in parts]

    def summarise_classes(self, train_labels: Array) -> ClassSummary:
        """The largest class is that of the training rows, its share that of the test rows.

        train_labels: class indices (n_train_rows,).
        """
        largest = int(np.bincount(train_labels.astype(np.int64).ravel()).argmax())
        share = float((self.true == largest).mean())
        return ClassSummary(number=len(self.names), largest=self.names[largest], share=share)

    def _columns(self) -> dict[str, list[str]]:
        """The classes have their exact names."""
        columns = [[self.names[index] for index in part] for part in (self.true, self.predicted)]
        columns.append(_probability_texts(self.probability))
        named = dict(zip(CLASSES, columns, strict=True))
        if self.probabilities is not None:
            by_class = zip(self.names, self.probabilities.T, strict=True)
            named |= {f"{OF_CLASS}{name}": _probability_texts(values) for name, values in by_class}
        return named

    def _worst(self) -> NDArray[np.int64]:
        (wrong,) = np.nonzero(~self.scores)  # those with high probabilities first
        return wrong[np.argsort(-self.probability[wrong], kind="stable")]

    def _cells(self, row: int) -> dict[str, object]:
        return {
            "label": self.names[self.true[row]],
            "predicted": self.names[self.predicted[row]],
            "probability": float(self.probability[row]),
        }


def parse_predictions(table: bytes, names: Sequence[str] = ()) -> Predictions | None:
    """Read the text of a predictions.csv; None if it has other columns, or no rows.

    names: of the classes, in their order; others that the table names follow. A table with the
    probabilities of every class names all of them itself. Raises ValueError or csv.Error if the
    table is not what a run writes.
    """
    head, rows = parse_csv(table)
    named = [name for name in head if name in NAME_COLUMNS]
    own = head[1 + len(named) :]
    of_classes = [name for name in own if name.startswith(OF_CLASS)]
    if own not in (VALUES, [*CLASSES, *of_classes]) or head != ["row", *named, *own] or not rows:
        return None
    columns = dict(zip(head, map(list, zip(*rows, strict=True)), strict=True))
    row_names = {name: columns[name] for name in named}
    if own == VALUES:
        values = np.array([columns[name] for name in VALUES], np.float64)
        if not (np.abs(values) <= MAX_PLOTTABLE).all():
            raise ValueError(f"a value is not a number, or beyond {MAX_PLOTTABLE:g}")
        return PredictedValues(*values, row_names=row_names)
    true, predicted, probability = (columns[name] for name in CLASSES)
    occurring = {*true, *predicted}
    every = [name.removeprefix(OF_CLASS) for name in of_classes]
    if not every:
        every = list(dict.fromkeys([*names, *sorted(occurring)]))
    elif not occurring.issubset(every):
        raise ValueError("a class has no column of its probabilities")
    places = {name: place for place, name in enumerate(every)}
    labels, guesses = (np.array([places[name] for name in part]) for part in (true, predicted))
    probabilities = None
    if of_classes:
        probabilities = np.array([columns[name] for name in of_classes], np.float64).T
    return PredictedClasses(
        labels,
        guesses,
        np.array(probability, np.float64),
        every,
        row_names=row_names,
        probabilities=probabilities,
    )


def read_predictions(run: Run, names: Sequence[str] = ()) -> Predictions | None:
    """Read a run's saved predictions of its test set; None if the run kept none.

    names: as those of `parse_predictions`. Raises DataError if predictions.csv is damaged.
    """
    content = run.read_if_written(PREDICTIONS)
    try:
        return None if content is None else parse_predictions(content, names)
    except (ValueError, csv.Error) as error:
        raise DataError(f"{run.folder / PREDICTIONS}: not what a run writes: {error}") from None


def predictions_from_rows(
    rows: NDArray[np.float64] | None, labels: Sequence[str] | None, row_names: RowNames
) -> Predictions | None:
    """Rows of another kind, as photographs without labels, are no predictions.

    rows: of classes as `stack_classes` gives them, or true and predicted values (2, n_rows).
    """
    if rows is not None and len(rows) >= 3 and labels:
        true, predicted = rows[:2].astype(int)
        of_every_class = rows[3:].T if len(rows) == 3 + len(labels) else None
        return PredictedClasses(
            true, predicted, rows[2], labels, row_names=row_names, probabilities=of_every_class
        )
    if rows is None or len(rows) != 2:
        return None
    return PredictedValues(*rows, row_names=row_names)


def _probability_texts(values: NDArray[np.float64]) -> list[str]:
    return [f"{value:.9g}" for value in values.tolist()]


def _shortest_texts(values: NDArray[np.float64]) -> list[str]:
    """Each text has just the digits that identify its number in the precision that it has."""
    single = values.astype(np.float32)
    exact = single if (single == values).all() else values
    return [str(value).removesuffix(".0") for value in exact]
