"""A binary matrix by its columns, and the passes over it that the lasso's solver is made of.

All entries are one, so a column is only a list of rows, each in 16 bits: rows are counted from the
start of their block of BLOCK rows, which halves what is read beyond 65,536 rows.

What a pass takes is mostly the reading of the rows' numbers from the caches. So a row's residual
and weight lie beside each other, and both may be in single precision; sums are always in double.
"""

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from dlrun.kernels.numba_cache import jit, kernel
from dlrun.lasso.path import Vector

BLOCK = 2**16  # rows
Places = NDArray[np.int64]
Pairs = NDArray[np.floating[Any]]  # (n_rows, 2): each row's residual, and its weight p (1 - p)


class Columns:
    """The columns as lists of rows, cut where a block ends.

    `dtype` is that of the rows' numbers in `sums` and `sweep`. Raises ValueError for a matrix that
    is not binary.
    """

    def __init__(self, X: sparse.csr_matrix, dtype: type[np.floating[Any]] = np.float64) -> None:
        columns = X.tocsc(copy=True)
        columns.sum_duplicates()  # sorts each column's rows too
        if not np.all(columns.data == 1):
            raise ValueError("X must be binary: every stored value 1, none repeated")
        self.dtype = dtype
        self.n_rows, self.every = X.shape[0], np.arange(X.shape[1])
        self.blocks = max(1, -(-self.n_rows // BLOCK))
        self.indices = columns.indices.astype(np.uint16)  # modulo BLOCK
        self.starts = _block_starts(columns, self.blocks)
        self._load()

    def _load(self) -> None:
        """Load the machine code, or compile it: here, and not in the first penalty's time."""
        nothing, beta = np.zeros(self.n_rows), np.zeros(self.every.size + 1)
        self.sums(nothing, self.every[:0])
        self.margins(beta)
        self.sweep(self.every[:0], nothing[:0], 1.0, True, beta, self.pairs(nothing, nothing))

    def sums(self, values: Vector, columns: Places) -> Vector:
        """The sum of `values` (n_rows,) over the rows of each of `columns`."""
        out, values = np.empty(columns.size), values.astype(self.dtype, copy=False)
        _column_sums(self.starts, self.indices, self.blocks, values, columns, out)
        return out

    def margins(self, beta: Vector) -> Vector:
        """The linear predictor of each row, (n_rows,); the intercept is the last of beta."""
        out = np.full(self.n_rows, beta[-1])
        _add_columns(self.starts, self.indices, self.blocks, beta[:-1], out)
        return out

    def pairs(self, residual: Vector, weight: Vector) -> Pairs:
        """What `sweep` needs of each row: its residual in the model, and its weight p (1 - p)."""
        return np.stack([residual, weight], axis=1).astype(self.dtype, copy=False)

    def sweep(
        self,
        columns: Places,
        curvature: Vector,
        penalty: float,
        only_nonzero: bool,
        beta: Vector,
        rows: Pairs,
    ) -> None:
        """Coordinate descent on the quadratic model, once; updates beta and residuals in place.

        Args:
            columns: what is minimised over, in turn.
            curvature: of each of `columns`: the sum of `weight` over its rows.
            penalty: of the coefficients' absolute values.
            only_nonzero: leave out coefficients that are zero.
            beta: the coefficients, then the intercept, (n_columns + 1,).
            rows: see `pairs`.
        """
        _sweep(
            self.starts,
            self.indices,
            self.blocks,
            columns,
            curvature,
            penalty,
            only_nonzero,
            beta,
            rows,
        )


def _block_starts(columns: sparse.csc_matrix, blocks: int) -> Places:
    """(n_columns * blocks + 1,): the place in `indices` of each block of each column."""
    starts = [np.zeros(1, dtype=np.int64)]
    ends = np.arange(1, blocks + 1) * BLOCK
    for begin, end in pairwise(columns.indptr):
        starts.append(begin + np.searchsorted(columns.indices[begin:end], ends))
    return np.concatenate(starts)


# In the kernels a block's first row is unsigned, as its entries are, and a column's part a slice:
# no index can be negative then, and none is tested for it.


@jit
def _soft(value: float, threshold: float) -> float:
    if value > threshold:
        return value - threshold
    if value < -threshold:
        return value + threshold
    return 0.0


@jit
def _column_sum(starts: Any, indices: Any, blocks: int, values: Any, j: int) -> float:
    # Eight partial sums: one alone would wait for each addition to finish before the next.
    a = b = c = d = e = f = g = h = 0.0
    for block in range(blocks):
        at, first = j * blocks + block, np.uint64(block * BLOCK)
        rows = indices[starts[at] : starts[at + 1]]
        whole = rows.size // 8
        for eight in range(whole):
            k = 8 * eight
            a += values[first + rows[k]]
            b += values[first + rows[k + 1]]
            c += values[first + rows[k + 2]]
            d += values[first + rows[k + 3]]
            e += values[first + rows[k + 4]]
            f += values[first + rows[k + 5]]
            g += values[first + rows[k + 6]]
            h += values[first + rows[k + 7]]
        for k in range(8 * whole, rows.size):
            a += values[first + rows[k]]
    return ((a + b) + (c + d)) + ((e + f) + (g + h))


@jit
def _move(starts: Any, indices: Any, blocks: int, j: int, step: Any, pairs: Any) -> None:
    # The rows of a column differ, so four are read before any is written; LLVM cannot know that.
    for block in range(blocks):
        at, first = j * blocks + block, np.uint64(block * BLOCK)
        rows = indices[starts[at] : starts[at + 1]]
        whole = rows.size // 4
        for four in range(whole):
            k = 4 * four
            p, q = first + rows[k], first + rows[k + 1]
            r, s = first + rows[k + 2], first + rows[k + 3]
            a, b = pairs[p, 0] + step * pairs[p, 1], pairs[q, 0] + step * pairs[q, 1]
            c, d = pairs[r, 0] + step * pairs[r, 1], pairs[s, 0] + step * pairs[s, 1]
            pairs[p, 0], pairs[q, 0], pairs[r, 0], pairs[s, 0] = a, b, c, d
        for k in range(4 * whole, rows.size):
            p = first + rows[k]
            pairs[p, 0] += step * pairs[p, 1]


@kernel
def _column_sums(
    starts: Any, indices: Any, blocks: int, values: Any, columns: Any, out: Any
) -> None:
    for q in range(columns.size):
        out[q] = _column_sum(starts, indices, blocks, values, columns[q])


@kernel
def _add_columns(starts: Any, indices: Any, blocks: int, coef: Any, out: Any) -> None:
    for j in range(coef.size):
        if coef[j] != 0.0:
            for block in range(blocks):
                at, first = j * blocks + block, np.uint64(block * BLOCK)
                rows = indices[starts[at] : starts[at + 1]]
                for k in range(rows.size):
                    out[first + rows[k]] += coef[j]


@kernel
def _sweep(
    starts: Any,
    indices: Any,
    blocks: int,
    columns: Any,
    curvature: Any,
    penalty: float,
    only_nonzero: bool,
    beta: Any,
    pairs: Any,
) -> None:
    residual = pairs[:, 0]
    for q in range(columns.size):
        j = columns[q]
        old = beta[j]
        if only_nonzero and old == 0.0:
            continue
        new = 0.0  # right for an empty column
        if curvature[q] > 0.0:
            slope = _column_sum(starts, indices, blocks, residual, j)
            new = _soft(curvature[q] * old - slope, penalty) / curvature[q]
        if new != old:
            beta[j] = new
            _move(starts, indices, blocks, j, pairs.dtype.type(new - old), pairs)
