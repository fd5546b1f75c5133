"""Files of tensors, as torch.save writes them: read without running what they hold."""

import io
import pickle
import re
from pathlib import Path
from typing import Any

import torch

from dlrun.errors import DataError, first_line


def read(path: Path) -> Any:
    """Tensors, numbers, text, lists and dicts, on the CPU. Raises DataError for anything else."""
    return _load(path, path)


def parse_tensors(content: bytes, path: Path) -> Any:
    """As `read`, of a content that was read from a path already."""
    return _load(io.BytesIO(content), path)


def _load(source: Path | io.BytesIO, path: Path) -> Any:
    try:
        return torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL (\S+) was not an allowed global", str(error))
        reason = f"it asks for {asked[1]}, which no weights need" if asked else "unknown contents"
        raise DataError(f"{path}: refused: {reason}") from None
    except MemoryError:
        raise
    except Exception as error:  # a damaged file can raise anything
        reason = "unknown contents" if isinstance(error, KeyError) else first_line(error)
        raise DataError(f"{path}: not a file of weights: {reason}") from None


def serialize_tensors(state: dict[str, Any]) -> memoryview:
    """What torch.save writes, in memory: on a full disk its own writer says only `write failed`."""
    stream = io.BytesIO()
    torch.save(state, stream)
    return stream.getbuffer()
