"""The lasso solver on small random problems: liblinear, the KKT conditions, resuming, edges."""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from dlrun.lasso.path import Solution, evaluate
from dlrun.lasso.solver import COARSE, ProximalNewton

Intercept = Literal["penalised", "free"]
INTERCEPTS: list[Intercept] = ["penalised", "free"]
SINGLE = 3e-7  # share of the objective by which single precision may move the gap


def objective(*solution: Any, **options: Any) -> float:
    return evaluate(*solution, **options)[0]


def duality_gap(*solution: Any, **options: Any) -> float:
    return evaluate(*solution, **options)[1]


def lasso_path(
    X: csr_matrix,
    y: NDArray[Any],
    penalties: NDArray[Any],
    *,
    intercept: Intercept = "penalised",
    tolerance: float = 3e-5,
    start: Solution | None = None,
) -> Iterator[Solution]:
    return ProximalNewton(tolerance, intercept)(X, y, penalties, start)


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


def grid(X: csr_matrix, y: NDArray[Any], count: int = 12, ratio: float = 1e-3) -> NDArray[Any]:
    return np.abs(X.T @ (y - y.mean())).max() * np.geomspace(1, ratio, count)


def same(one: Solution, two: Solution) -> bool:
    return (
        one.coef.tobytes() == two.coef.tobytes()
        and (one.penalty, one.intercept, one.objective, one.duality_gap)
        == (two.penalty, two.intercept, two.objective, two.duality_gap)
    )  # fmt: skip


@pytest.mark.parametrize("intercept", INTERCEPTS)
@pytest.mark.parametrize("seed", range(4))
def test_kkt_conditions(seed: int, intercept: Intercept) -> None:
    X, y = problem(seed)
    for found in lasso_path(X, y, grid(X, y), intercept=intercept, tolerance=1e-13):
        residual = 1 / (1 + np.exp(-(X @ found.coef + found.intercept))) - y
        gradient, penalty = X.T @ residual, found.penalty
        active = found.coef != 0
        error = np.abs(gradient[active] + penalty * np.sign(found.coef[active]))
        assert error.max(initial=0.0) <= 1e-4 * penalty
        assert np.abs(gradient).max() <= penalty * (1 + 1e-4)
        if intercept == "free":
            assert abs(residual.sum()) <= 1e-8
        elif found.intercept != 0:
            assert abs(residual.sum() + penalty * np.sign(found.intercept)) <= 1e-4 * penalty
        else:
            assert abs(residual.sum()) <= penalty * (1 + 1e-4)
        assert found.coef[3] == 0  # the empty column


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_liblinear(seed: int) -> None:
    X, y = problem(seed)
    for found in lasso_path(X, y, grid(X, y), tolerance=1e-13):
        model = LogisticRegression(
            l1_ratio=1, solver="liblinear", C=1 / found.penalty, tol=1e-9, max_iter=20_000
        ).fit(X, y)
        theirs = objective(X, y, model.coef_[0], float(model.intercept_[0]), found.penalty)
        assert found.objective == pytest.approx(theirs, rel=1e-7)
        assert found.objective == pytest.approx(
            objective(X, y, found.coef, found.intercept, found.penalty), rel=1e-9
        )


def test_free_intercept_agrees_with_a_barely_penalised_one() -> None:
    X, y = problem(5)
    for found in lasso_path(X, y, grid(X, y), intercept="free", tolerance=1e-13):
        model = LogisticRegression(
            l1_ratio=1, solver="liblinear", C=1 / found.penalty, tol=1e-9, max_iter=20_000,
            intercept_scaling=1e4,
        ).fit(X, y)  # fmt: skip
        bias = float(model.intercept_[0])
        theirs = objective(X, y, model.coef_[0], bias, found.penalty, intercept="free")
        assert found.objective <= theirs * (1 + 1e-9)
        assert found.objective == pytest.approx(theirs, rel=1e-3)


@pytest.mark.parametrize("intercept", INTERCEPTS)
def test_default_tolerance_and_gap_bound_the_suboptimality(intercept: Intercept) -> None:
    X, y = problem(1, 300, 80)
    exact = list(lasso_path(X, y, grid(X, y), intercept=intercept, tolerance=1e-14))
    rough = list(lasso_path(X, y, grid(X, y), intercept=intercept))
    for best, found in zip(exact, rough, strict=True):
        excess = found.objective - best.objective
        assert excess <= 2e-4 * best.objective
        assert excess <= found.duality_gap + 1e-9 * best.objective
        assert best.duality_gap <= 1e-3 * best.objective
        gap = duality_gap(X, y, found.coef, found.intercept, found.penalty, intercept=intercept)
        assert gap == pytest.approx(found.duality_gap, rel=1e-5, abs=SINGLE * best.objective)


@pytest.mark.parametrize("intercept", INTERCEPTS)
def test_gap_of_any_point_bounds_its_suboptimality(intercept: Intercept) -> None:
    X, y = problem(2)
    rng = np.random.default_rng(0)
    (best,) = lasso_path(X, y, np.array([1.0]), intercept=intercept, tolerance=1e-14)
    for size in (0.0, 1e-3, 0.1, 3.0):
        coef, bias = best.coef + size * rng.normal(size=40), best.intercept + size
        excess = objective(X, y, coef, bias, 1.0, intercept=intercept) - best.objective
        assert duality_gap(X, y, coef, bias, 1.0, intercept=intercept) >= excess - 1e-9


@pytest.mark.parametrize("intercept", INTERCEPTS)
def test_resumes_bit_for_bit(intercept: Intercept) -> None:
    X, y = problem(3, 400, 100)
    penalties = grid(X, y)
    whole = list(lasso_path(X, y, penalties, intercept=intercept))
    again = list(lasso_path(X, y, penalties, intercept=intercept))
    assert all(same(one, two) for one, two in zip(whole, again, strict=True))
    for stop in (1, 5, 11):
        path = lasso_path(X, y, penalties[stop:], intercept=intercept, start=whole[stop - 1])
        assert all(same(one, two) for one, two in zip(whole[stop:], path, strict=True))


@pytest.mark.parametrize("intercept", INTERCEPTS)
@pytest.mark.parametrize("factor", [1.0, 1.5, 100.0])
def test_all_zero_at_the_largest_penalty(factor: float, intercept: Intercept) -> None:
    X, y = problem(4)
    centre = y.mean() if intercept == "free" else 0.5
    top = max(np.abs(X.T @ (y - centre)).max(), abs(np.sum(y - centre)))
    (found,) = lasso_path(X, y, np.array([factor * top]), intercept=intercept, tolerance=0.0)
    assert not found.coef.any()
    expected = np.log(y.mean() / (1 - y.mean())) if intercept == "free" else 0.0
    assert found.intercept == pytest.approx(expected, abs=1e-9)
    assert abs(found.duality_gap) <= 1e-9 * found.objective


def test_line_search_and_working_set_survive_a_large_drop() -> None:
    X, y = problem(6, 200, 150)
    (far,) = lasso_path(X, y, np.array([1e-3]), tolerance=1e-13)
    near = list(lasso_path(X, y, np.geomspace(50, 1e-3, 40), tolerance=1e-13))[-1]
    assert far.objective == pytest.approx(near.objective, rel=1e-6)


@pytest.mark.parametrize("intercept", INTERCEPTS)
@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-6, 1e-9])
@pytest.mark.parametrize("seed", range(6))
def test_what_is_reported_holds_for_the_coefficients(
    seed: int, tolerance: float, intercept: Intercept
) -> None:
    """Guards against margins that drift from X w + b, as when the sweeps converge at once."""
    X, y = problem(seed, 500, 60)
    penalties = grid(X, y, 25)
    exact = list(lasso_path(X, y, penalties, intercept=intercept, tolerance=1e-14))
    path = lasso_path(X, y, penalties, intercept=intercept, tolerance=tolerance)
    for best, found in zip(exact, path, strict=True):
        at = (X, y, found.coef, found.intercept, found.penalty)
        value = objective(*at, intercept=intercept)
        assert found.objective == pytest.approx(value, rel=1e-12)
        gap = duality_gap(*at, intercept=intercept)
        single = tolerance >= COARSE
        rounded = SINGLE if single else 1e-9
        near = pytest.approx(gap, rel=1e-4 if single else 1e-5, abs=rounded * value)
        assert found.duality_gap == near
        assert found.duality_gap >= -rounded * value
        floor = best.objective - best.duality_gap
        assert floor - 1e-12 * value <= value  # never below a certified bound
        assert value <= best.objective + 20 * max(tolerance, 1e-9) * value  # 10 seen, no bound


def test_objective_agrees_with_its_definition() -> None:
    X, y = problem(0)
    coef, bias = np.random.default_rng(1).normal(size=40) * 20, -3.0
    f = X.toarray().astype(float) @ coef + bias
    loss = np.logaddexp(0, -(2 * y - 1) * f).sum()
    free = objective(X, y, coef, bias, 0.7, intercept="free")
    assert free == pytest.approx(loss + 0.7 * np.abs(coef).sum(), rel=1e-13)
    assert objective(X, y, coef, bias, 0.7) == pytest.approx(free + 0.7 * 3.0, rel=1e-13)


@pytest.mark.parametrize("n_rows", [65_536, 65_537, 140_000])
def test_rows_beyond_16_bits(n_rows: int) -> None:
    X, y = problem(7, n_rows, 8)
    (found,) = lasso_path(X, y, np.array([50.0]), tolerance=1e-12)
    assert found.duality_gap <= 1e-6 * found.objective
    assert found.objective == pytest.approx(objective(X, y, found.coef, found.intercept, 50.0))
    last = csr_matrix(X.toarray()[::-1])
    (turned,) = lasso_path(last, y[::-1], np.array([50.0]), tolerance=1e-12)
    np.testing.assert_allclose(turned.coef, found.coef, atol=1e-6)


def test_empty_path_and_no_columns() -> None:
    X, y = problem(0)
    assert list(lasso_path(X, y, np.array([]))) == []
    (found,) = lasso_path(X[:, :0], y, np.array([1.0]), tolerance=1e-12)
    assert found.coef.shape == (0,) and found.duality_gap <= 1e-6


@pytest.mark.parametrize("value", [2.0, 0.0, -1.0, np.nan])
def test_refuses_a_matrix_that_is_not_binary(value: float) -> None:
    X, y = problem(0)
    X.data[5] = value
    with pytest.raises(ValueError, match="binary"):
        lasso_path(X, y, np.array([1.0]))


def test_refuses_repeated_entries() -> None:
    X = csr_matrix((np.ones(3), np.array([0, 0, 1]), np.array([0, 2, 3])), shape=(2, 2))
    with pytest.raises(ValueError, match="binary"):
        lasso_path(X, np.array([0, 1]), np.array([1.0]))


def test_refuses_other_unfit_input() -> None:
    X, y = problem(0)
    (found,) = lasso_path(X, y, np.array([1.0]))
    for penalties in ([1.0, 2.0], [0.0], [-1.0], [np.nan], [[1.0]]):
        with pytest.raises(ValueError, match="penalties"):
            lasso_path(X, y, np.array(penalties))
    for labels in (y + 1, y[1:], 2 * y - 1):
        with pytest.raises(ValueError, match="y must"):
            lasso_path(X, labels, np.array([1.0]))
    with pytest.raises(ValueError, match="both classes"):
        lasso_path(X, 0 * y, np.array([1.0]), intercept="free")
    with pytest.raises(ValueError, match="tolerance"):
        lasso_path(X, y, np.array([1.0]), tolerance=np.nan)
    with pytest.raises(ValueError, match="intercept"):
        lasso_path(X, y, np.array([1.0]), intercept="none")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="columns"):
        lasso_path(X[:, 1:], y, np.array([1.0]), start=found)


def test_one_class_is_fine_when_the_intercept_is_penalised() -> None:
    X, y = problem(0)
    found = list(lasso_path(X, 0 * y, np.array([30.0, 3.0]), tolerance=1e-12))
    assert all(one.duality_gap <= 1e-5 * one.objective for one in found)
    assert all(one.intercept <= 0 for one in found)
