"""Store a binary matrix by its columns, and compute the lasso solver's passes over it.

All entries are one, so a column is only a list of rows, each in 16 bits up to 65,536 rows.

A pass over the columns of a working set reads, for each entry, 2 bytes of row number and the row's
residual, and does one addition; a column that moves also reads and writes its rows' pairs. Memory
is the bound: so a row's residual and weight lie side by side, and may be in single precision
(8 bytes a row); sums are always in double.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from dlrun.kernels.jit import jit, jit_kernel
from dlrun.lasso.path import Vector

Places = NDArray[np.int64]
Float: TypeAlias = np.floating[Any]  # in single or double precision
Precision: TypeAlias = type[Float]
Values = NDArray[Float]
Rows = NDArray[np.uint16] | NDArray[np.uint32]  # unsigned: no index is tested for being negative


class BinaryColumns(NamedTuple):
    """Holds, for each column of a binary matrix, the rows in which it is one."""

    starts: Places  # (n_columns + 1,): where each column begins in `rows`
    rows: Rows  # (n_ones,)


def binary_columns(X: sparse.csr_matrix) -> BinaryColumns:
    """Return the columns of a binary matrix; raise ValueError if it is not binary."""
    columns = X.tocsc(copy=True)
    columns.sum_duplicates()  # sorts each column's rows too
    if not np.all(columns.data == 1):
        raise ValueError("X must be binary: every stored value 1, none repeated")
    narrow = X.shape[0] <= 2**16
    rows = columns.indices.astype(np.uint16 if narrow else np.uint32)
    return BinaryColumns(columns.indptr.astype(np.int64), rows)


@jit
def _column_sum(columns: BinaryColumns, values: Values, j: int) -> float:
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
    return ((a + b) + (c + d)) + ((e + f) + (g + h))


@jit
def _move(columns: BinaryColumns, j: int, step: Float, pairs: Values) -> None:
    # The rows of a column differ, so four are read before any is written; LLVM cannot know that.
    rows = columns.rows[columns.starts[j] : columns.starts[j + 1]]
    whole = rows.size // 4
    for four in range(whole):
        k = 4 * four
        p, q, r, s = rows[k], rows[k + 1], rows[k + 2], rows[k + 3]
        a, b = pairs[p, 0] + step * pairs[p, 1], pairs[q, 0] + step * pairs[q, 1]
        c, d = pairs[r, 0] + step * pairs[r, 1], pairs[s, 0] + step * pairs[s, 1]
        pairs[p, 0], pairs[q, 0], pairs[r, 0], pairs[s, 0] = a, b, c, d
    for k in range(4 * whole, rows.size):
        p = rows[k]
        pairs[p, 0] += step * pairs[p, 1]


@jit
def _soft_threshold(value: float, threshold: float) -> float:
    if value > threshold:
        return value - threshold
    if value < -threshold:
        return value + threshold
    return 0.0


@jit_kernel
def column_sums(columns: BinaryColumns, values: Values, chosen: Places) -> Vector:
    """Return the sum of `values` (n_rows,) over the rows of each chosen column."""
    sums = np.empty(chosen.size)
    for q in range(chosen.size):
        sums[q] = _column_sum(columns, values, chosen[q])
    return sums


@jit_kernel
def margins(columns: BinaryColumns, beta: Vector, n_rows: int) -> Vector:
    """Return the linear predictor of each row, (n_rows,); the intercept is the last of beta."""
    sums = np.full(n_rows, beta[-1])
    for j in range(beta.size - 1):
        if beta[j] != 0.0:
            for k in range(columns.starts[j], columns.starts[j + 1]):
                sums[columns.rows[k]] += beta[j]
    return sums


@jit_kernel
def coordinate_descent_sweep(
    columns: BinaryColumns,
    chosen: Places,
    curvature: Vector,
    penalty: float,
    only_nonzero: bool,
    beta: Vector,
    pairs: Values,
) -> None:
    """Do one sweep of coordinate descent on the quadratic model; update beta and residuals.

    Args:
        columns: the matrix.
        chosen: the columns that are minimised over, in turn.
        curvature: of each of them: the sum of the weights over its rows.
        penalty: of the coefficients' absolute values.
        only_nonzero: leave out coefficients that are zero.
        beta: the coefficients, then the intercept, (n_columns + 1,).
        pairs: each row's residual, and its weight p (1 - p), (n_rows, 2).
    """
    residual = pairs[:, 0]
    for q in range(chosen.size):
        j = chosen[q]
        old = beta[j]
        if only_nonzero and old == 0.0:
            continue
        new = 0.0  # right for an empty column
        if curvature[q] > 0.0:
            slope = _column_sum(columns, residual, j)
            new = _soft_threshold(curvature[q] * old - slope, penalty) / curvature[q]
        if new != old:
            beta[j] = new
            _move(columns, j, pairs.dtype.type(new - old), pairs)


def load_kernels(columns: BinaryColumns, n_rows: int, dtype: Precision) -> None:
    """Load or compile the machine code of this module for values of a precision."""
    none, beta, pairs = np.arange(0), np.zeros(columns.starts.size), np.zeros((n_rows, 2), dtype)
    margins(columns, beta, n_rows)
    coordinate_descent_sweep(
        columns, none, column_sums(columns, pairs.ravel(), none), 1.0, True, beta, pairs
    )
