"""Sums over the rows of a binary CSR matrix as machine code, without a copy of the batch's rows.

One thread computes each sum in the order of the rows and of their ids, so the numbers are those of
`torch.embedding_bag` on every machine. At 16 columns a second thread would take longer to start
than to compute.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

from llvmlite import ir

from dlrun.kernels import llvm
from dlrun.kernels.llvm import Array, Builder, Loop, Value

MAX_COLUMNS = 64  # so many floats fit in a few registers


@dataclass(frozen=True)
class Kernels:
    """The two sums for one number of columns.

    Arrays are addresses, in C order; numbers are float32. A matrix is given as a CSR matrix's
    `indices` (int32) and `indptr` (int64), the numbers of some rows (int64), and how many.

    sum_words(weight, ids, starts, rows, count, sums): sums[i] = sum of weight[id] over row i's ids.
    sum_rows(gradient, ids, starts, rows, count, sums): sums[id] += sum of gradient[i] over the rows
    that hold the id.
    """

    sum_words: Callable[..., None]
    sum_rows: Callable[..., None]


@cache
def kernels(columns: int) -> Kernels | None:
    """Compile the kernels at the first call; return None if there are too many columns."""
    if columns > MAX_COLUMNS:
        return None
    arguments = [llvm.FLOATS, llvm.INT32S, llvm.COUNTS, llvm.COUNTS, llvm.COUNT, llvm.FLOATS]
    return Kernels(
        llvm.function(arguments, partial(_sum_words, columns)),
        llvm.function(arguments, partial(_sum_rows, columns)),
    )


def _sum_words(columns: int, builder: Builder, weight: Value, *arguments: Value) -> None:
    *matrix, sums = arguments
    words, results = Array(builder, weight, columns), Array(builder, sums, columns)
    zeros = ir.Constant(llvm.vector(columns), [0.0] * columns)
    with Loop(builder, 0, matrix[-1]) as batch:
        ids, first, end = _row(builder, matrix, batch.index)
        with Loop(builder, first, end, zeros) as row:
            row.value = builder.fadd(row.value, words[ids[row.index]])
        results[batch.index] = row.value


def _sum_rows(columns: int, builder: Builder, gradient: Value, *arguments: Value) -> None:
    *matrix, sums = arguments
    gradients, results = Array(builder, gradient, columns), Array(builder, sums, columns)
    with Loop(builder, 0, matrix[-1]) as batch:
        ids, first, end = _row(builder, matrix, batch.index)
        added = gradients[batch.index]
        with Loop(builder, first, end) as row:
            word = ids[row.index]
            results[word] = builder.fadd(results[word], added)


def _row(builder: Builder, matrix: list[Value], index: Value) -> tuple[Array, Value, Value]:
    """Return all ids of the matrix, and where those of a row of the batch begin and end."""
    ids, starts, rows = (Array(builder, address) for address in matrix[:3])
    number = rows[index]
    return ids, starts[number], starts[builder.add(number, ir.Constant(llvm.COUNT, 1))]
