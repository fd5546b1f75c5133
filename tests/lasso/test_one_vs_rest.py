"""Several classes by lassos: scikit-learn's one-vs-rest of liblinear, and two classes by one."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from dlrun.lasso.logistic_lasso import log_spaced_penalties
from dlrun.lasso.newton import csr_to_columns, solve_newton_path
from dlrun.lasso.one_vs_rest import (
    class_probabilities,
    compute_logits,
    labels_of_regressions,
    predict_classes,
)


def bags(classes: int, n: int = 300, p: int = 30) -> tuple[csr_matrix, NDArray[np.int64]]:
    random = np.random.default_rng(classes)
    X = (random.random((n, p)) < 0.3).astype(np.float32)
    return csr_matrix(X), (X[:, :classes] + random.gumbel(0, 0.3, (n, classes))).argmax(1)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_probabilities_are_those_of_scikit_learn(classes: int) -> None:
    X, y = bags(classes)
    labels = labels_of_regressions(y, classes)
    assert len(labels) == (1 if classes == 2 else classes)
    penalties = log_spaced_penalties(X, labels, 6, 1e-2)
    columns = csr_to_columns(X)
    paths = [solve_newton_path(columns, one, penalties, 1e-12) for one in labels]
    for penalty, fit in zip(penalties, zip(*paths, strict=True), strict=True):
        C = 1 / penalty
        solver = LogisticRegression(
            l1_ratio=1, C=C, solver="liblinear", tol=1e-9, max_iter=2000, random_state=0
        )
        expected = OneVsRestClassifier(solver).fit(X, y).predict_proba(X)
        logits = compute_logits(fit, X)
        np.testing.assert_allclose(class_probabilities(logits), expected, atol=1e-4)
        assert np.array_equal(predict_classes(logits), class_probabilities(logits).argmax(1))


def test_logits_of_any_size_have_probabilities() -> None:
    logits = np.array([[-900.0, -1000, -1100], [900, 1000, 800], [-1000, 0, 1000]])
    probabilities = class_probabilities(logits)
    assert probabilities.sum(1) == pytest.approx(1)
    assert predict_classes(logits).tolist() == [0, 1, 2]
