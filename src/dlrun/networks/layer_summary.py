"""Describe the layers of a network, and its number of parameters, in a table."""

from torch import Tensor, nn


def describe_layers(network: nn.Module, example: Tensor) -> tuple[str, int]:
    """Show a network's layers for an example input in a table, and count the parameters."""
    from torchinfo import summary  # slow

    columns = ("input_size", "output_size", "num_params")
    layers = summary(network, input_data=example, col_names=columns, col_width=20, verbose=0)
    # torchinfo writes the name of its constant instead of the letter.
    text = str(layers).replace("(Units.MEGABYTES)", "(M)").replace("(Units.GIGABYTES)", "(G)")
    return text, int(layers.total_params)
