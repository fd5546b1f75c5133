"""Classify by lasso logistic regressions of one penalty, one for each class against the rest.

Two classes need one regression, that of the second class.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import expit, log_expit, softmax

from dlrun.lasso.logistic_lasso import Labels, LinearModel

Logits = NDArray[np.float64]  # (n_rows, n_regressions)


def count_regressions(n_classes: int) -> int:
    return 1 if n_classes == 2 else n_classes


def labels_of_regressions(labels: Labels, n_classes: int) -> list[Labels]:
    """Make the labels of each regression, 0 or 1 (n_rows,), from class indices (n_rows,)."""
    if count_regressions(n_classes) == 1:
        return [labels]
    return [(labels == index).astype(np.int8) for index in range(n_classes)]


def compute_logits(regressions: Sequence[LinearModel], X: sparse.csr_matrix) -> Logits:
    return np.stack([regression.logits(X) for regression in regressions], axis=1)


def predict_classes(logits: Logits) -> NDArray[np.int64]:
    """Predict the index of each row's class, (n_rows,)."""
    if logits.shape[1] == 1:
        return (logits[:, 0] > 0).astype(np.int64)
    largest: NDArray[np.int64] = logits.argmax(axis=1)
    return largest


def class_logits(logits: Logits) -> NDArray[np.float64]:
    """Return the logit of each class in its own regression, (n_rows, n_classes)."""
    return np.hstack([-logits, logits]) if logits.shape[1] == 1 else logits


def class_probabilities(logits: Logits) -> NDArray[np.float64]:
    """Compute the regressions' probabilities, divided by their sum: (n_rows, n_classes)."""
    if logits.shape[1] == 1:
        both: NDArray[np.float64] = expit(class_logits(logits))
        return both
    # This is expit(logits) / expit(logits).sum(), but never 0 / 0.
    normalised: NDArray[np.float64] = softmax(log_expit(logits), axis=1)
    return normalised
