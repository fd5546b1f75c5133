"""The lab's dense network on a binary bag of words (ISLP 10.9.5), without the dense matrix."""

import math
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dlrun.kernels.bag_of_words import Bag, Bags

try:
    from dlrun.kernels import bag_of_words_llvm, rmsprop
except (ImportError, OSError):  # no LLVM for this machine: torch does the same, slower
    bag_of_words_llvm = rmsprop = None  # type: ignore[assignment]


class BagLinear(nn.Module):
    """`nn.Linear` for binary bags of words: sums the weight rows of the words that are there.

    The weight is stored as (in_features, out_features), so that a word's row is contiguous.
    Initialised as nn.Linear is.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(in_features, out_features))
        self.bias = nn.Parameter(torch.empty(out_features))
        bound = 1 / math.sqrt(in_features)
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, bags: Bags | Bag | Tensor) -> Tensor:
        """Bags, or the same as a dense 0/1 matrix (batch, in_features) -> (batch, out_features).

        Raises ValueError where the bags have other words than the weight.
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
    """Sum the weight rows of each bag's ids; its gradient for the weight."""

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
    """The same by torch alone, for every device and precision.

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


class DenseNet(nn.Module):
    """Dense layers with a ReLU after each but the last, which gives the logits.

    Args:
        width: ids that a bag can hold.
        hidden: units of the layers before the last.
        classes: that are told apart; two need one logit.
    """

    own_optimizers: ClassVar = {"rmsprop": rmsprop.rmsprop} if rmsprop else {}

    def __init__(self, width: int, hidden: list[int], classes: int = 2) -> None:
        super().__init__()
        self._binary = classes == 2
        sizes = [*hidden, 1 if classes == 2 else classes]
        layers: list[nn.Module] = [BagLinear(width, sizes[0])]
        for inputs, outputs in pairwise(sizes):
            layers += [nn.ReLU(), nn.Linear(inputs, outputs)]
        self.layers = nn.Sequential(*layers)

    def forward(self, bags: Bags | Bag | Tensor) -> Tensor:
        """Bags of words -> logits (batch,), of more than two classes (batch, classes)."""
        return self._logits(self.layers(bags))

    @torch.no_grad()
    def words_alone(self, start: int) -> Tensor:
        """By how much a word changes the logits of a bag that holds only `start`, (width, ...)."""
        first = self._first
        empty = first.weight[start] + first.bias
        return self._after_first(empty + first.weight) - self._after_first(empty)

    @torch.no_grad()
    def words_left_out(self, ids: Tensor) -> Tensor:
        """By how much each word moves the logits of the bag that these are, (n_ids, ...).

        The difference to the logits of the bag without it; ids are distinct, (n_ids,).
        """
        first = self._first
        rows = first.weight[ids]
        sums = rows.sum(0) + first.bias
        return self._after_first(sums) - self._after_first(sums - rows)

    @property
    def _first(self) -> BagLinear:
        first = self.layers[0]
        assert isinstance(first, BagLinear)  # the constructor's
        return first

    def _after_first(self, sums: Tensor) -> Tensor:
        return self._logits(self.layers[1:](sums))

    def _logits(self, outputs: Tensor) -> Tensor:
        return outputs.squeeze(-1) if self._binary else outputs
