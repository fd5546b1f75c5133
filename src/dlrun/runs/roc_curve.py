"""Count the true and the false positives at each threshold of a score: ROC curve and precision.

scikit-learn has the same numbers. Its import takes a second and 120 MB, in a run of a network on
texts or images a fifth of the whole (tests/runs/test_roc_curve.py compares the two).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]  # (n_thresholds + 1,): from no row to all rows above the threshold


@dataclass(frozen=True)
class RocCurve:
    """Holds how many rows of a class, and how many others, are above each threshold of a score."""

    true_positives: Counts
    false_positives: Counts

    @classmethod
    def of_scores(cls, is_of_class: NDArray[np.bool_], scores: NDArray[np.float64]) -> Self:
        """Take each score (n_rows,) as a threshold; both kinds of rows are needed."""
        order = np.argsort(-scores, kind="stable")
        # Rows of equal score are above a threshold together.
        is_last_of_equal = np.append(np.diff(scores[order]) != 0, True)
        (places,) = is_last_of_equal.nonzero()
        true_positives = np.cumsum(is_of_class[order])[places]
        false_positives = places + 1 - true_positives
        return cls(np.append(0, true_positives), np.append(0, false_positives))

    @property
    def rates(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The false and the true positive rate of each threshold."""
        of_others = self.false_positives / self.false_positives[-1]
        of_class = self.true_positives / self.true_positives[-1]
        return of_others, of_class

    @property
    def area(self) -> float:
        """The area is the chance that a row of the class has a higher score than another row."""
        false_positive_rate, true_positive_rate = self.rates
        heights = (true_positive_rate[1:] + true_positive_rate[:-1]) / 2
        return float((np.diff(false_positive_rate) * heights).sum())

    @property
    def average_precision(self) -> float:
        """The mean of the precision at each threshold, weighted by the rows of the class there."""
        positives = self.true_positives + self.false_positives
        precision = self.true_positives[1:] / positives[1:]
        return float((np.diff(self.true_positives) * precision).sum() / self.true_positives[-1])
