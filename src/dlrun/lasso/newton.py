"""Fit lasso logistic regressions for falling penalties on a binary matrix by proximal Newton steps.

The objective is in `logistic_lasso`. The fit at each penalty lambda starts from the one before. Let
p be the probabilities at beta = (w, b), r = p - y the residuals and h = p (1 - p) the weights of
the rows. A Newton step takes the working set (the coefficients that are not zero, or whose gradient
|X_j' r| is near lambda), and nearly minimises over the step d, by coordinate descent,

    sum_i (r_i (X d)_i + h_i (X d)_i^2 / 2) + lambda |beta + d|_1

With the model's residual v = r + h (X d) and the column's curvature H_j = sum of h over its rows,
coordinate j becomes soft(H_j beta_j - X_j' v, lambda) / H_j, and v follows. A line search on the
true objective ends the step (Friedman, Hastie & Tibshirani 2010, doi:10.18637/jss.v033.i01; Yuan,
Ho & Lin 2012, the newGLMNET of liblinear, doi:10.1145/2339530.2339554).

Every HISTORY sweeps the latest point is moved to the best one that the sweeps' moves span: with the
moves M (a row each), their images V = changes of v, and s = sign(beta), the mix c minimises the
model on the signs' orthant,

    (V diag(1/h) V') c = -(V (v / h) + lambda M s)

and is taken if it lowers the model, signs and all (in the spirit of Bertrand & Massias 2021,
arXiv:2011.10065). It needs no pass over the matrix.

All entries of the matrix are one, so a column is only a list of rows; or a bit for each row, if so
many are one that a pass over all rows, 16 at a time, takes less time (DENSE): on the lab's reviews
224 of 10,003 columns, with 47 % of the ones. Memory is the bound: residuals and weights may be in
single precision; sums are always in double.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from dlrun.kernels.numba_simd import ROWS_PER_BLOCK, add_masked, jit_inner, jit_kernel, sum_masked
from dlrun.lasso.logistic_lasso import (
    Labels,
    LassoSolution,
    LinearModel,
    Vector,
    dual_objective,
    l1_norm,
    logistic_loss_and_derivatives,
)

SWEEPS = 9  # a Newton step has so many: two cycles of HISTORY, and one that makes zeros again
HISTORY = 4  # sweeps between extrapolations; each adds one direction but the first
MAX_STEPS = 200  # Newton steps per penalty; 2 are usual at the default tolerance
NEAR = 0.95  # a zero coefficient joins the working set if its |gradient| > NEAR * penalty
MIN_WEIGHT = 1e-8  # floor on p (1 - p), so that residual / weight stays accurate
COARSE = 1e-5  # tolerances from here on are far above what single precision rounds
MAX_MIX = 1e3  # largest multiple of a sweep's move in an extrapolation: larger ones are noise
DENSE = 0.1  # share of ones from which a column is a bit for each row

Indices = NDArray[np.int64]
Float: TypeAlias = np.floating[Any]  # a number in single or double precision
Precision: TypeAlias = type[Float]
RowValues = NDArray[Float]  # (n_rows,)
# They are unsigned, so that no index is tested for being negative.
Rows = NDArray[np.uint16] | NDArray[np.uint32]


class BinaryColumns(NamedTuple):
    """Holds a binary matrix by columns: for each column, the rows in which it is one.

    A dense column has a bit for each row instead, but for the rows beyond the last whole block.
    """

    n_rows: int
    starts: Indices  # (n_columns + 1,): where each column begins in `rows`
    rows: Rows
    bit_rows: Indices  # (n_columns,): row of each dense column in `bits`; -1 for the others
    bits: NDArray[np.uint16]  # (n_dense, n_rows // ROWS_PER_BLOCK)


def solve_newton_path(
    columns: BinaryColumns,
    y: Labels,
    penalties: Vector,
    tolerance: float,
    *,
    start: LinearModel | None = None,
) -> Iterator[LassoSolution]:
    """Yield the lasso solution at each penalty, one after another, by proximal Newton steps.

    A penalty is done once its duality gap, or the decrease by its last Newton step, is at most
    `tolerance` times the objective, or after MAX_STEPS. The small decrease usually comes first, and
    is no bound: the objective ends about one tolerance above the optimum on the lab's reviews. The
    gap that is reported is loose, and in single precision rounded.

    y: 0 or 1, (n_rows,).
    penalties: positive, descending.
    start: the solution at the penalty before the first. A path resumed from this solution repeats
    the uninterrupted path bit for bit.
    """
    labels = y.astype(np.float64)
    beta = np.zeros(columns.starts.size)  # the coefficients, then the intercept
    if start is not None:
        beta = np.append(start.coef, start.intercept)
    dtype = np.float32 if tolerance >= COARSE else np.float64
    for penalty in penalties:
        solution = _solve(columns, labels, beta, float(penalty), tolerance, dtype)
        beta = np.append(solution.coef, solution.intercept)
        yield solution


def _solve(
    columns: BinaryColumns,
    y: Vector,
    beta: Vector,
    penalty: float,
    tolerance: float,
    dtype: Precision,
) -> LassoSolution:
    """Solve the lasso at one penalty; `beta` is where the Newton steps begin."""
    logits = compute_logits(columns, beta)
    all_columns = np.arange(beta.size - 1)
    scale = _best_scale(logits, y, penalty * l1_norm(beta))
    beta = scale * beta
    logits = scale * logits
    previous = np.inf
    iterations = 0
    while True:
        loss, residual, weight = logistic_loss_and_derivatives(logits, y)
        norm = l1_norm(beta)
        value = loss + penalty * norm
        gradient = column_sums(columns, residual.astype(dtype, copy=False), all_columns)
        gap = value - dual_objective(residual, gradient, penalty)
        done = gap <= tolerance * value or previous - value <= tolerance * value
        if done or iterations == MAX_STEPS:
            return LassoSolution(beta[:-1].copy(), float(beta[-1]), penalty, value, gap)
        weight = np.maximum(weight, MIN_WEIGHT)
        chosen = np.flatnonzero((beta[:-1] != 0) | (np.abs(gradient) > NEAR * penalty))
        curvature = column_sums(columns, weight.astype(dtype, copy=False), chosen)
        new = _minimise_model(
            columns, chosen, curvature, beta, residual.astype(dtype), weight, penalty
        )
        # Computed afresh, so that rounding cannot build up.
        change = compute_logits(columns, new) - logits
        slope = float(np.sum(residual * change)) + penalty * (l1_norm(new) - norm)
        step = 1.0
        # Halve the step until the objective falls enough: nearly always at once. If it never falls,
        # the next iteration stops.
        while step > 1e-6:
            trial = new if step == 1.0 else beta + step * (new - beta)
            trial_logits = logits + step * change
            trial_loss = logistic_loss_and_derivatives(trial_logits, y)[0]
            objective = trial_loss + penalty * l1_norm(trial)
            if objective <= value + 1e-4 * step * slope:
                beta = trial
                logits = trial_logits
                break
            step *= 0.5
        previous = value
        iterations += 1


def _best_scale(logits: Vector, y: Vector, cost: float) -> float:
    """Find the factor of the last solution that suits the new penalty, by two Newton steps."""
    if cost == 0:
        return 1.0
    scale = 1.0
    for _ in range(2):
        _, residual, weight = logistic_loss_and_derivatives(scale * logits, y)
        slope = float(np.sum(residual * logits)) + cost
        scale -= slope / max(float(np.sum(weight * logits**2)), 1e-300)
    if scale <= 0:
        return 1.0
    scaled = logistic_loss_and_derivatives(scale * logits, y)[0] + cost * scale
    unscaled = logistic_loss_and_derivatives(logits, y)[0] + cost
    return scale if scaled < unscaled else 1.0


def _minimise_model(
    columns: BinaryColumns,
    chosen: Indices,
    curvature: Vector,
    beta: Vector,
    residual: RowValues,
    weight: Vector,
    penalty: float,
) -> Vector:
    """Find the beta that nearly minimises the model; `residual` becomes the model's, in place."""
    total = float(weight.sum())
    new = beta.copy()
    row_weights = weight.astype(residual.dtype, copy=False)  # they have the residuals' precision
    history: list[tuple[Vector, Vector]] = []
    for number in range(SWEEPS):
        excess = total * new[-1] - float(residual.sum(dtype=np.float64))
        bias = (excess - min(max(excess, -penalty), penalty)) / total
        if bias != new[-1]:
            residual += (bias - new[-1]) * row_weights
            new[-1] = bias
        only_nonzero = number % HISTORY > 0  # zeros seldom change within a cycle
        coordinate_descent_sweep(
            columns, chosen, curvature, penalty, only_nonzero, new, residual, row_weights
        )
        history.append((new.copy(), residual.astype(np.float64)))
        if len(history) == HISTORY:
            new, residual[:] = _extrapolate(history, weight, penalty)
            history = []
    return new


def _extrapolate(
    history: list[tuple[Vector, Vector]], weight: Vector, penalty: float
) -> tuple[Vector, Vector]:
    """Find the model's best point in the span of the last sweeps' moves, or the last point."""
    # By `einsum`, not `@`: the order in which BLAS sums may depend on the number of threads.
    beta, residual = history[-1]
    moves = np.diff([beta for beta, _ in history], axis=0)
    images = np.diff([residual for _, residual in history], axis=0)
    signs = np.sign(beta)
    hessian = np.einsum("ai,bi->ab", images / weight, images)
    slopes = np.einsum("ai,i->a", images, residual / weight)
    slopes += penalty * np.einsum("aj,j->a", moves, signs)
    mix = -np.linalg.lstsq(hessian, slopes, rcond=1e-12)[0]
    # Once the sweeps have converged their moves are rounding noise, in which images and moves no
    # longer match: never blow such moves up.
    mix *= min(1.0, MAX_MIX / max(float(np.abs(mix).max()), 1e-300))
    move = np.einsum("a,aj->j", mix, moves)
    image = np.einsum("a,ai->i", mix, images)
    linear = float(np.sum(residual * image / weight))
    quadratic = 0.5 * float(np.sum(image * image / weight))
    norm = l1_norm(beta)
    for step in (1.0, 0.5, 0.25):  # signs may change on the way, so compare true model values
        rise = penalty * (l1_norm(beta + step * move) - norm)
        if step * linear + step**2 * quadratic + rise < 0:
            return beta + step * move, residual + step * image
    return beta.copy(), residual.copy()


def csr_to_columns(X: sparse.csr_matrix) -> BinaryColumns:
    """Convert a binary CSR matrix to columns: for each column, the rows in which it is one."""
    columns = X.tocsc(copy=True)
    columns.sort_indices()
    n_rows, n_columns = columns.shape
    n_rows_in_blocks = n_rows - n_rows % ROWS_PER_BLOCK
    as_rows = np.ones(columns.nnz, np.bool_)  # whether a one is stored as a row, not as a bit
    dense = np.flatnonzero(np.diff(columns.indptr) > DENSE * n_rows)
    bit_rows = np.full(n_columns, -1)
    bits = np.zeros((dense.size, n_rows_in_blocks // 8), np.uint8)
    bit_rows[dense] = np.arange(dense.size)
    for bit_row, j in enumerate(dense.tolist()):
        begin, end = columns.indptr[j : j + 2]
        ones = np.zeros(n_rows, np.bool_)
        ones[columns.indices[begin:end]] = True
        bits[bit_row] = np.packbits(ones[:n_rows_in_blocks], bitorder="little")
        as_rows[begin:end] = columns.indices[begin:end] >= n_rows_in_blocks
    starts = np.concatenate([[0], np.cumsum(as_rows)])[columns.indptr]
    rows = columns.indices[as_rows].astype(np.uint16 if n_rows <= 2**16 else np.uint32)
    return BinaryColumns(n_rows, starts, rows, bit_rows, bits.view(np.uint16))


@jit_inner
def _column_sum(columns: BinaryColumns, values: RowValues, j: int) -> float:
    """Sum `values` (n_rows,) over the rows of column j."""
    # Eight partial sums: one alone would wait for each addition to finish before the next.
    rows = columns.rows[columns.starts[j] : columns.starts[j + 1]]
    a = b = c = d = e = f = g = h = 0.0
    whole = rows.size // 8
    for eight in range(whole):
        k = 8 * eight
        a += values[rows[k]]
        b += values[rows[k + 1]]
        c += values[rows[k + 2]]
        d += values[rows[k + 3]]
        e += values[rows[k + 4]]
        f += values[rows[k + 5]]
        g += values[rows[k + 6]]
        h += values[rows[k + 7]]
    for k in range(8 * whole, rows.size):
        a += values[rows[k]]
    if columns.bit_rows[j] >= 0:
        a += sum_masked(columns.bits[columns.bit_rows[j]], values)
    return ((a + b) + (c + d)) + ((e + f) + (g + h))


@jit_inner
def _add_in_rows_of_column(
    columns: BinaryColumns, j: int, step: Float, values: RowValues, sums: RowValues
) -> None:
    """Add `step` times `values` to `sums`, both (n_rows,), in the rows of column j."""
    # The rows of a column differ, so four are read before any is written; LLVM cannot know that.
    rows = columns.rows[columns.starts[j] : columns.starts[j + 1]]
    whole = rows.size // 4
    for four in range(whole):
        k = 4 * four
        p = rows[k]
        q = rows[k + 1]
        r = rows[k + 2]
        s = rows[k + 3]
        a = sums[p] + step * values[p]
        b = sums[q] + step * values[q]
        c = sums[r] + step * values[r]
        d = sums[s] + step * values[s]
        sums[p] = a
        sums[q] = b
        sums[r] = c
        sums[s] = d
    for k in range(4 * whole, rows.size):
        p = rows[k]
        sums[p] += step * values[p]
    if columns.bit_rows[j] >= 0:
        add_masked(columns.bits[columns.bit_rows[j]], step, values, sums)


@jit_inner
def _soft_threshold(value: float, threshold: float) -> float:
    """Move a value towards 0 by the threshold, at most to 0."""
    if value > threshold:
        return value - threshold
    if value < -threshold:
        return value + threshold
    return 0.0


@jit_kernel
def column_sums(columns: BinaryColumns, values: RowValues, chosen: Indices) -> Vector:
    """Sum `values`, for each chosen column, over the rows where the column is one."""
    sums = np.empty(chosen.size)
    for q in range(chosen.size):
        sums[q] = _column_sum(columns, values, chosen[q])
    return sums


@jit_kernel
def compute_logits(columns: BinaryColumns, beta: Vector) -> Vector:
    """Compute each row's logit, (n_rows,): columns times coefficients, plus `beta[-1]`."""
    sums = np.full(columns.n_rows, beta[-1])
    ones = np.ones(columns.n_rows)
    for j in range(beta.size - 1):
        if beta[j] != 0.0:
            _add_in_rows_of_column(columns, j, beta[j], ones, sums)
    return sums


@jit_kernel
def coordinate_descent_sweep(
    columns: BinaryColumns,
    chosen: Indices,
    curvature: Vector,
    penalty: float,
    only_nonzero: bool,
    beta: Vector,
    residual: RowValues,
    weight: RowValues,
) -> None:
    """Do one sweep of coordinate descent on the quadratic approximation of the loss, in place."""
    for q in range(chosen.size):
        j = chosen[q]
        old = beta[j]
        if only_nonzero and old == 0.0:
            continue
        new = 0.0  # this is right for an empty column
        if curvature[q] > 0.0:
            slope = _column_sum(columns, residual, j)
            new = _soft_threshold(curvature[q] * old - slope, penalty) / curvature[q]
        if new != old:
            beta[j] = new
            _add_in_rows_of_column(columns, j, weight.dtype.type(new - old), weight, residual)
