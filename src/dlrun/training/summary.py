"""A network's layers as text; apart from fit, for it needs no Lightning (2 s, 90 MB)."""

from torch import Tensor, nn
from torchinfo import summary

from dlrun.session import Session


def write_summary(network: nn.Module, example: Tensor, session: Session) -> int:
    """The layer-by-layer summary to summary.txt, and the number of parameters."""
    statistics = summary(
        network,
        input_data=example,
        col_names=("input_size", "output_size", "num_params"),
        col_width=18,
        verbose=0,
    )
    # torchinfo writes its own name of a million where it means the letter.
    text = str(statistics).replace("(Units.MEGABYTES)", "(M)").replace("(Units.GIGABYTES)", "(G)")
    session.folder.write_text("summary.txt", f"{text}\n")
    if session.show_summary:
        session.screen.show(text)
    return int(statistics.total_params)
