"""Write and read weights files of torch networks, without running code from a file."""

import io
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dlrun.errors import DataError, first_line
from dlrun.system.files import open_regular_file
from dlrun.system.text import cut


def serialize_tensors(state: Mapping[str, object]) -> bytes:
    """Write tensors into the bytes of a file, as torch.save does."""
    stream = io.BytesIO()
    torch.save(state, stream)
    return stream.getvalue()


def read_tensors(path: Path, content: bytes | None = None) -> Any:
    """Read tensors and plain values from a file, or its content; raise DataError for all else."""
    try:
        with open_regular_file(path) if content is None else io.BytesIO(content) as stream:
            return torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL (\S+) was not an allowed global", str(error))
        reason = f"it asks for {refused[1]}, which no weights need" if refused else "damaged"
        raise DataError(f"{path}: refused: {reason}") from None
    except MemoryError:
        raise
    except Exception as error:  # a damaged file can raise anything
        raise DataError(f"{path}: not a file of weights: {first_line(error)}") from None


def load_weights(network: nn.Module, path: Path, content: bytes | None = None) -> None:
    """Load the weights in a file into a network; raise DataError if they do not fit it."""
    weights = read_tensors(path, content)
    if isinstance(weights, dict) and isinstance(weights.get("state_dict"), dict):
        weights = weights["state_dict"]
    if not isinstance(weights, dict):
        raise DataError(f"{path}: not a state dict (names and tensors)")
    try:
        network.load_state_dict(weights)
    except Exception as error:  # the names and tensors can be anything
        problem = cut(" ".join(str(error).split()), 300)  # torch lists every tensor
        hint = "the config must name the network that the weights were made with"
        raise DataError(f"{path}: these weights do not fit the network: {problem}", hint) from None
