"""L1-penalised logistic regression over a path of penalties (ISLP 10.9.5).

The objective at a penalty lambda, with s = 2 y - 1 and f = X w + b, is liblinear's at C = 1/lambda:

    sum_i log(1 + exp(-s_i f_i)) + lambda (|w|_1 + |b|)

It penalises the intercept too, as the lab does.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Solution:
    """The coefficients at one penalty: coef (n_features,), intercept a number."""

    penalty: float
    coef: Vector
    intercept: float

    def decision(self, X: sparse.csr_matrix) -> Vector:
        """The linear predictor of each row, (n_samples,)."""
        values: Vector = X @ self.coef + self.intercept
        return values


class PathSolver(Protocol):
    """Solves the path, one solution at a time, in the order of the penalties."""

    def __call__(
        self, X: sparse.csr_matrix, y: NDArray[np.int8], penalties: Vector
    ) -> Iterator[Solution]:
        """X: (n_samples, n_features); y: 0 or 1, (n_samples,); penalties: descending."""


def penalty_path(X: sparse.csr_matrix, y: NDArray[np.int8], values: int, smallest: float) -> Vector:
    """Log-spaced penalties from max |X'(y - mean(y))| down to `smallest` of it, (values,)."""
    largest = float(np.abs(X.T @ (y - y.mean())).max())
    return np.geomspace(largest, smallest * largest, values)


def objective(X: sparse.csr_matrix, y: NDArray[np.int8], solution: Solution) -> float:
    """The objective at a solution, summed over the rows."""
    margins = np.where(y == 1, 1.0, -1.0) * solution.decision(X)
    penalised = np.abs(solution.coef).sum() + abs(solution.intercept)
    return float(np.logaddexp(0, -margins).sum() + solution.penalty * penalised)


@dataclass(frozen=True)
class Liblinear:
    """scikit-learn's liblinear, each penalty from zero (a warm start does nothing there)."""

    tolerance: float
    max_iterations: int
    seed: int

    def __call__(
        self, X: sparse.csr_matrix, y: NDArray[np.int8], penalties: Vector
    ) -> Iterator[Solution]:
        """Solve the path."""
        from sklearn.linear_model import LogisticRegression  # slow: 1 s

        X64 = X.astype(np.float64)  # liblinear's own type: converted once, not at every penalty
        for penalty in penalties:
            model = LogisticRegression(
                l1_ratio=1,
                C=1 / penalty,
                solver="liblinear",
                tol=self.tolerance,
                max_iter=self.max_iterations,
                random_state=self.seed,
            )
            model.fit(X64, y)
            yield Solution(float(penalty), model.coef_[0], float(model.intercept_[0]))
