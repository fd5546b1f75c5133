"""A binary matrix by its columns, and the passes over it that the lasso's solver is made of.

All entries are one, so a column is only a list of rows, each in 16 bits: rows are counted from the
start of their block of BLOCK rows, which halves what is read beyond 65,536 rows.

A pass over the columns of a working set reads, for each entry, 2 bytes of row number and the row's
residual, and does one addition; a column that moves also reads and writes its rows' pairs. Memory
is the bound: so a row's residual and weight lie side by side, and may be in single precision
(8 bytes a row); sums are always in double.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from dlrun.kernels.numba_cache import jit, kernel
from dlrun.lasso.path import Vector

BLOCK = 2**16  # rows
Places = NDArray[np.int64]
Values = NDArray[np.floating[Any]]  # (n_rows,), in single or double precision
Pairs = NDArray[np.floating[Any]]  # (n_rows, 2): each row's residual, and its weight p (1 - p)


class Entries(NamedTuple):
    """The rows in which each column is one, cut where a block of rows ends."""

    starts: Places  # (n_columns * blocks + 1,): index in `rows` of each block of each column
    rows: NDArray[np.uint16]  # (n_ones,): modulo BLOCK
    blocks: int


class Columns:
    """A binary matrix for the solver's passes.

    `dtype` is that of the rows' numbers in `sums` and `sweep`. Raises ValueError if the matrix is
    not binary.
    """

    def __init__(self, X: sparse.csr_matrix, dtype: type[np.floating[Any]] = np.float64) -> None:
        columns = X.tocsc(copy=True)
        columns.sum_duplicates()  # sorts each column's rows too
        if not np.all(columns.data == 1):
            raise ValueError("X must be binary: every stored value 1, none repeated")
        self.dtype = dtype
        self.n_rows, self.every = X.shape[0], np.arange(X.shape[1])
        blocks = max(1, -(-self.n_rows // BLOCK))
        rows = columns.indices.astype(np.uint16)  # modulo BLOCK
        self.entries = Entries(_block_starts(columns, blocks), rows, blocks)
        self._load_kernels()

    def _load_kernels(self) -> None:
        """Load or compile the machine code here, and not in the first penalty's time."""
        nothing, beta = np.zeros(self.n_rows), np.zeros(self.every.size + 1)
        self.sums(nothing, self.every[:0])
        self.margins(beta)
        self.sweep(self.every[:0], nothing[:0], 1.0, True, beta, self.pairs(nothing, nothing))

    def sums(self, values: Vector, columns: Places) -> Vector:
        """Return the sum of `values` (n_rows,) over the rows of each of `columns`."""
        out = np.empty(columns.size)
        _column_sums(self.entries, values.astype(self.dtype, copy=False), columns, out)
        return out

    def margins(self, beta: Vector) -> Vector:
        """Return the linear predictor of each row, (n_rows,); the intercept is the last of beta."""
        out = np.full(self.n_rows, beta[-1])
        _add_columns(self.entries, beta[:-1], out)
        return out

    def pairs(self, residual: Vector, weight: Vector) -> Pairs:
        """Return what `sweep` needs of each row: its residual, and its weight p (1 - p)."""
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
        """Do coordinate descent on the quadratic model once; update beta and residuals in place.

        Args:
            columns: what is minimised over, in turn.
            curvature: of each of `columns`: the sum of `weight` over its rows.
            penalty: of the coefficients' absolute values.
            only_nonzero: leave out coefficients that are zero.
            beta: the coefficients, then the intercept, (n_columns + 1,).
            rows: see `pairs`.
        """
        _sweep(self.entries, columns, curvature, penalty, only_nonzero, beta, rows)


def _block_starts(columns: sparse.csc_matrix, blocks: int) -> Places:
    starts = [np.zeros(1, dtype=np.int64)]
    ends = np.arange(1, blocks + 1) * BLOCK
    for begin, end in pairwise(columns.indptr):
        starts.append(begin + np.searchsorted(columns.indices[begin:end], ends))
    return np.concatenate(starts)


# In the kernels a block's first row is unsigned, as its entries are, and a column's part a slice:
# no index can be negative then, and none is tested for it.


@jit
def _soft_threshold(value: float, threshold: float) -> float:
    if value > threshold:
        return value - threshold
    if value < -threshold:
        return value + threshold
    return 0.0


@jit
def _column_sum(entries: Entries, values: Any, j: int) -> float:
    # Eight partial sums: one alone would wait for each addition to finish before the next.
    a = b = c = d = e = f = g = h = 0.0
    for block in range(entries.blocks):
        at, first = j * entries.blocks + block, np.uint64(block * BLOCK)
        rows = entries.rows[entries.starts[at] : entries.starts[at + 1]]
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
def _move(entries: Entries, j: int, step: Any, pairs: Pairs) -> None:
    # The rows of a column differ, so four are read before any is written; LLVM cannot know that.
    for block in range(entries.blocks):
        at, first = j * entries.blocks + block, np.uint64(block * BLOCK)
        rows = entries.rows[entries.starts[at] : entries.starts[at + 1]]
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
def _column_sums(entries: Entries, values: Values, columns: Places, out: Vector) -> None:
    for q in range(columns.size):
        out[q] = _column_sum(entries, values, columns[q])


@kernel
def _add_columns(entries: Entries, coef: Vector, out: Vector) -> None:
    for j in range(coef.size):
        if coef[j] != 0.0:
            for block in range(entries.blocks):
                at, first = j * entries.blocks + block, np.uint64(block * BLOCK)
                rows = entries.rows[entries.starts[at] : entries.starts[at + 1]]
                for k in range(rows.size):
                    out[first + rows[k]] += coef[j]


@kernel
def _sweep(
    entries: Entries,
    columns: Places,
    curvature: Vector,
    penalty: float,
    only_nonzero: bool,
    beta: Vector,
    pairs: Pairs,
) -> None:
    residual = pairs[:, 0]
    for q in range(columns.size):
        j = columns[q]
        old = beta[j]
        if only_nonzero and old == 0.0:
            continue
        new = 0.0  # right for an empty column
        if curvature[q] > 0.0:
            slope = _column_sum(entries, residual, j)
            new = _soft_threshold(curvature[q] * old - slope, penalty) / curvature[q]
        if new != old:
            beta[j] = new
            _move(entries, j, pairs.dtype.type(new - old), pairs)
