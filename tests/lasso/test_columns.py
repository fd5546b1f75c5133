"""Passes over a binary matrix by its columns, beside the same sums by numpy."""

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from dlrun.lasso.solver import (
    binary_columns,
    column_sums,
    coordinate_descent_sweep,
    linear_predictors,
)

WIDE = 2**16 + 50  # rows beyond 16 bits
PRECISIONS = [(np.float64, 1e-8), (np.float32, 1e-4)]


@pytest.mark.parametrize(("dtype", "near"), PRECISIONS)
@pytest.mark.parametrize("n_rows", [1, 37, 2**16, WIDE])
def test_sums_and_margins_are_those_of_the_matrix(n_rows: int, dtype: Any, near: float) -> None:
    rng = np.random.default_rng(n_rows)
    dense = rng.random((n_rows, 6)) < [0.0, 1.0, 0.5, 0.5, 0.001, 0.2]
    dense[-1] = True
    columns = binary_columns(csr_matrix(dense.astype(np.float32)))
    values, beta = rng.normal(size=n_rows).astype(dtype), rng.normal(size=7)
    beta[3] = 0.0
    some = np.array([1, 4, 5])
    np.testing.assert_allclose(
        column_sums(columns, values, some), values.astype(float) @ dense[:, some], atol=near
    )
    np.testing.assert_allclose(
        linear_predictors(columns, beta, n_rows), dense @ beta[:-1] + beta[-1], atol=1e-12
    )
    assert columns.rows.nbytes == (4 if n_rows == WIDE else 2) * dense.sum()


@pytest.mark.parametrize(("dtype", "near"), PRECISIONS)
@pytest.mark.parametrize("n_rows", [50, WIDE])
def test_a_sweep_minimises_over_each_column_in_turn(n_rows: int, dtype: Any, near: float) -> None:
    rng = np.random.default_rng(0)
    dense = rng.random((n_rows, 5)) < [0.3, 0.0, 0.7, 0.3, 0.3]
    columns = binary_columns(csr_matrix(dense.astype(np.float32)))
    weight, start = rng.uniform(0.01, 0.25, n_rows), rng.normal(size=n_rows)
    old = np.array([0.5, 0.4, 0.0, -0.3, 0.2, 0.1])
    beta, pairs = old.copy(), np.stack([start, weight], 1).astype(dtype)
    some = np.array([0, 1, 2, 3])
    penalty, curvature = 1.0, weight @ dense[:, some]
    coordinate_descent_sweep(columns, some, curvature, penalty, True, beta, pairs)
    assert beta[1] == 0.0  # an empty column costs its penalty and explains nothing
    assert beta[2] == 0.0 and beta[4] == 0.2 and beta[5] == 0.1  # left out
    residual = pairs[:, 0].astype(float)
    moved = dense @ (beta - old)[:-1]
    np.testing.assert_allclose(residual, start + weight * moved, atol=near)
    slope = residual @ dense[:, 3]
    assert abs(slope + penalty * np.sign(beta[3])) < 100 * near or beta[3] == 0.0


@pytest.mark.parametrize("value", [2.0, 0.0, -1.0, np.nan])
def test_a_matrix_that_is_not_binary_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="binary"):
        binary_columns(csr_matrix((np.array([1.0, value]), ([0, 1], [0, 1]))))


def test_repeated_entries_are_refused() -> None:
    X = csr_matrix((np.ones(3), np.array([0, 0, 1]), np.array([0, 2, 3])), shape=(2, 2))
    with pytest.raises(ValueError, match="binary"):
        binary_columns(X)
