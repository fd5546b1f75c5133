"""Read pickled arrays without letting a hostile file run code."""

import pickle
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from dlrun.errors import DataError

# All that a pickled numpy array of numbers or of lists needs; nothing here acts on the machine.
_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),  # how protocol 2 writes bytes
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")
        return super().find_class(module, name)


def load(stream: IO[bytes], what: str) -> Any:
    """Unpickle numbers, text, lists, dicts and arrays. Raises DataError for anything else."""
    try:
        return _ArrayUnpickler(stream, encoding="bytes").load()
    except Exception as error:  # a damaged pickle can raise anything
        raise DataError(f"{what}: refused: {error}", "use the published file") from None


def load_npz(path: Path, names: list[str]) -> list[np.ndarray[Any, Any]]:
    """Arrays of an .npz file, object arrays included. Raises DataError."""
    arrays = []
    try:
        with zipfile.ZipFile(path) as archive:
            for name in names:
                with archive.open(f"{name}.npy") as stream:
                    arrays.append(_load_npy(stream, f"{path}: {name}"))
    except (zipfile.BadZipFile, OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not an .npz file: {error}") from None
    except KeyError as error:
        raise DataError(f"{path}: {error.args[0]}") from None
    return arrays


def _load_npy(stream: IO[bytes], what: str) -> np.ndarray[Any, Any]:
    version = np.lib.format.read_magic(stream)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise DataError(f"{what}: array format {version} is not known")
    shape, _, dtype = read_header(stream)
    if dtype.hasobject:
        value = load(stream, what)
    else:
        value = np.frombuffer(stream.read(), dtype=dtype).reshape(shape)
    if not isinstance(value, np.ndarray):
        raise DataError(f"{what}: not an array")
    return value
