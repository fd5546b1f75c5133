"""Compute `nn.Linear` for binary bags of words without the dense matrix.

On a CPU in float32 machine code reads the rows of the whole matrix in place. One thread computes
each sum in the order of the rows and of their ids, so the numbers are those of torch's
`embedding_bag` on every machine. At 16 columns a second thread would take longer to start than to
compute.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from llvmlite import ir
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional as F

from dlrun.kernels import llvm
from dlrun.kernels.llvm import Builder, LlvmArray, Value, Write, write_loop

MAX_COLUMNS = 64  # so many floats fit in a few registers


class BagTensors(NamedTuple):
    """Holds a batch of bags of words as torch tensors: a sparse matrix by rows and by columns."""

    ids: Tensor  # (n_ids,): of all bags, end to end
    starts: Tensor  # (batch,): where each bag begins in `ids`
    holders: Tensor  # (n_ids,): the bags that hold each id, end to end
    id_starts: Tensor  # (width,): where each id begins in `holders`


class Bags:
    """Holds a batch of bags of words: rows of a binary CSR matrix (n_rows, width), without a copy.

    `rows` (batch,) are their numbers. The kernels do not check that the matrix's ids are below its
    width. Raises IndexError if a row does not exist.
    """

    def __init__(self, matrix: sparse.csr_matrix, rows: NDArray[np.int64]) -> None:
        self.matrix, self.rows = matrix, np.ascontiguousarray(rows, np.int64)
        if len(rows) and not 0 <= rows.min() <= rows.max() < matrix.shape[0]:
            raise IndexError(f"rows {rows.min()} to {rows.max()} of {matrix.shape[0]}")

    def __len__(self) -> int:
        return len(self.rows)

    def to(self, device: torch.device, **_: Any) -> "Bags | BagTensors":
        """Return the bags for the CPU, or tensors for another device; Lightning calls this."""
        if device.type == "cpu":
            return self
        return BagTensors(*(part.to(device) for part in self.tensors()))

    def tensors(self) -> BagTensors:
        """Return copies of the batch's rows as tensors for torch."""
        rows = self.matrix[self.rows]
        columns = rows.tocsc()
        parts = rows.indices, rows.indptr[:-1], columns.indices, columns.indptr[:-1]
        return BagTensors(*(torch.from_numpy(part.copy()) for part in parts))

    def addresses(self) -> tuple[int, int, int, int]:
        """Return the addresses of the matrix's ids, starts and batch rows, and the batch's size."""
        arrays = self.matrix.indices, self.matrix.indptr, self.rows
        ids, starts, rows = (array.ctypes.data for array in arrays)
        return ids, starts, rows, len(self.rows)


class BagLinear(nn.Module):
    """Computes `nn.Linear` for binary bags of words, by summing the weight rows of a bag's words.

    The weight is stored as (in_features, out_features), so that a word's row is contiguous. It is
    initialised as nn.Linear's.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(in_features, out_features))
        self.bias = nn.Parameter(torch.empty(out_features))
        bound = 1 / math.sqrt(in_features)
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, bags: Bags | BagTensors | Tensor) -> Tensor:
        """Return (batch, out_features) for bags, or for a matrix of 0 and 1 (batch, in_features).

        Raises ValueError if the bags have more or fewer words than the weight.
        """
        if isinstance(bags, Tensor):
            return bags @ self.weight + self.bias
        width = bags.matrix.shape[1] if isinstance(bags, Bags) else len(bags.id_starts)
        if width != len(self.weight):
            raise ValueError(f"bags of {width} words, {len(self.weight)} weights")
        if isinstance(bags, Bags) and not self._fits_kernels(bags):
            bags = bags.tensors()
        sums: Tensor = _BagSum.apply(self.weight, bags)  # type: ignore[no-untyped-call]
        return sums + self.bias

    def _fits_kernels(self, bags: Bags) -> bool:
        weight = self.weight
        return (
            weight.device.type == "cpu"
            and weight.dtype == torch.float32
            and weight.shape[1] <= MAX_COLUMNS
            and bags.matrix.indices.dtype == np.int32
        )


class _BagSum(torch.autograd.Function):
    """Sums the weight rows of each bag's ids, and in backward the gradients of each id's bags.

    embedding_bag's own backward takes twenty times as long on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bags: Bags | BagTensors) -> Tensor:
        ctx.bags, ctx.width = bags, len(weight)
        if isinstance(bags, BagTensors):
            return F.embedding_bag(bags.ids, weight, bags.starts, mode="sum")
        weight = weight.contiguous()
        sums = weight.new_empty(len(bags), weight.shape[1])
        compile_bag_sums(weight.shape[1])(weight.data_ptr(), *bags.addresses(), sums.data_ptr())
        return sums

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        bags, gradient = ctx.bags, gradients[0].contiguous()  # (batch, out_features)
        if isinstance(bags, BagTensors):
            return F.embedding_bag(bags.holders, gradient, bags.id_starts, mode="sum"), None
        sums = gradient.new_zeros(ctx.width, gradient.shape[1])
        compile_gradient_sums(gradient.shape[1])(
            gradient.data_ptr(), *bags.addresses(), sums.data_ptr()
        )
        return sums, None


@cache
def compile_bag_sums(columns: int) -> Callable[..., None]:
    """Compile a function that sums, for each bag, the weight rows of its ids."""
    zeros = ir.Constant(llvm.vector_type(columns), [0.0] * columns)

    def write_row(
        builder: Builder, weight: LlvmArray, sums: LlvmArray, i: Value, over_ids: Write
    ) -> None:
        sums[i] = over_ids(lambda word, total: builder.fadd(total, weight[word]), zeros)

    return _compile(columns, write_row)


@cache
def compile_gradient_sums(columns: int) -> Callable[..., None]:
    """Compile a function that adds, for each id, the gradients of the bags that hold it."""

    def write_row(
        builder: Builder, grads: LlvmArray, sums: LlvmArray, i: Value, over_ids: Write
    ) -> None:
        gradient = grads[i]

        def add(word: Value) -> None:
            sums[word] = builder.fadd(sums[word], gradient)

        over_ids(add)

    return _compile(columns, write_row)


def _compile(columns: int, write_row: Write) -> Callable[..., None]:
    """Compile a loop over rows; the arguments are numbers, Bags' addresses and the sums."""

    def write(builder: Builder, numbers: Value, *bags: Value) -> None:
        *addresses, count, results = bags
        ids, starts, rows = (LlvmArray(builder, address) for address in addresses)
        given, sums = LlvmArray(builder, numbers, columns), LlvmArray(builder, results, columns)

        def write_one(i: Value) -> None:
            row = rows[i]
            first, end = starts[row], starts[builder.add(row, llvm.count_constant(1))]

            def over_ids(body: Write, initial: Value | None = None) -> Value:
                return write_loop(
                    builder, first, end, lambda k, *kept: body(ids[k], *kept), initial
                )

            write_row(builder, given, sums, i, over_ids)

        write_loop(builder, llvm.count_constant(0), count, write_one)

    addresses = [llvm.FLOATS, llvm.INT32S, llvm.INT32S, llvm.COUNTS]
    return llvm.compile_function([*addresses, llvm.COUNT, llvm.FLOATS], write)
