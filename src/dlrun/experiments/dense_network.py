"""Define the dense network of the experiments on tables and on the MNIST digits (ISLP 10.9)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FastDropout(nn.Dropout):
    """Computes nn.Dropout, from uniform random numbers.

    Those that torch draws for its own take a CPU four times as long: a tenth of an epoch on MNIST.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the inputs with a share of zeros, and the others enlarged; all when evaluated."""
        if not self.training or self.p == 0:
            return inputs
        kept = torch.rand_like(inputs) >= self.p
        return inputs * kept.to(inputs.dtype).mul_(1 / (1 - self.p))


class DenseNetwork(nn.Module):
    """Applies hidden layers, each with a ReLU and dropout, and a linear output layer.

    inputs: values of a row, whatever its shape. hidden: units of each hidden layer; none for a
    linear model. dropout: the share of each hidden layer's units that is dropped in training.
    """

    def __init__(
        self, inputs: int, hidden: Sequence[int], dropout: Sequence[float], outputs: int
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        for units, share in zip(hidden, dropout, strict=True):
            layers += [nn.Linear(inputs, units), nn.ReLU(), FastDropout(share)]
            inputs = units
        self.layers = nn.Sequential(*layers, nn.Linear(inputs, outputs))

    def forward(self, rows: Tensor) -> Tensor:
        """Return the outputs (batch, outputs) of rows (batch, ...), or (batch,) of one output."""
        outputs: Tensor = self.layers(rows)
        return outputs.squeeze(-1) if outputs.shape[-1] == 1 else outputs
