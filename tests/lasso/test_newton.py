"""The lasso solver on small random problems: the KKT conditions, resuming, edges."""

from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.special import entr, expit

from dlrun.lasso.logistic_lasso import LassoSolution
from dlrun.lasso.newton import (
    COARSE,
    column_sums,
    compute_logits,
    csr_to_columns,
    solve_newton_path,
)

SHIPPED = 1e-4  # the config's tolerance
EXACT = 1e-13
SINGLE = 3e-7  # share of the objective by which single precision may move the gap


def problem(seed: int, n: int = 120, p: int = 40) -> tuple[csr_matrix, NDArray[np.int64]]:
    """Columns of many densities, of which one is empty, one full and one repeated; an empty row."""
    rng = np.random.default_rng(seed)
    dense = rng.random((n, p)) < rng.uniform(0.02, 0.6, p)
    dense[:, 3] = False
    dense[:, 4] = True
    dense[:, 6] = dense[:, 5]
    dense[7] = False
    chance = 1 / (1 + np.exp(-(dense @ rng.normal(0, 1.5, p))))
    return csr_matrix(dense.astype(np.float32)), (rng.random(n) < chance).astype(np.int64)


def grid(X: csr_matrix, y: NDArray[Any], count: int = 12) -> NDArray[Any]:
    return np.abs(X.T @ (y - y.mean())).max() * np.geomspace(1, 1e-3, count)


def objective_and_gap(
    X: csr_matrix, y: NDArray[Any], coef: NDArray[Any], intercept: float, penalty: float
) -> tuple[float, float]:
    """The objective and a duality gap in nats, computed from their definitions."""
    margin = X.toarray().astype(float) @ coef + intercept
    value = np.logaddexp(0, -(2.0 * y - 1) * margin).sum()
    value += penalty * (np.abs(coef).sum() + abs(intercept))
    residual = expit(margin) - y
    largest = max(penalty, np.abs(X.T @ residual).max(), abs(residual.sum()))
    point = np.abs(residual) * penalty / largest
    return value, value - float(np.sum(entr(point) + entr(1 - point)))


def bits(solution: LassoSolution) -> tuple[Any, ...]:
    coef, *numbers = astuple(solution)
    return (coef.tobytes(), *numbers)


@pytest.mark.parametrize("seed", range(4))
def test_kkt_conditions(seed: int) -> None:
    X, y = problem(seed)
    for found in solve_newton_path(csr_to_columns(X), y, grid(X, y), EXACT):
        residual = 1 / (1 + np.exp(-found.logits(X))) - y
        gradient, penalty = X.T @ residual, found.penalty
        active = found.coef != 0
        error = np.abs(gradient[active] + penalty * np.sign(found.coef[active]))
        assert error.max(initial=0.0) <= 1e-4 * penalty
        assert np.abs(gradient).max() <= penalty * (1 + 1e-4)
        if found.intercept != 0:
            assert abs(residual.sum() + penalty * np.sign(found.intercept)) <= 1e-4 * penalty
        else:
            assert abs(residual.sum()) <= penalty * (1 + 1e-4)
        assert found.coef[3] == 0  # the empty column


def test_resumes_bit_for_bit() -> None:
    X, y = problem(3, 400, 100)
    penalties = grid(X, y)
    whole = list(solve_newton_path(csr_to_columns(X), y, penalties, SHIPPED))
    for stop in (0, 1, 5, 11):
        start = whole[stop - 1] if stop else None
        path = solve_newton_path(csr_to_columns(X), y, penalties[stop:], SHIPPED, start=start)
        assert list(map(bits, path)) == list(map(bits, whole[stop:]))


@pytest.mark.parametrize("tolerance", [1e-2, SHIPPED, 1e-6, 1e-9])
@pytest.mark.parametrize("seed", range(4))
def test_what_is_reported_holds_for_the_coefficients(seed: int, tolerance: float) -> None:
    """Guards against margins that drift from X w + b, as when the sweeps converge at once."""
    X, y = problem(seed, 500, 60)
    penalties = grid(X, y, 25)
    exact = solve_newton_path(csr_to_columns(X), y, penalties, 1e-14)
    path = solve_newton_path(csr_to_columns(X), y, penalties, tolerance)
    for best, found in zip(exact, path, strict=True):
        value, gap = objective_and_gap(X, y, found.coef, found.intercept, found.penalty)
        assert found.objective == pytest.approx(value, rel=1e-12)
        single = tolerance >= COARSE
        rounded = SINGLE if single else 1e-9
        near = pytest.approx(gap, rel=1e-4 if single else 1e-5, abs=rounded * value)
        assert found.duality_gap == near
        assert found.duality_gap >= -rounded * value
        floor = best.objective - best.duality_gap
        assert floor - 1e-12 * value <= value  # never below a certified bound
        assert value <= best.objective + 20 * max(tolerance, 1e-9) * value  # 10 seen, no bound


@pytest.mark.parametrize("n_rows", [65_536, 65_537])
def test_rows_beyond_16_bits(n_rows: int) -> None:
    X, y = problem(7, n_rows, 8)
    assert csr_to_columns(X).rows.itemsize == (2 if n_rows == 65_536 else 4)
    (found,) = solve_newton_path(csr_to_columns(X), y, np.array([50.0]), 1e-12)
    assert found.duality_gap <= 1e-6 * found.objective
    last = csr_matrix(X.toarray()[::-1])
    (turned,) = solve_newton_path(csr_to_columns(last), y[::-1], np.array([50.0]), 1e-12)
    np.testing.assert_allclose(turned.coef, found.coef, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_rows", [5, 16, 203])
def test_passes_over_columns_of_any_density(n_rows: int, dtype: type[np.floating[Any]]) -> None:
    X, _ = problem(8, n_rows + 3)
    X = X[:n_rows]
    columns, dense = csr_to_columns(X), X.toarray()
    assert (columns.bit_rows >= 0).any() and (columns.bit_rows < 0).any()
    values = np.random.default_rng(0).normal(size=n_rows).astype(dtype)
    sums = column_sums(columns, values, np.arange(40))
    np.testing.assert_allclose(sums, values.astype(float) @ dense, atol=1e-12)
    beta = np.random.default_rng(1).normal(size=41)
    logits = compute_logits(columns, beta)
    np.testing.assert_allclose(logits, dense @ beta[:-1] + beta[-1], atol=1e-12)
