"""Write a table of the layers of a network, without the slow import of Lightning."""

from itertools import product

from torch import Tensor, nn
from torchinfo import ModelStatistics, summary

from dlrun.run_context import RunContext

WIDTH = 80  # columns of the narrowest terminal
COLUMNS = ("input_size", "output_size", "num_params")
HEADER = "Layer (type:depth-idx)", "Output Shape"  # torchinfo's
DEPTH = 3  # layers within layers


def write_network_summary(network: nn.Module, example: Tensor, context: RunContext) -> int:
    """Write the table of layers to summary.txt, and return the number of parameters."""
    statistics = summary(network, input_data=example, col_names=COLUMNS, verbose=0)
    narrow_layer_table(statistics)
    # torchinfo writes the name of its constant instead of the letter.
    text = str(statistics).replace("(Units.MEGABYTES)", "(M)").replace("(Units.GIGABYTES)", "(G)")
    context.write_summary(text)
    return int(statistics.total_params)


def narrow_layer_table(statistics: ModelStatistics) -> None:
    """Make torchinfo's table of layers as narrow as its longest cells.

    If it is still too wide, leave out the shapes of the inputs, which repeat those of the outputs,
    then the innermost layers.
    """
    form = statistics.formatting
    every = form.col_names
    for form.max_depth, left_out in product(range(DEPTH, 0, -1), (0, 1)):
        names, cells = [HEADER[0]], [HEADER[1]]
        for layer in statistics.summary_list:
            if layer.depth <= form.max_depth:
                name = layer.get_layer_name(form.show_var_name, form.show_depth)
                names.append(form.get_start_str(layer.depth) + name)
                count = layer.num_params_to_str(reached_max_depth=layer.depth == form.max_depth)
                cells += [str(layer.input_size), str(layer.output_size), count][left_out:]
        form.col_names = every[left_out:]
        form.col_width, form.layer_name_width = max(map(len, cells)), max(map(len, names))
        if max(map(len, str(statistics).splitlines())) <= WIDTH:
            return
