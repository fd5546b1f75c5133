"""The lab's dense network on a binary bag of words (ISLP 10.9.5), without the dense matrix."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Bag = tuple[Tensor, Tensor]
"""Word ids of all reviews end to end (n_ids,), and where each review starts (batch,): int32."""


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

    def forward(self, bag: Bag | Tensor) -> Tensor:
        """Bags, or the same as a dense 0/1 matrix (batch, in_features) -> (batch, out_features)."""
        if isinstance(bag, Tensor):
            return bag @ self.weight + self.bias
        ids, starts = bag
        return F.embedding_bag(ids, self.weight, starts, mode="sum") + self.bias


class DenseNet(nn.Module):
    """Dense layers with a ReLU after each but the last, which gives one logit."""

    def __init__(self, width: int, hidden: list[int]) -> None:
        super().__init__()
        sizes = [*hidden, 1]
        layers: list[nn.Module] = [BagLinear(width, sizes[0])]
        for inputs, outputs in pairwise(sizes):
            layers += [nn.ReLU(), nn.Linear(inputs, outputs)]
        self.layers = nn.Sequential(*layers)

    def forward(self, bag: Bag | Tensor) -> Tensor:
        """Bags of words -> logits (batch,)."""
        logits: Tensor = self.layers(bag)
        return logits.squeeze(-1)
