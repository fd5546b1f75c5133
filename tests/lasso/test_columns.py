"""Passes over a binary matrix by its columns, beside the same sums by numpy."""

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from dlrun.lasso.columns import BLOCK, Columns

PRECISIONS = [(np.float64, 1e-8), (np.float32, 1e-4)]


@pytest.mark.parametrize(("dtype", "near"), PRECISIONS)
@pytest.mark.parametrize("n_rows", [1, 37, BLOCK, BLOCK + 1, 2 * BLOCK + 5])
def test_sums_and_margins_are_those_of_the_matrix(n_rows: int, dtype: Any, near: float) -> None:
    rng = np.random.default_rng(n_rows)
    dense = rng.random((n_rows, 6)) < [0.0, 1.0, 0.5, 0.5, 0.001, 0.2]
    dense[-1] = True  # the last row of the last block
    columns = Columns(csr_matrix(dense.astype(np.float32)), dtype)
    values, beta = rng.normal(size=n_rows), rng.normal(size=7)
    beta[3] = 0.0
    some = np.array([1, 4, 5])
    np.testing.assert_allclose(columns.sums(values, some), values @ dense[:, some], atol=near)
    np.testing.assert_allclose(columns.margins(beta), dense @ beta[:-1] + beta[-1], atol=1e-12)
    assert columns.entries.rows.nbytes == 2 * dense.sum()


@pytest.mark.parametrize(("dtype", "near"), PRECISIONS)
@pytest.mark.parametrize("n_rows", [50, BLOCK + 50])
def test_a_sweep_minimises_over_each_column_in_turn(n_rows: int, dtype: Any, near: float) -> None:
    rng = np.random.default_rng(0)
    dense = rng.random((n_rows, 5)) < [0.3, 0.0, 0.7, 0.3, 0.3]
    columns = Columns(csr_matrix(dense.astype(np.float32)), dtype)
    weight, start = rng.uniform(0.01, 0.25, n_rows), rng.normal(size=n_rows)
    beta, rows = np.array([0.5, 0.4, 0.0, -0.3, 0.2, 0.1]), columns.pairs(start, weight)
    some = np.array([0, 1, 2, 3])
    penalty = 1.0
    columns.sweep(some, columns.sums(weight, some), penalty, True, beta, rows)
    assert beta[1] == 0.0  # an empty column costs its penalty and explains nothing
    assert beta[2] == 0.0 and beta[4] == 0.2 and beta[5] == 0.1  # left out
    moved = dense @ (beta[:-1] - [0.5, 0.4, 0.0, -0.3, 0.2])
    residual = rows[:, 0].astype(float)
    np.testing.assert_allclose(residual, start + weight * moved, atol=near)
    slope = residual @ dense[:, 3]
    assert abs(slope + penalty * np.sign(beta[3])) < 100 * near or beta[3] == 0.0
