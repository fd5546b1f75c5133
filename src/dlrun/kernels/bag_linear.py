"""`nn.Linear` for binary bags of words, without the dense matrix."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dlrun.kernels.bag_of_words import Bag, Bags

try:
    from dlrun.kernels import bag_of_words_llvm
except (ImportError, OSError):  # no LLVM for this machine: torch does the same, slower
    bag_of_words_llvm = None  # type: ignore[assignment]


class BagLinear(nn.Module):
    """`nn.Linear` for binary bags of words: it sums the weight rows of a bag's words.

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

    def forward(self, bags: Bags | Bag | Tensor) -> Tensor:
        """Return (batch, out_features) for bags, or for a matrix of 0 and 1 (batch, in_features).

        Raises ValueError if the bags have more or fewer words than the weight.
        """
        if isinstance(bags, Tensor):
            return bags @ self.weight + self.bias
        if isinstance(bags, Bags):
            if bags.matrix.width != len(self.weight):
                raise ValueError(f"bags of {bags.matrix.width} words, {len(self.weight)} weights")
            found = self._kernels()
            if found is not None:
                sums: Tensor = _RowSum.apply(self.weight, bags, found)  # type: ignore[no-untyped-call]
                return sums + self.bias
            bags = bags.copied()
        sums = _BagSum.apply(self.weight, *bags)  # type: ignore[no-untyped-call]
        return sums + self.bias

    def _kernels(self) -> "bag_of_words_llvm.Kernels | None":
        weight = self.weight
        fits = weight.device.type == "cpu" and weight.dtype == torch.float32
        return bag_of_words_llvm.kernels(weight.shape[1]) if bag_of_words_llvm and fits else None


class _RowSum(torch.autograd.Function):
    """Sums the weight rows of each bag's ids by compiled code, forward and backward."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, bags: Bags, kernels: "bag_of_words_llvm.Kernels"
    ) -> Tensor:
        weight = weight.contiguous()
        ctx.bags, ctx.kernels, ctx.width = bags, kernels, len(weight)
        sums = weight.new_empty(len(bags), weight.shape[1])
        kernels.sum_words(weight.data_ptr(), *bags.addresses, sums.data_ptr())
        return sums

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = (gradient.contiguous() for gradient in gradients)  # (batch, out_features)
        sums = gradient.new_zeros(ctx.width, gradient.shape[1])
        ctx.kernels.sum_rows(gradient.data_ptr(), *ctx.bags.addresses, sums.data_ptr())
        return sums, None, None


class _BagSum(torch.autograd.Function):
    """Sums the weight rows of each bag's ids by torch alone, for every device and precision.

    The gradient sums, for each id, over the bags that hold it: twenty times as fast on a CPU as
    embedding_bag's own backward, and as deterministic.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, *bag: Tensor) -> Tensor:
        ids, starts, *columns = bag
        ctx.save_for_backward(*columns)
        return F.embedding_bag(ids, weight, starts, mode="sum")

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients  # (batch, out_features)
        holders, starts = ctx.saved_tensors
        summed = F.embedding_bag(holders, gradient.contiguous(), starts, mode="sum")
        return summed, None, None, None, None
