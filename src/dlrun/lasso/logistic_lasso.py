"""Define lasso logistic regression: its penalties, loss, dual bound and stored models.

With s = 2 y - 1 and the logits f = X w + b, the objective is liblinear's at a penalty lambda = 1/C,

    sum_i log(1 + exp(-s_i f_i)) + lambda (|w|_1 + |b|)

in nats, summed over the rows. The intercept b is penalised, as by the lab's liblinear.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import entr

from dlrun.errors import DataError
from dlrun.system.files import read_arrays

Vector = NDArray[np.float64]
Labels: TypeAlias = NDArray[Any]  # 0 or 1, (n_rows,)


@dataclass(frozen=True)
class LinearModel:
    """Holds the coefficients (n_features,), the intercept and the penalty of a linear model."""

    coef: Vector
    intercept: float
    penalty: float

    def logits(self, X: sparse.csr_matrix) -> Vector:
        """Compute the logit of each row, (n_rows,)."""
        logits: Vector = X @ self.coef + self.intercept
        return logits


@dataclass(frozen=True)
class LassoSolution(LinearModel):
    """Holds the linear model at one lasso penalty, its objective value and its duality gap."""

    objective: float
    duality_gap: float


def log_spaced_penalties(
    X: sparse.csr_matrix, labels: Sequence[Labels], count: int, smallest: float
) -> Vector:
    """Choose `count` log-spaced penalties, from the book's largest to `smallest` times that.

    Several regressions, each with its labels, share the largest penalty of any of them. It zeroes
    all weights if the labels are balanced, otherwise nearly all. Raises DataError if it is 0.
    """
    largest = max(float(np.abs(X.T @ (y - y.mean())).max()) for y in labels)
    n_rows = X.shape[0]
    # Of binary X it is 0 or at least 1 / n_rows; less is the rounding of 0.
    if largest < 0.5 / n_rows:
        raise DataError(
            f"no word tells the labels of the {n_rows:,} training rows apart: nothing to separate",
            "use texts in which some words are more frequent with one of the labels",
        )
    return np.geomspace(largest, smallest * largest, count)


def l1_norm(beta: Vector) -> float:
    """Compute the L1 norm of the coefficients and of the intercept, with which `beta` ends."""
    return float(np.abs(beta).sum())


def logistic_loss_and_derivatives(logits: Vector, y: Vector) -> tuple[float, Vector, Vector]:
    """Compute the loss, and each row's gradient p - y and curvature p (1 - p), (n_rows,) each."""
    exp_minus_abs = np.exp(-np.abs(logits))
    loss = float(np.sum(np.log1p(exp_minus_abs) + np.maximum(logits, 0.0) - y * logits))
    # The residual p - y without cancellation: another formula for rows that are classified rightly.
    residual = np.where(y > 0, -1.0, 1.0) / (1.0 + exp_minus_abs)
    residual *= np.where((logits > 0) == (y > 0), exp_minus_abs, 1.0)
    return loss, residual, exp_minus_abs / (1.0 + exp_minus_abs) ** 2


def dual_objective(residual: Vector, gradient: Vector, penalty: float) -> float:
    """Compute the dual objective, a lower bound of the optimal objective (arXiv:1611.05780)."""
    # The residual p - y (n_rows,), scaled until no column's gradient (n_features,), nor that of the
    # intercept, exceeds the penalty.
    largest = max(penalty, float(np.abs(gradient).max(initial=0.0)), abs(float(residual.sum())))
    point = np.abs(residual) * (penalty / largest)
    return float(np.sum(entr(point) + entr(1.0 - point)))


def pack_linear_models(models: Iterable[LinearModel]) -> bytes:
    """Write linear models into the bytes of an .npz file.

    Their coefficients are a sparse (n_models, n_features) matrix.
    """
    rows = []
    intercepts = []
    penalties = []
    for model in models:  # only one is dense at a time
        rows.append(sparse.csr_matrix(model.coef[np.newaxis]))
        intercepts.append(model.intercept)
        penalties.append(model.penalty)
    matrix = sparse.vstack(rows, format="csr")
    arrays: dict[str, Any] = {  # savez's stubs take Any by keyword
        "data": matrix.data,
        "indices": matrix.indices,
        "indptr": matrix.indptr,
        "shape": np.array(matrix.shape),
        "intercept": np.array(intercepts),
        "lambda": np.array(penalties),
    }
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def unpack_linear_models(content: bytes) -> Iterator[LinearModel]:
    """Yield the linear models of the bytes that pack_linear_models wrote."""
    arrays = read_arrays(content)
    parts = arrays["data"], arrays["indices"], arrays["indptr"]
    matrix = sparse.csr_matrix(parts, shape=tuple(arrays["shape"]))
    matrix.check_format(full_check=True)
    intercepts = arrays["intercept"].tolist()
    penalties = arrays["lambda"].tolist()
    for row, intercept, penalty in zip(matrix, intercepts, penalties, strict=True):
        yield LinearModel(row.toarray()[0], intercept, penalty)
