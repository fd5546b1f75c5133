"""Compute `nn.Linear` for sparse rows, such as binary bags of words, without the dense matrix.

Torch's `embedding_bag` computes the sums. For bags of words, on a CPU in float32, compiled code
reads a batch's rows from the whole matrix, without a copy. One thread computes each sum in the
order of the rows and of their ids, so the results are the bits of torch's `embedding_bag` on every
machine. At 16 outputs a second thread would take longer to start than to compute.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from llvmlite import ir
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional as F

from dlrun.kernels import llvm_loops
from dlrun.kernels.batch_parts import Context, apply_autograd_function
from dlrun.kernels.llvm_loops import Builder, LlvmArray, Value, count_constant, write_loop

MAX_OUTPUTS = 64  # so many floats fit in a few registers


class BagOfWordsTensors(NamedTuple):
    """Holds a batch of bags of words as torch tensors: a sparse matrix by rows and by columns."""

    ids: Tensor  # (n_ids,): the ids of the first bag, then those of the second, and so on
    starts: Tensor  # (batch,): where each bag begins in `ids`
    holders: Tensor  # (n_ids,): the bags that hold the first id, then the second id, and so on
    id_starts: Tensor  # (width,): where each id begins in `holders`
    values: Tensor | None = None  # (n_ids,): of each id in `ids`; all are 1 if None
    held_values: Tensor | None = None  # (n_ids,): the same values in the order of `holders`


class BagOfWordsBatch:
    """Holds a batch of bags of words: rows of a binary CSR matrix (n_rows, width), not copied.

    row_indices: the rows of the batch, (batch,).
    binary: whether the matrix has no other values than 1. An image's pixels are others.

    Raises IndexError if a row does not exist.
    """

    def __init__(
        self, matrix: sparse.csr_matrix, row_indices: NDArray[np.int64], *, binary: bool = True
    ) -> None:
        self.matrix = matrix
        self.row_indices = np.ascontiguousarray(row_indices, np.int64)
        self.binary = binary
        if len(row_indices) and not 0 <= row_indices.min() <= row_indices.max() < matrix.shape[0]:
            raise IndexError(
                f"rows {row_indices.min()} to {row_indices.max()} of {matrix.shape[0]}"
            )

    def __len__(self) -> int:
        return len(self.row_indices)

    def to(self, device: torch.device, **_: object) -> "BagOfWordsBatch | BagOfWordsTensors":
        """Keep the bags for the CPU, or copy them to another device. Lightning calls `to`."""
        if device.type == "cpu":
            return self
        return BagOfWordsTensors(*(part.to(device) for part in self.tensors() if part is not None))

    def tensors(self) -> BagOfWordsTensors:
        """Copy the batch's rows to tensors for torch."""
        rows = self.matrix[self.row_indices]
        columns = rows.tocsc()
        parts = [rows.indices, rows.indptr[:-1], columns.indices, columns.indptr[:-1]]
        parts += [] if self.binary else [rows.data, columns.data]
        return BagOfWordsTensors(*(torch.from_numpy(part) for part in parts))

    def can_sum_compiled(self, weight: Tensor) -> bool:
        """Decide whether compiled code can sum rows of a weight (width, outputs) over the bags."""
        return (
            self.binary
            and weight.device.type == "cpu"
            and weight.dtype == torch.float32
            and weight.shape[1] <= MAX_OUTPUTS
            and self.matrix.indices.dtype == np.int32
        )

    def sum_rows(self, numbers: Tensor, sums: Tensor, *, by_id: bool) -> None:
        """Write sums of rows of float32 `numbers` into `sums`: per bag, or with `by_id` per id.

        Per bag, (width, outputs) becomes (batch, outputs). Per id, (batch, outputs) becomes
        (width, outputs), and `sums` must be zeros.
        """
        arrays = self.matrix.indices, self.matrix.indptr, self.row_indices
        addresses = (array.ctypes.data for array in arrays)
        compiled = _compile_sums(numbers.shape[1], by_id)
        compiled(numbers.data_ptr(), *addresses, len(self), sums.data_ptr())


def sparse_from_bytes(rows: NDArray[np.uint8], scale: float) -> sparse.csr_matrix:
    """Make a sparse float32 CSR matrix of byte rows (n_rows, width) divided by `scale`.

    Scipy's own conversion of a dense array takes five times as long.
    """
    found = rows != 0
    starts = np.cumsum([0, *np.count_nonzero(found, axis=1)], dtype=np.int32)
    ids = np.broadcast_to(np.arange(rows.shape[1], dtype=np.int32), rows.shape)[found]
    return sparse.csr_matrix((rows[found] / np.float32(scale), ids, starts), rows.shape)


class BagLinear(nn.Module):
    """Computes `nn.Linear` for bags of words, by summing the weight rows of each bag's words.

    The weight is (in_features, out_features): a word's row is contiguous.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(in_features, out_features))
        self.bias = nn.Parameter(torch.empty(out_features))
        bound = 1 / math.sqrt(in_features)
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, bags: BagOfWordsBatch | BagOfWordsTensors | Tensor) -> Tensor:
        """Compute (batch, out_features) for bags, or for a dense matrix (batch, in_features)."""
        if isinstance(bags, Tensor):
            return bags @ self.weight + self.bias
        width = bags.matrix.shape[1] if isinstance(bags, BagOfWordsBatch) else len(bags.id_starts)
        if width != len(self.weight):
            raise ValueError(f"bags of {width} words, {len(self.weight)} weights")
        if isinstance(bags, BagOfWordsBatch) and not bags.can_sum_compiled(self.weight):
            bags = bags.tensors()
        sums = apply_autograd_function(_BagSum, self.weight, bags)
        return sums.add_(self.bias)


class _BagSum(torch.autograd.Function):
    """Sums the weight rows of each bag's ids; embedding_bag's own backward is 20 times as slow."""

    @staticmethod
    def forward(ctx: Context, weight: Tensor, bags: BagOfWordsBatch | BagOfWordsTensors) -> Tensor:
        ctx.bags = bags
        ctx.width = len(weight)
        if isinstance(bags, BagOfWordsTensors):
            return _sum_bags(weight, bags.ids, bags.starts, bags.values)
        sums = weight.new_empty(len(bags), weight.shape[1])
        bags.sum_rows(weight.contiguous(), sums, by_id=False)
        return sums

    @staticmethod
    def backward(ctx: Context, *gradients: Tensor) -> tuple[Tensor, None]:
        bags = ctx.bags
        gradient = gradients[0].contiguous()  # (batch, out_features)
        if isinstance(bags, BagOfWordsTensors):
            return _sum_bags(gradient, bags.holders, bags.id_starts, bags.held_values), None
        sums = gradient.new_zeros(ctx.width, gradient.shape[1])
        bags.sum_rows(gradient, sums, by_id=True)
        return sums, None


def _sum_bags(numbers: Tensor, ids: Tensor, starts: Tensor, values: Tensor | None) -> Tensor:
    """Sum the rows of numbers that each bag's ids name, each times its value."""
    factors = None if values is None else values.to(numbers.dtype)
    return F.embedding_bag(ids, numbers, starts, mode="sum", per_sample_weights=factors)


@cache
def _compile_sums(outputs: int, by_id: bool) -> Callable[..., None]:
    """Compile the function that `BagOfWordsBatch.sum_rows` calls for rows of `outputs` numbers."""

    def write(builder: Builder, *arguments: Value) -> None:
        numbers_address, *integer_addresses, count, sums_address = arguments
        numbers = LlvmArray(builder, numbers_address, outputs)
        sums = LlvmArray(builder, sums_address, outputs)
        ids, starts, row_indices = (LlvmArray(builder, address) for address in integer_addresses)

        def add_to_sum_of_id(k: Value, numbers_of_bag: Value) -> None:
            word = ids[k]
            sums[word] = builder.fadd(sums[word], numbers_of_bag)

        def write_bag(bag: Value) -> None:
            row = row_indices[bag]
            start = starts[row]
            stop = starts[builder.add(row, count_constant(1))]
            if by_id:
                numbers_of_bag = numbers[bag]
                write_loop(builder, start, stop, lambda k: add_to_sum_of_id(k, numbers_of_bag))
            else:
                zeros = ir.Constant(ir.VectorType(llvm_loops.FLOAT, outputs), None)

                def add_numbers_of_id(k: Value, total: Value) -> Value:
                    return builder.fadd(total, numbers[ids[k]])

                sums[bag] = write_loop(builder, start, stop, add_numbers_of_id, zeros)

        write_loop(builder, count_constant(0), count, write_bag)

    integer_types = [llvm_loops.INT32S, llvm_loops.INT32S, llvm_loops.COUNTS]
    return llvm_loops.compile_llvm_function(
        [llvm_loops.FLOATS, *integer_types, llvm_loops.COUNT, llvm_loops.FLOATS], write
    )
