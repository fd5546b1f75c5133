"""What a run's predictions for its test set say: confusion, calibration, area under the curve."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dlrun.errors import DataError
from dlrun.reports.charts import Chart, Level, Line
from dlrun.reports.images import heat_map

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

COLUMNS = ["row", "label", "predicted", "probability"]
SHOWN = 12  # classes whose counts have room on a phone, scrolled; of more a picture
PICTURED = 200  # classes whose picture can be told apart; its matrix is quadratic
PAIRS = 10
BINS = 20


@dataclass(frozen=True)
class Bin:
    """Predictions of about the same probability: how many, the mean of it, the share right."""

    rows: int
    probability: float
    accuracy: float


@dataclass(frozen=True)
class Evaluation:
    """Of a classification.

    matrix: counts [label][predicted] of a few classes; of more None, and `picture`, a data URI; of
    very many neither.
    pairs: label, predicted, how often; the commonest mistakes. recalls: class, share of its rows
    that were recognised, rows; the least recognised first, at most PICTURED. error: expected
    calibration error, of the probability of what was predicted. auroc: of two classes.
    """

    classes: list[str]
    rows: int
    correct: int
    matrix: list[list[int]] | None
    picture: str | None
    pairs: list[tuple[str, str, int]]
    recalls: list[tuple[str, float, int]]
    bins: list[Bin]
    error: float
    auroc: float | None

    @property
    def calibration(self) -> Chart:
        """How often right, by how sure; a calibrated network's is the diagonal."""
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
    """Evaluate the rows of a predictions.csv.

    Args:
        table: rows of COLUMNS.
        labels: the classes in their order; those that no row names are left out.

    Raises DataError where the rows are not what a run writes.
    """
    import numpy as np  # torchmetrics has all of this, and takes three seconds to be imported

    if not table:
        raise DataError("no row: nothing to evaluate")
    named = {row[place] for row in table for place in (1, 2)}
    classes = [one for one in labels if one in named]
    classes += sorted(named.difference(classes))
    ids = {name: place for place, name in enumerate(classes)}
    label = np.array([ids[row[1]] for row in table])
    predicted = np.array([ids[row[2]] for row in table])
    try:
        probability = np.array([float(row[3]) for row in table])
    except ValueError as error:
        raise DataError(f"a probability is no number: {error}") from None
    if not ((probability >= 0) & (probability <= 1)).all():
        raise DataError("a probability is not between 0 and 1")
    right = label == predicted
    bins = _bins(probability, right)
    auroc = None
    if len(classes) == 2 and 0 < label.sum() < len(table):
        auroc = _auroc(np.where(predicted == 1, probability, 1 - probability), label == 1)
    matrix = None
    if (number := len(classes)) <= PICTURED:
        counts = np.bincount(label * number + predicted, minlength=number * number)
        matrix = counts.reshape(number, number).tolist()
    few = len(classes) <= SHOWN
    return Evaluation(
        classes=classes,
        rows=len(table),
        correct=int(right.sum()),
        matrix=matrix if few else None,
        picture=heat_map(matrix) if matrix and not few else None,
        pairs=_pairs(table),
        recalls=_recalls(table),
        bins=bins,
        error=sum(one.rows * abs(one.accuracy - one.probability) for one in bins) / len(table),
        auroc=auroc,
    )


def _pairs(table: Sequence[Sequence[str]]) -> list[tuple[str, str, int]]:
    wrong = Counter((row[1], row[2]) for row in table if row[1] != row[2])
    return [(label, predicted, rows) for (label, predicted), rows in wrong.most_common(PAIRS)]


def _recalls(table: Sequence[Sequence[str]]) -> list[tuple[str, float, int]]:
    rows = Counter(row[1] for row in table)
    right = Counter(row[1] for row in table if row[1] == row[2])
    found = [(name, right[name] / rows[name], rows[name]) for name in rows]
    return sorted(found, key=lambda one: one[1])[:PICTURED]


def _bins(probability: "NDArray[np.float64]", right: "NDArray[np.bool_]") -> list[Bin]:
    """By the probability: n / BINS <= probability < (n + 1) / BINS; the last one holds 1 too."""
    import numpy as np

    places = np.minimum(probability * BINS, BINS - 1).astype(int)
    found = []
    for place in np.unique(places):
        there = places == place
        mean, share = float(probability[there].mean()), float(right[there].mean())
        found.append(Bin(int(there.sum()), mean, share))
    return found


def _auroc(score: "NDArray[np.float64]", positive: "NDArray[np.bool_]") -> float:
    """How often a positive row has the higher score than another one; a tie is half a time.

    By the sum of the ranks, as Mann and Whitney (1947).
    """
    import numpy as np

    _, places, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    ones = int(positive.sum())
    least = ones * (ones + 1) / 2
    return float((ranks[positive].sum() - least) / (ones * (len(score) - ones)))
