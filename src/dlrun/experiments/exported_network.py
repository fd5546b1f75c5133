"""What an experiment says of its network, so that other programs can use it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class ExportedNetwork:
    """A trained network with all that its file is made of.

    network: in eval mode, on the CPU, computed by operations of torch alone: it is traced.
    input: the name of what it takes.
    inputs: makes so many rows (rows, ...) like real ones: what it is traced with and checked on.
    about: what a program needs beside it (labels, vocabulary, preprocessing), as JSON.
    any_length: whether the inputs' second dimension may be another.
    """

    network: "nn.Module"
    input: str
    inputs: "Callable[[int], Tensor]"
    about: dict[str, Any]
    any_length: bool = False


def bags(network: "nn.Module", about: dict[str, Any], width: int) -> ExportedNetwork:
    """Of a network on which words a text holds, as a matrix (rows, width) of 0 and 1."""
    import torch  # slow

    density = min(0.5, 150 / width)  # of words, as a review has them

    def inputs(rows: int) -> "Tensor":
        return (
            torch.rand(rows, width, generator=torch.Generator().manual_seed(0)) < density
        ).float()

    return ExportedNetwork(network, "bags", inputs, about)
