"""Define the dense network that several experiments train."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from dlrun.kernels.bag_linear import BagOfWordsBatch, BagOfWordsTensors
from dlrun.kernels.batch_parts import FastDropout


class DenseNetwork(nn.Module):
    """Applies hidden layers, each with a ReLU and dropout, and a linear output layer.

    inputs: the number of values of a row.
    hidden: the units of each hidden layer.
    dropout: the share of each hidden layer's units that is dropped in training; empty: no layers
    of dropout.
    first: the first layer, if it is not an nn.Linear.
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        dropout: Sequence[float],
        outputs: int,
        first: nn.Module | None = None,
    ) -> None:
        super().__init__()
        sizes = [inputs, *hidden, outputs]
        linear: list[nn.Module] = [first or nn.Linear(sizes[0], sizes[1])]
        linear += [nn.Linear(*pair) for pair in pairwise(sizes[1:])]
        layers = [linear[0]]
        for place, layer in enumerate(linear[1:]):
            layers += [nn.ReLU(), *map(FastDropout, dropout[place : place + 1]), layer]
        self.layers = nn.Sequential(*layers)

    def forward(self, rows: Tensor | BagOfWordsBatch | BagOfWordsTensors) -> Tensor:
        """Compute the outputs (batch, outputs) of rows (batch, ...), or (batch,) for one output."""
        outputs: Tensor = self.layers(rows.flatten(1) if isinstance(rows, Tensor) else rows)
        return outputs.squeeze(-1)
