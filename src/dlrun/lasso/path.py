"""Define what lasso/newton.py solves: the lasso's penalties, loss, dual bound and stored models.

At a penalty lambda, with s = 2 y - 1 and f = X w + b, the objective is liblinear's at C = 1/lambda,

    sum_i log(1 + exp(-s_i f_i)) + lambda (|w|_1 + |b|)

in nats, summed over the rows. The intercept b is penalised, as by the lab's liblinear.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import entr

from dlrun.errors import DataError

Vector = NDArray[np.float64]
Labels: TypeAlias = NDArray[Any]  # 0 or 1, (n_rows,)


@dataclass(frozen=True)
class LinearModel:
    """Holds the coefficients (n_features,), the intercept and the penalty of a linear model."""

    coef: Vector
    intercept: float
    penalty: float

    def decision(self, X: sparse.csr_matrix) -> Vector:
        """Return the linear predictor of each row, (n_rows,)."""
        values: Vector = X @ self.coef + self.intercept
        return values


@dataclass(frozen=True)
class LassoSolution(LinearModel):
    """Holds the linear model at one lasso penalty, its objective value and its duality gap."""

    objective: float
    duality_gap: float


def log_spaced_penalties(X: sparse.csr_matrix, y: Labels, values: int, smallest: float) -> Vector:
    """Return log-spaced penalties, from one that zeroes all weights to `smallest` times that."""
    largest = float(np.abs(X.T @ (y - y.mean())).max())
    # Of binary X it is 0 or at least 1 / len(y); less is the rounding of 0.
    if largest < 0.5 / len(y):
        raise DataError(
            f"no word tells the labels of the {len(y):,} training rows apart: nothing to separate",
            "use texts in which some words are more frequent with one of the labels",
        )
    return np.geomspace(largest, smallest * largest, values)


def l1_norm(beta: Vector) -> float:
    """Return the L1 norm of the coefficients and the intercept."""
    return float(np.abs(beta).sum())


def logistic_loss(margin: Vector, y: Vector) -> tuple[float, Vector, Vector]:
    """Return the logistic loss, and its gradient p - y and curvature p (1 - p) at each margin."""
    small = np.exp(-np.abs(margin))
    loss = float(np.sum(np.log1p(small) + np.maximum(margin, 0.0) - y * margin))
    residual = np.where(y > 0, -1.0, 1.0) / (1.0 + small)  # misclassified rows; others below
    residual *= np.where((margin > 0) == (y > 0), small, 1.0)
    return loss, residual, small / (1.0 + small) ** 2


def dual_objective(residual: Vector, gradient: Vector, penalty: float) -> float:
    """Return the lasso's dual objective, a lower bound of the optimal one (arXiv:1611.05780)."""
    # The residual p - y, scaled until no column, nor the intercept's, exceeds the penalty.
    largest = max(penalty, float(np.abs(gradient).max(initial=0.0)), abs(float(residual.sum())))
    point = np.abs(residual) * (penalty / largest)
    return float(np.sum(entr(point) + entr(1.0 - point)))


def pack_linear_models(models: Sequence[LinearModel]) -> bytes:
    """Return linear models as the bytes of an .npz file: a sparse (n_models, n_features) matrix."""
    matrix = sparse.csr_matrix(np.array([model.coef for model in models]))
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        data=matrix.data,
        indices=matrix.indices,
        indptr=matrix.indptr,
        shape=np.array(matrix.shape),
        intercepts=np.array([model.intercept for model in models]),
        penalties=np.array([model.penalty for model in models]),
    )
    return stream.getvalue()


def unpack_linear_models(content: bytes) -> list[LinearModel]:
    """Read linear models from the bytes that pack_linear_models wrote."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = file["data"], file["indices"], file["indptr"]
        matrix = sparse.csr_matrix(arrays, shape=tuple(file["shape"]))
        matrix.check_format(full_check=True)
        numbers = zip(file["intercepts"].tolist(), file["penalties"].tolist(), strict=True)
    return [
        LinearModel(row.toarray()[0], intercept, penalty)
        for row, (intercept, penalty) in zip(matrix, numbers, strict=True)
    ]
