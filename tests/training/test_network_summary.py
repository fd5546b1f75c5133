"""summary.txt and `--summary`: whatever the network, it fits a terminal and counts the same."""

import pytest
import torch
from torch import Tensor, nn
from torchinfo import summary

from dlrun.training.network_summary import COLUMNS, narrow_layer_table


def nested(depth: int, size: int) -> nn.Module:
    """A layer within as many others."""
    network: nn.Module = nn.Linear(size, size)
    for _ in range(depth):
        network = nn.Sequential(network)
    return network


@pytest.mark.parametrize(
    ("network", "example", "columns"),
    [
        (nested(9, 3), torch.zeros(2, 3), 3),
        (nested(3, 4), torch.zeros(1, 1, 1, 1, 1, 1, 1, 1, 4), 2),
    ],
)
def test_it_fits_80_columns(network: nn.Module, example: Tensor, columns: int) -> None:
    statistics = summary(network, input_data=example, col_names=COLUMNS, verbose=0)
    narrow_layer_table(statistics)
    lines = str(statistics).splitlines()
    assert max(map(len, lines)) <= 80
    assert ("Input Shape" in lines[1]) == (columns == 3)
    assert f"Total params: {sum(one.numel() for one in network.parameters()):,}" in lines
