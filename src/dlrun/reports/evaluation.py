"""Evaluation of a run's test predictions: confusion, calibration, area under the ROC curve."""

import base64
import io
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from PIL import Image

from dlrun.errors import DataError
from dlrun.reports.charts import Chart, Level, Line

MATRIX_CLASSES = 12  # whose counts have room on a phone, scrolled
HEAT_MAP_CLASSES = 200  # for which the matrix is a picture; its size is quadratic
PAIRS = 10
BINS = 20


class Bin(NamedTuple):
    """Predictions of about the same probability: how many, its mean, the share that is right."""

    rows: int
    probability: float
    accuracy: float


@dataclass(frozen=True)
class Evaluation:
    """What the predictions of a test set say."""

    classes: list[str]
    rows: int
    correct: int
    matrix: list[list[int]] | None  # counts [label][predicted] of a few classes
    picture: str | None  # the matrix of more classes as a data URI; None of very many
    pairs: list[tuple[str, str, int]]  # the commonest mistakes: label, predicted class, rows
    recalls: list[tuple[str, float, int]]  # class, share recognised, rows; lowest share first
    bins: list[Bin]
    error: float  # expected calibration error of the predicted class's probability
    auroc: float | None  # area under the ROC curve; None unless there are two classes

    @property
    def calibration(self) -> Chart:
        """Return the chart of accuracy by predicted probability; a diagonal means calibrated."""
        x = [one.probability for one in self.bins]
        return Chart(
            "calibration",
            "probability of the predicted class",
            "share right",
            [
                Line("calibrated", x, x, "ideal"),
                Line("this run", x, [one.accuracy for one in self.bins], "other"),
            ],
            [Level("all rows", self.correct / self.rows, "test")],
        )


def evaluate(table: Sequence[Sequence[str]], labels: Sequence[str]) -> Evaluation:
    """Evaluate the rows of a predictions.csv: row, label, predicted class, its probability.

    `labels` gives the order of the classes; those that no row names are left out. Raises DataError
    if the rows are not what a run writes. (scikit-learn has all of this, and takes a second to be
    imported.)
    """
    try:
        probabilities = [float(row[3]) for row in table]
    except ValueError as error:
        raise DataError(f"a probability is not a number: {error}") from None
    if not all(0 <= one <= 1 for one in probabilities):
        raise DataError("a probability is not between 0 and 1")
    counts = Counter((row[1], row[2]) for row in table)
    named = {name for pair in counts for name in pair}
    classes = [one for one in labels if one in named]
    classes += sorted(named.difference(classes))
    matrix = None
    if len(classes) <= HEAT_MAP_CLASSES:
        matrix = [[counts[label, predicted] for predicted in classes] for label in classes]
    is_small = len(classes) <= MATRIX_CLASSES
    right = [row[1] == row[2] for row in table]
    bins = _bins(probabilities, right)
    wrong = Counter({pair: rows for pair, rows in counts.items() if pair[0] != pair[1]})
    rows_of = Counter(row[1] for row in table)
    recalls = [(name, counts[name, name] / rows, rows) for name, rows in rows_of.items()]
    return Evaluation(
        classes=classes,
        rows=len(table),
        correct=sum(right),
        matrix=matrix if is_small else None,
        picture=_heat_map(matrix) if matrix and not is_small else None,
        pairs=[(*pair, rows) for pair, rows in wrong.most_common(PAIRS)],
        recalls=sorted(recalls, key=lambda one: one[1])[:HEAT_MAP_CLASSES],
        bins=bins,
        error=sum(one.rows * abs(one.accuracy - one.probability) for one in bins) / len(table),
        auroc=_auroc(table, probabilities, classes[1]) if len(classes) == 2 else None,
    )


def _bins(probabilities: Sequence[float], right: Sequence[bool]) -> list[Bin]:
    """Group predictions by probability: n / BINS <= p < (n + 1) / BINS; the last one holds 1."""
    groups = defaultdict(list)
    for pair in zip(probabilities, right, strict=True):
        groups[min(int(pair[0] * BINS), BINS - 1)].append(pair)
    return [
        Bin(len(group), fmean(one for one, _ in group), fmean(one for _, one in group))
        for _, group in sorted(groups.items())
    ]


def _auroc(
    table: Sequence[Sequence[str]], probabilities: Sequence[float], positive: str
) -> float | None:
    """Return how often a positive row has a higher score than another; a tie counts as a half.

    None if all rows are of one class.
    """
    scores: dict[bool, list[float]] = {True: [], False: []}
    for row, probability in zip(table, probabilities, strict=True):
        score = probability if row[2] == positive else 1 - probability
        scores[row[1] == positive].append(score)
    others = sorted(scores[False])
    wins = sum(bisect_left(others, one) + bisect_right(others, one) for one in scores[True]) / 2
    pairs = len(others) * len(scores[True])
    return wins / pairs if pairs else None


def _heat_map(matrix: Sequence[Sequence[int]]) -> str:
    """Return a confusion matrix as a picture, with a pixel for each pair of classes.

    A pixel is the darker the larger its share of the row; a share of a hundredth is visible.
    """
    pixels = bytearray()
    for row in matrix:
        total = max(1, sum(row))
        # Sixteen shades: a hundred noisy classes take 5 kB.
        pixels += bytes(17 * round(15 * (1 - (count / total) ** 0.5)) for count in row)
    picture = Image.frombytes("L", (len(matrix), len(matrix)), bytes(pixels))
    return data_uri(picture, "PNG", optimize=True)


def data_uri(picture: Image.Image, kind: str, **options: int) -> str:
    """Return a picture as a data URI of a kind, PNG or JPEG."""
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"
