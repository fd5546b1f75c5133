"""Evaluate a run's test predictions: confusion matrix, calibration, recall; or residuals.

Also compare them with those of a baseline run, row by row.
"""

import base64
import csv
import io
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from operator import eq
from statistics import fmean, median
from typing import NamedTuple

from PIL import Image

from dlrun.errors import ConfigError, DataError, DlrunError
from dlrun.experiments.saved_run import Run
from dlrun.reports.charts import Chart, ChartCurve, ReferenceLine
from dlrun.reports.spread import PairedComparison, compare_pairs
from dlrun.run_folder.folder import PREDICTIONS
from dlrun.run_folder.record import ACCURACY
from dlrun.run_folder.recorded_metrics import score_classes

MATRIX_CLASSES = 12  # up to which the confusion matrix is a table; it fits a phone, scrolled
HEAT_MAP_CLASSES = 200  # up to which it is a picture, whose size is quadratic
PAIRS = 10
BINS = 20
MAE = "test_mae"
CLASSES, VALUES = "row,label,predicted,", "row,target,predicted\n"  # how predictions.csv begins
DOTS = 500  # rows in the chart of a regression: at most 7 kB


class CalibrationBin(NamedTuple):
    """Holds the number, mean probability and accuracy of predictions with similar probability."""

    rows: int
    probability: float
    accuracy: float


@dataclass(frozen=True)
class PredictionEvaluation:
    """Holds the evaluation of a classifier's predictions on its test set."""

    classes: list[str]
    rows: int
    correct: int
    matrix: list[list[int]] | None  # counts [label][predicted] of a few classes
    picture: str | None  # the matrix of more classes as a data URI; None of very many
    pairs: list[tuple[str, str, int]]  # the commonest mistakes: label, predicted class, rows
    recalls: list[tuple[str, float, int]]  # class, share recognised, rows; lowest share first
    bins: list[CalibrationBin]
    error: float  # expected calibration error of the predicted class's probability
    auroc: float | None  # area under the ROC curve; None unless there are two classes

    @property
    def calibration(self) -> Chart:
        """Return the calibration chart: accuracy by predicted probability, ideally the diagonal."""
        x = [one.probability for one in self.bins]
        return Chart(
            "calibration",
            "probability of the predicted class",
            "share right",
            [
                ChartCurve("calibrated", x, x, "ideal"),
                ChartCurve("this run", x, [one.accuracy for one in self.bins], "other"),
            ],
            [ReferenceLine("all rows", self.correct / self.rows, "test")],
        )


@dataclass(frozen=True)
class ResidualEvaluation:
    """Holds the evaluation of the values that a regression predicts for its test set."""

    rows: int
    mae: float
    r2: float  # NaN of a single row
    median: float  # median of the absolute residuals
    bias: float  # mean of predicted minus true values
    chart: Chart


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
    return ResidualEvaluation(
        rows=len(found),
        mae=found.mae,
        r2=found.r2,
        median=median(abs(residuals).tolist()),
        bias=float(residuals.mean()),
        chart=chart,
    )


def evaluate_predictions(
    table: Sequence[Sequence[str]], labels: Sequence[str]
) -> PredictionEvaluation:
    """Evaluate the rows of a predictions.csv: row, label, predicted class, and its probability.

    `labels` gives the order of the classes; classes that no row names are left out. Raises
    DataError if a probability is invalid. (scikit-learn can do all of this, but takes a second to
    import.)
    """
    _, true, predictions, texts = zip(*table, strict=True)
    try:
        probabilities = [*map(float, texts)]
    except ValueError as error:
        raise DataError(f"a probability is not a number: {error}") from None
    if not all(0 <= one <= 1 for one in probabilities):
        raise DataError("a probability is not between 0 and 1")
    counts = Counter(zip(true, predictions, strict=True))
    named = {name for pair in counts for name in pair}
    classes = [one for one in labels if one in named]
    classes += sorted(named.difference(classes))
    matrix = None
    if len(classes) <= HEAT_MAP_CLASSES:
        matrix = [[counts[label, predicted] for predicted in classes] for label in classes]
    is_small = len(classes) <= MATRIX_CLASSES
    right = [*map(eq, true, predictions)]
    bins = _bins(probabilities, right)
    wrong = Counter({pair: rows for pair, rows in counts.items() if pair[0] != pair[1]})
    scores = score_classes(counts).items()
    recalls = [(name, one.recall, one.rows) for name, one in scores if one.recall is not None]
    auroc = None
    if len(classes) == 2:
        auroc = _auroc(true, predictions, probabilities, classes[1])
    return PredictionEvaluation(
        classes=classes,
        rows=len(table),
        correct=sum(right),
        matrix=matrix if is_small else None,
        picture=_heat_map(matrix) if matrix and not is_small else None,
        pairs=[(*pair, rows) for pair, rows in wrong.most_common(PAIRS)],
        recalls=sorted(recalls, key=lambda one: one[1])[:HEAT_MAP_CLASSES],
        bins=bins,
        error=sum(one.rows * abs(one.accuracy - one.probability) for one in bins) / len(table),
        auroc=auroc,
    )


def _bins(probabilities: Sequence[float], right: Sequence[bool]) -> list[CalibrationBin]:
    """Group predictions into BINS equal intervals of probability; the last one includes 1."""
    groups: defaultdict[int, list[float]] = defaultdict(list)
    hits = Counter[int]()
    for probability, is_right in zip(probabilities, right, strict=True):
        place = int(probability * BINS) if probability < 1 else BINS - 1
        groups[place].append(probability)
        hits[place] += is_right
    return [
        CalibrationBin(len(group), fmean(group), hits[place] / len(group))
        for place, group in sorted(groups.items())
    ]


def _auroc(
    true: Sequence[str], predictions: Sequence[str], probabilities: Sequence[float], positive: str
) -> float | None:
    """Return the area under the ROC curve; None if all rows are of one class.

    It is how often a positive row has a higher score than a negative one; a tie counts half.
    """
    scores: dict[bool, list[float]] = {True: [], False: []}
    for label, predicted, probability in zip(true, predictions, probabilities, strict=True):
        scores[label == positive].append(probability if predicted == positive else 1 - probability)
    others = sorted(scores[False])
    wins = sum(bisect_left(others, one) + bisect_right(others, one) for one in scores[True]) / 2
    pairs = len(others) * len(scores[True])
    return wins / pairs if pairs else None


def _heat_map(matrix: Sequence[Sequence[int]]) -> str:
    """Return a confusion matrix as a picture (a data URI), with a pixel for each pair of classes.

    The larger its share of the row, the darker a pixel; a share of 1 % is visible.
    """
    pixels = bytearray()
    for row in matrix:
        total = max(1, sum(row))
        # Sixteen shades: a hundred noisy classes take 5 kB.
        pixels += bytes(17 * round(15 * (1 - (count / total) ** 0.5)) for count in row)
    picture = Image.frombytes("L", (len(matrix), len(matrix)), bytes(pixels))
    return picture_data_uri(picture, "PNG", optimize=True)


def picture_data_uri(picture: Image.Image, kind: str, **options: int) -> str:
    """Return the bytes of a picture as a data URI; `kind` is the format, PNG or JPEG."""
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"


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


@dataclass(frozen=True)
class RowScores:
    """Holds what is true of each row of a run's test set, and how well it was predicted.

    metric: test_accuracy or test_mae, which is the mean of the scores.
    true: the class or the value of each row.
    scores: for each row whether its class is right, or the absolute error.
    near: how far true values of the same row can be apart, because of rounding.
    """

    metric: str
    true: Sequence[str | float]
    scores: Sequence[float]
    near: float = 0.0

    @classmethod
    def of_run(cls, run: Run) -> "RowScores":
        """Return the scores of a run's test rows, from its predictions.csv.

        Raises ConfigError if it wrote none, DataError if they are damaged, DlrunError if it has no
        result yet.
        """
        content = run.read_if_written(PREDICTIONS) or b""
        try:
            if content.startswith(VALUES.encode()):
                from dlrun.experiments.predictions import TrueAndPredictedValues  # slow: scipy

                table = TrueAndPredictedValues.of_table(content)
                errors = abs(table.targets - table.predicted).tolist()
                return cls(MAE, table.targets.tolist(), errors, table.near)
            if rows := csv_rows(content, CLASSES):
                _, true, predicted, *_ = zip(*rows, strict=True)
                return cls(ACCURACY, true, [*map(eq, true, predicted)])
        except (ValueError, csv.Error) as error:
            problem = f"{run.folder / PREDICTIONS}: not what a run writes: {error}"
            raise DataError(problem) from None
        if run.state != "finished":
            run.check_has_result()
        raise ConfigError(f"{run.name} kept no predictions of a test set")

    def has_same_rows(self, other: "RowScores") -> bool:
        """Return whether the true classes or values of two test sets are the same, row by row."""
        if self.metric != other.metric or len(self.true) != len(other.true):
            return False
        if self.metric == ACCURACY:
            return self.true == other.true
        pairs = zip(map(float, self.true), map(float, other.true), strict=True)
        return all(abs(value - another) <= self.near for value, another in pairs)


def compare_with_baseline(runs: Sequence[Run], baseline: Run) -> list[PairedComparison | str]:
    """Return each run's difference to the baseline, or a text that says why it has none.

    Two runs can be compared if they have the same data and the same true value in each test row.
    Raises DlrunError if the baseline itself has no predictions.
    """
    theirs = RowScores.of_run(baseline)
    compared: list[PairedComparison | str] = []
    for run in runs:
        try:
            own = RowScores.of_run(run)
        except ConfigError:
            compared.append("no predictions of a test set")
        except DlrunError as error:
            compared.append(error.message)
        else:
            if run.record.data != baseline.record.data:
                compared.append(f"other data: {run.record.data}")
            elif not own.has_same_rows(theirs):
                compared.append("other test rows")
            else:
                compared.append(compare_pairs(own.metric, own.scores, theirs.scores))
    return compared
