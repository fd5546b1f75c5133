"""Sums over the rows of a binary CSR matrix as machine code: no batch is copied out of it.

One thread, and each sum in the order of the rows and of their ids: on every machine the numbers of
`torch.embedding_bag`, whatever else runs there. At 16 columns a second thread would wait longer
for its start than it has to do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

from llvmlite import ir

from dlrun.kernels import llvm
from dlrun.kernels.llvm import COUNT, FLOAT, INT32, Builder, Value

MOST = 64  # columns: so many floats fit in a few registers

MATRIX = [llvm.pointer(INT32), llvm.pointer(COUNT), llvm.pointer(COUNT), COUNT]
"""ids and starts of all rows, a CSR matrix's `indices` and `indptr`; which rows; how many."""


@dataclass(frozen=True)
class Kernels:
    """For one number of columns. Arrays are addresses, in C order; numbers float32.

    sum_words(weight, ids, starts, rows, count, sums): sums[i] = sum of weight[id] over row i's ids.
    sum_rows(gradient, ids, starts, rows, count, sums): sums[id] += sum of gradient[i] over the rows
    that hold the id.
    """

    sum_words: Callable[..., None]
    sum_rows: Callable[..., None]


@cache
def kernels(columns: int) -> Kernels | None:
    """Compiled at the first call; None for more columns than pay."""
    if columns > MOST:
        return None
    arguments = [llvm.pointer(FLOAT), *MATRIX, llvm.pointer(FLOAT)]
    return Kernels(
        llvm.function(arguments, partial(_sum_words, columns)),
        llvm.function(arguments, partial(_sum_rows, columns)),
    )


def _sum_words(columns: int, builder: Builder, weight: Value, *arguments: Value) -> None:
    *matrix, sums = arguments

    def row(i: Value, ids: Value, first: Value, after: Value) -> None:
        def word(at: Value, total: Value) -> Sequence[Value]:
            place = _row(builder, weight, _id(builder, ids, at), columns)
            return [builder.fadd(total, builder.load(place, align=4))]

        zeros = ir.Constant(llvm.numbers(columns), [0.0] * columns)
        (total,) = llvm.loop(builder, first, after, word, carried=[zeros])
        builder.store(total, _row(builder, sums, i, columns), align=4)

    _each_row(builder, matrix, row)


def _sum_rows(columns: int, builder: Builder, gradient: Value, *arguments: Value) -> None:
    *matrix, sums = arguments

    def row(i: Value, ids: Value, first: Value, after: Value) -> None:
        added = builder.load(_row(builder, gradient, i, columns), align=4)

        def word(at: Value) -> Sequence[Value]:
            place = _row(builder, sums, _id(builder, ids, at), columns)
            builder.store(builder.fadd(builder.load(place, align=4), added), place, align=4)
            return []

        llvm.loop(builder, first, after, word)

    _each_row(builder, matrix, row)


def _each_row(
    builder: Builder,
    matrix: Sequence[Value],
    body: Callable[[Value, Value, Value, Value], None],
) -> None:
    """`body` gets the row's place in the batch, all ids, and where its own begin and end."""

    ids, starts, rows, count = matrix

    def row(i: Value) -> Sequence[Value]:
        number = builder.load(llvm.at(builder, rows, i))
        following = builder.add(number, llvm.constant(1))
        first, after = (
            builder.load(llvm.at(builder, starts, place)) for place in (number, following)
        )
        body(i, ids, first, after)
        return []

    llvm.loop(builder, llvm.constant(0), count, row)


def _id(builder: Builder, ids: Value, at: Value) -> Value:
    return builder.sext(builder.load(llvm.at(builder, ids, at)), COUNT)


def _row(builder: Builder, array: Value, index: Value, columns: int) -> Value:
    start = builder.mul(index, llvm.constant(columns))
    return llvm.at(builder, array, start, llvm.numbers(columns))
