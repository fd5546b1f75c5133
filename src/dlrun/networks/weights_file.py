"""Write weights files, and read tensors from such files without running code in them."""

import io
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from dlrun.errors import DataError, first_line


def serialize_tensors(state: Mapping[str, object]) -> memoryview:
    """Return tensors as the bytes of a file that torch.save would write."""
    stream = io.BytesIO()
    torch.save(state, stream)
    return stream.getbuffer()


def read_tensors(path: Path, content: bytes | None = None) -> Any:
    """Read tensors, numbers, text, lists and dicts from a file, onto the CPU.

    `content`: the bytes of the file, if they were read before. Raises DataError if the file is
    damaged, or has anything else in it.
    """
    try:
        source = path if content is None else io.BytesIO(content)
        return torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = re.search(r"GLOBAL (\S+) was not an allowed global", str(error))
        reason = f"it asks for {refused[1]}, which no weights need" if refused else "damaged"
        raise DataError(f"{path}: refused: {reason}") from None
    except MemoryError:
        raise
    except Exception as error:  # a damaged file can raise anything
        raise DataError(f"{path}: not a file of weights: {first_line(error)}") from None
