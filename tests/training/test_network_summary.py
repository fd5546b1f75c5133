"""summary.txt and `--summary`: whatever the network, it fits a terminal and counts the same."""

import pytest
import torch
from torch import Tensor, nn
from torchinfo import summary

from dlrun.training.network_summary import COLUMNS, narrow_summary_table


class Nested(nn.Module):
    """A layer within as many others, whose name is as long as its class."""

    def __init__(self, depth: int, size: int) -> None:
        super().__init__()
        self.inner: nn.Module = Nested(depth - 1, size) if depth else nn.Linear(size, size)

    def forward(self, inputs: Tensor) -> Tensor:
        """Of the innermost."""
        result: Tensor = self.inner(inputs)
        return result


class ALayerWhoseNameIsLongerThanThereIsPlaceForOnOneLine(Nested):
    pass


@pytest.mark.parametrize(
    ("network", "example", "columns"),
    [
        (Nested(9, 3), torch.zeros(2, 3), 3),
        (nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU()), torch.zeros(1, 3, 224, 224), 3),
        (Nested(3, 4), torch.zeros(1, 1, 1, 1, 1, 1, 1, 1, 4), 2),
        (ALayerWhoseNameIsLongerThanThereIsPlaceForOnOneLine(3, 3), torch.zeros(2, 3), 2),
    ],
)
def test_it_fits_80_columns(network: nn.Module, example: Tensor, columns: int) -> None:
    statistics = summary(network, input_data=example, col_names=COLUMNS, verbose=0)
    narrow_summary_table(statistics)
    lines = str(statistics).splitlines()
    assert max(map(len, lines)) <= 80
    assert ("Input Shape" in lines[1]) == (columns == 3)
    assert f"Total params: {sum(one.numel() for one in network.parameters()):,}" in lines
