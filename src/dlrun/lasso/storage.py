"""Files of a lasso path: one solution as it is found, all of them at the end."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from dlrun.lasso.path import Solution, Vector


def pack(solution: Solution) -> bytes:
    """Return one solution as bytes, without its zero coefficients."""
    (places,) = np.nonzero(solution.coef)
    return _npz(
        places=places.astype(np.int32),
        values=solution.coef[places],
        sizes=np.array([len(solution.coef)]),
        numbers=np.array(
            [solution.penalty, solution.intercept, solution.objective, solution.duality_gap]
        ),
    )


def unpack(content: bytes) -> Solution:
    """Return the solution that `pack` was given, bit for bit."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        coef: Vector = np.zeros(int(file["sizes"][0]))
        coef[file["places"]] = file["values"]
        penalty, intercept, objective, gap = map(float, file["numbers"])
    return Solution(penalty, coef, intercept, objective, gap)


def pack_path(solutions: Sequence[Solution]) -> bytes:
    """Return the path as an .npz file: a CSR matrix of coefficients, intercepts, penalties.

    The matrix is (n_lambdas, n_features); its parts are named as in scipy.
    """
    matrix = sparse.csr_matrix(np.array([solution.coef for solution in solutions]))
    return _npz(
        data=matrix.data,
        indices=matrix.indices,
        indptr=matrix.indptr,
        shape=np.array(matrix.shape),
        intercepts=np.array([solution.intercept for solution in solutions]),
        penalties=np.array([solution.penalty for solution in solutions]),
    )


def unpack_path(content: bytes) -> tuple[sparse.csr_matrix, Vector]:
    """Return the coefficients, (n_lambdas, n_features), and the intercepts, (n_lambdas,)."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        parts = (file["data"], file["indices"], file["indptr"])
        matrix = sparse.csr_matrix(parts, shape=tuple(file["shape"]))
        intercepts: Vector = file["intercepts"]
    matrix.check_format(full_check=True)
    return matrix, intercepts


@dataclass(frozen=True)
class ChosenModel:
    """A chosen model of a path: coefficients (n_features,) and the intercept."""

    coef: Vector
    intercept: float

    def decision(self, X: sparse.csr_matrix) -> Vector:
        """Return the linear predictor of each row, (n_rows,)."""
        values: Vector = X @ self.coef + self.intercept
        return values


def unpack_chosen(content: bytes, index: int) -> ChosenModel:
    """Return one model of the path that `pack_path` was given."""
    matrix, intercepts = unpack_path(content)
    return ChosenModel(matrix[[index]].toarray()[0], float(intercepts[index]))


def _npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()
