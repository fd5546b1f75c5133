"""Evaluation of a run's test predictions: confusion, calibration, area under the ROC curve."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from dlrun.errors import DataError
from dlrun.reports.charts import Chart, Level, Line
from dlrun.reports.images import heat_map

MATRIX_CLASSES = 12  # whose counts have room on a phone, scrolled
HEAT_MAP_CLASSES = 200  # for which the matrix is a picture; its size is quadratic
PAIRS = 10
BINS = 20


@dataclass(frozen=True)
class Bin:
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
        lines = [
            Line("calibrated", x, x, "ideal"),
            Line("this run", x, [one.accuracy for one in self.bins], "other"),
        ]
        mean = Level("all rows", self.correct / self.rows, "test")
        return Chart(
            "calibration", "probability of the predicted class", "share right", lines, [mean]
        )


def evaluate(table: Sequence[Sequence[str]], labels: Sequence[str]) -> Evaluation:
    """Evaluate the rows of a predictions.csv: row, label, predicted class, its probability.

    `labels` gives the order of the classes; those that no row names are left out. Raises DataError
    if the rows are not what a run writes. (scikit-learn has all of this, and takes a second to be
    imported.)
    """
    if not table:
        raise DataError("no row: nothing to evaluate")
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
        picture=heat_map(matrix) if matrix and not is_small else None,
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

    Computed from the sum of the ranks (Mann and Whitney, 1947). None if all rows are of one class.
    """
    scores = [
        one if row[2] == positive else 1 - one
        for row, one in zip(table, probabilities, strict=True)
    ]
    ties = Counter(scores)
    ranks, last = {}, 0
    for score in sorted(ties):
        ranks[score] = last + (ties[score] + 1) / 2  # the mean rank of equal scores
        last += ties[score]
    ranks_of_positive = [
        ranks[score] for row, score in zip(table, scores, strict=True) if row[1] == positive
    ]
    ones = len(ranks_of_positive)
    if ones in (0, len(table)):
        return None
    return (sum(ranks_of_positive) - ones * (ones + 1) / 2) / (ones * (len(table) - ones))
