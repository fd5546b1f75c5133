"""What a run's predictions for its test set say: confusion, calibration, area under the curve."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dlrun.errors import DataError
from dlrun.workbench.report.charts import Chart, Level, Line
from dlrun.workbench.report.pictures import heat_map

if TYPE_CHECKING:
    import torch

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
    pairs: label, predicted, how often; the commonest mistakes. worst: the classes that were
    recognised least: class, share, rows. error: expected calibration error, of the probability of
    what was predicted. auroc: of two classes.
    """

    classes: list[str]
    rows: int
    correct: int
    matrix: list[list[int]] | None
    picture: str | None
    pairs: list[tuple[str, str, int]]
    worst: list[tuple[str, float, int]]
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
    import torch
    from torchmetrics.functional import classification  # slow

    if not table:
        raise DataError("no row: nothing to evaluate")
    named = {row[place] for row in table for place in (1, 2)}
    classes = [one for one in labels if one in named]
    classes += sorted(named.difference(classes))
    ids = {name: place for place, name in enumerate(classes)}
    label = torch.tensor([ids[row[1]] for row in table])
    predicted = torch.tensor([ids[row[2]] for row in table])
    try:
        probability = torch.tensor([float(row[3]) for row in table], dtype=torch.float64)
    except ValueError as error:
        raise DataError(f"a probability is no number: {error}") from None
    if not bool(((probability >= 0) & (probability <= 1)).all()):
        raise DataError("a probability is not between 0 and 1")
    right = label == predicted
    calibration = classification.binary_calibration_error(probability, right.long(), n_bins=BINS)
    auroc = None
    if len(classes) == 2 and 0 < int(label.sum()) < len(table):
        of_second = torch.where(predicted == 1, probability, 1 - probability)
        auroc = float(classification.binary_auroc(of_second, label))
    matrix = None
    if len(classes) <= PICTURED:
        number = max(2, len(classes))
        counts = classification.multiclass_confusion_matrix(predicted, label, number)
        matrix = counts[: len(classes), : len(classes)].tolist()
    few = len(classes) <= SHOWN
    return Evaluation(
        classes=classes,
        rows=len(table),
        correct=int(right.sum()),
        matrix=matrix if few else None,
        picture=heat_map(matrix) if matrix and not few else None,
        pairs=_pairs(table),
        worst=[] if few else _worst(table),
        bins=_bins(probability, right),
        error=float(calibration),
        auroc=auroc,
    )


def _pairs(table: Sequence[Sequence[str]]) -> list[tuple[str, str, int]]:
    wrong = Counter((row[1], row[2]) for row in table if row[1] != row[2])
    return [(label, predicted, rows) for (label, predicted), rows in wrong.most_common(PAIRS)]


def _worst(table: Sequence[Sequence[str]]) -> list[tuple[str, float, int]]:
    rows = Counter(row[1] for row in table)
    right = Counter(row[1] for row in table if row[1] == row[2])
    found = [(name, right[name] / rows[name], rows[name]) for name in rows]
    return sorted(found, key=lambda one: one[1])[:PAIRS]


def _bins(probability: "torch.Tensor", right: "torch.Tensor") -> list[Bin]:
    """Those of torchmetrics' calibration error: n / BINS <= probability < (n + 1) / BINS."""
    places = (probability * BINS).floor().clamp(max=BINS - 1).long()
    found = []
    for place in sorted(set(places.tolist())):
        there = places == place
        found.append(
            Bin(
                int(there.sum()),
                float(probability[there].mean()),
                float(right[there].double().mean()),
            )
        )
    return found
