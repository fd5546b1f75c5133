"""The problem: L1-penalised logistic regression over a path of penalties (ISLP 10.9.5).

At a penalty lambda, with s = 2 y - 1 and f = X w + b, the objective is liblinear's at C = 1/lambda,

    sum_i log(1 + exp(-s_i f_i)) + lambda (|w|_1 + |b|)

in nats, summed over the rows. The lab's liblinear penalises the intercept b; `free` drops |b|.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import entr, expit

Vector = NDArray[np.float64]
Labels = NDArray[Any]
Intercept = Literal["penalised", "free"]


@dataclass(frozen=True)
class Solution:
    """A solution of the problem at one penalty."""

    penalty: float
    coef: Vector  # (n_features,)
    intercept: float
    objective: float
    duality_gap: float  # objective - duality_gap bounds the optimum from below

    def decision(self, X: sparse.csr_matrix) -> Vector:
        """Return the linear predictor of each row, (n_rows,)."""
        values: Vector = X @ self.coef + self.intercept
        return values


@dataclass(frozen=True)
class Split:
    """Bags of words, binary CSR (n_reviews, width), and their labels, 0 or 1 (n_reviews,)."""

    bags: Any
    labels: Any

    @property
    def arrays(self) -> tuple[Any, ...]:
        """All that it holds."""
        return self.bags.indices, self.bags.indptr, self.labels


def metrics_row(
    solution: Solution, splits: Mapping[str, Split], seconds: float
) -> dict[str, float]:
    """A solution's row of metrics.csv."""
    accuracies = {
        f"{part}_accuracy": float(np.mean((solution.decision(split.bags) > 0) == split.labels))
        for part, split in splits.items()
    }
    return {
        "lambda": solution.penalty,
        **accuracies,
        "nonzero": int(np.count_nonzero(solution.coef)),
        "objective": solution.objective,
        "seconds": seconds,
        "duality_gap": solution.duality_gap,
    }


class PathSolver(Protocol):
    """A solver of the path: one solution at a time, in the order of the penalties."""

    def __call__(
        self, X: sparse.csr_matrix, y: Labels, penalties: Vector, start: Solution | None = None
    ) -> Iterator[Solution]:
        """Yield the solution at each penalty.

        X: binary (n_rows, n_features); y: 0 or 1, (n_rows,); penalties: descending.

        `start` is the solution at the penalty before the first, of a path that was interrupted.
        """


def penalty_path(X: sparse.csr_matrix, y: Labels, values: int, smallest: float) -> Vector:
    """Return `values` log-spaced penalties from max |X'(y - mean(y))| to `smallest` of it."""
    largest = float(np.abs(X.T @ (y - y.mean())).max())
    return np.geomspace(largest, smallest * largest, values)


@dataclass(frozen=True)
class Liblinear:
    """The lab's solver, scikit-learn's liblinear: each penalty from zero, without a warm start."""

    tolerance: float
    max_iterations: int
    seed: int

    def __call__(
        self, X: sparse.csr_matrix, y: Labels, penalties: Vector, start: Solution | None = None
    ) -> Iterator[Solution]:
        """Yield the solution at each penalty; the intercept is penalised, `start` is not needed."""
        from sklearn.linear_model import LogisticRegression  # slow: 1 s

        X64 = X.astype(np.float64)  # liblinear's own type: converted once, not at every penalty
        for penalty in map(float, penalties):
            model = LogisticRegression(
                l1_ratio=1,
                C=1 / penalty,
                solver="liblinear",
                tol=self.tolerance,
                max_iter=self.max_iterations,
                random_state=self.seed,
            )
            model.fit(X64, y)
            coef, intercept = model.coef_[0], float(model.intercept_[0])
            value, gap = evaluate(X, y, coef, intercept, penalty)
            yield Solution(penalty, coef, intercept, value, gap)


def evaluate(
    X: sparse.csr_matrix,
    y: Labels,
    coef: Vector,
    bias: float,
    penalty: float,
    *,
    intercept: Intercept = "penalised",
) -> tuple[float, float]:
    """Return the objective of any solver's `coef` and `bias`, and a duality gap, both in nats.

    The gap is how far, at most, the objective is above the optimum. Its dual point is the residual
    p - y, scaled until no column exceeds the penalty (Ndiaye et al. 2017, arXiv:1611.05780); with a
    free intercept it is first moved to sum to zero.
    """
    labels, free = checked_labels(X, y), is_free(intercept)
    margin = X @ coef + bias
    loss, residual, _ = logistic(margin, labels)
    value = loss + penalty * l1_norm(np.append(coef, bias), free)
    if free:
        residual = logistic(margin + balancing_shift(margin, labels), labels)[1]
    return value, value - dual_objective(residual, X.T @ residual, penalty, free)


def checked_labels(X: sparse.csr_matrix, y: Labels) -> Vector:
    """Return the labels as numbers; raise ValueError unless there is a 0 or 1 for each row."""
    labels = np.asarray(y, dtype=np.float64)
    if labels.shape != (X.shape[0],) or not np.all((labels == 0) | (labels == 1)):
        raise ValueError(f"y must hold a 0 or 1 for each of the {X.shape[0]} rows")
    return labels


def is_free(intercept: str) -> bool:
    """Return whether the intercept is not penalised; raise ValueError for an unknown word."""
    if intercept not in ("penalised", "free"):
        raise ValueError(f'intercept must be "penalised" or "free", not {intercept!r}')
    return intercept == "free"


def l1_norm(beta: Vector, free: bool) -> float:
    """Return what the penalty multiplies; the intercept is the last of beta, (n_features + 1,)."""
    return float(np.abs(beta[:-1] if free else beta).sum())


def logistic(margin: Vector, y: Vector) -> tuple[float, Vector, Vector]:
    """Return the loss, its gradient p - y and its curvature p (1 - p) in each margin (n_rows,)."""
    small = np.exp(-np.abs(margin))
    loss = float(np.sum(np.log1p(small) + np.maximum(margin, 0.0) - y * margin))
    residual = np.where(y > 0, -1.0, 1.0) / (1.0 + small)  # of the misclassified; others below
    residual *= np.where((margin > 0) == (y > 0), small, 1.0)
    return loss, residual, small / (1.0 + small) ** 2


def dual_objective(residual: Vector, gradient: Vector, penalty: float, free: bool) -> float:
    """Return the dual's value at the residual, scaled to be feasible: a bound of the optimum."""
    largest = max(penalty, float(np.abs(gradient).max(initial=0.0)))
    if not free:
        largest = max(largest, abs(float(residual.sum())))
    point = np.abs(residual) * (penalty / largest)
    return float(np.sum(entr(point) + entr(1.0 - point)))


def balancing_shift(margin: Vector, y: Vector) -> float:
    """Return the shift of all margins at which p sums to y: Newton in a shrinking bracket."""
    odds = float(np.log(y.mean() / (1.0 - y.mean())))
    low, high = odds - float(margin.max()), odds - float(margin.min())
    shift = min(max(0.0, low), high)
    for _ in range(100):
        p = expit(margin + shift)
        excess = float(np.sum(p - y))
        if abs(excess) <= 1e-13 * y.size or high <= low:
            break
        low, high = (low, shift) if excess > 0 else (shift, high)
        step = shift - excess / max(float(np.sum(p * (1.0 - p))), 1e-300)
        shift = step if low < step < high else 0.5 * (low + high)
    return shift
