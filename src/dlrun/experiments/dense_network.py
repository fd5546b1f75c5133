"""Define the dense network of the experiments on tables and on the MNIST digits (ISLP 10.9)."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from dlrun.kernels.bag_linear import BagLinear, Bags, BagTensors
from dlrun.kernels.batch_parts import FastDropout


class DenseNetwork(nn.Module):
    """Applies hidden layers, each with a ReLU and dropout, and a linear output layer.

    inputs: values of a row, whatever its shape. hidden: units of each hidden layer; none for a
    linear model. dropout: the share of each hidden layer's units that is dropped in training.
    sparse: whether the first layer reads bags, and so skips zeros.
    """

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        dropout: Sequence[float],
        outputs: int,
        *,
        sparse: bool = False,
    ) -> None:
        super().__init__()
        sizes = [inputs, *hidden, outputs]
        linear: list[nn.Module] = [nn.Linear(*pair) for pair in pairwise(sizes)]
        if sparse:
            linear[0] = BagLinear(*sizes[:2])
        layers = [linear[0]]
        for layer, share in zip(linear[1:], dropout, strict=True):
            layers += [nn.ReLU(), FastDropout(share), layer]
        self.layers = nn.Sequential(*layers)

    def forward(self, rows: Tensor | Bags | BagTensors) -> Tensor:
        """Return the outputs (batch, outputs) of rows (batch, ...), or (batch,) of one output."""
        outputs: Tensor = self.layers(rows.flatten(1) if isinstance(rows, Tensor) else rows)
        return outputs.squeeze(-1) if outputs.shape[-1] == 1 else outputs
