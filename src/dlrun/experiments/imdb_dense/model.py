"""Define the lab's dense network on a binary bag of words (ISLP 10.9.5)."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from dlrun.kernels.bag_linear import BagLinear, Bags, BagTensors


class DenseNet(nn.Module):
    """Applies dense layers, with a ReLU after each but the last; two classes have one logit.

    width: how many different word ids a bag can hold. hidden: units of each layer but the last.
    """

    def __init__(self, width: int, hidden: list[int], classes: int = 2) -> None:
        super().__init__()
        sizes = [*hidden, 1 if classes == 2 else classes]
        first = BagLinear(width, sizes[0])  # as nn.Linear, without the dense matrix of the bags
        layers: list[nn.Module] = [first]
        for inputs, outputs in pairwise(sizes):
            layers += [nn.ReLU(), nn.Linear(inputs, outputs)]
        self.layers = nn.Sequential(*layers)
        self._binary = classes == 2

    def forward(self, bags: Bags | BagTensors | Tensor) -> Tensor:
        """Return the logits of bags of words, (batch,), or (batch, classes) for 3 or more."""
        return self._logits(self.layers(bags))

    @torch.no_grad()
    def words_alone(self, start: int) -> Tensor:
        """Return the effect on the logits of adding each word to a bag of `start`, (width, ...)."""
        weight, bias = self.layers[0].parameters()
        empty = weight[start] + bias
        return self._after_first(empty + weight) - self._after_first(empty)

    @torch.no_grad()
    def words_left_out(self, ids: Tensor) -> Tensor:
        """Return how much the presence of each word of a bag adds to the logits, (n_ids, ...)."""
        weight, bias = self.layers[0].parameters()
        sums = weight[ids].sum(0) + bias
        return self._after_first(sums) - self._after_first(sums - weight[ids])

    def _after_first(self, sums: Tensor) -> Tensor:
        return self._logits(self.layers[1:](sums))

    def _logits(self, outputs: Tensor) -> Tensor:
        return outputs.squeeze(-1) if self._binary else outputs
