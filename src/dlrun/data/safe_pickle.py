"""Read pickled arrays without letting a hostile file run code."""

import math
import pickle
import re
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from dlrun.errors import DataError

MAX_BYTES = 512 << 20  # of an array in an .npz file, unpacked


class _Dtype:
    """A pickled dtype of plain numbers or objects.

    Numpy's own would take a crafted state that reads an array's bytes as the addresses of objects.
    """

    def __init__(self, name: str, *_: object) -> None:
        if not re.fullmatch(r"[biufO]\d{0,2}", name):
            raise pickle.UnpicklingError(f"it holds an array of {name!r}")
        self.plain = np.dtype(name)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, order, subarray, names, fields, _, _, flags, *_ = state
        if not subarray is names is fields is None:
            raise pickle.UnpicklingError("it holds a structured array")
        if flags != self.plain.flags:  # numpy's own reader would take numbers for objects
            raise pickle.UnpicklingError(f"{self.plain} with the flags {flags}")
        self.plain = self.plain.newbyteorder(order)


class _Array(np.ndarray[Any, Any]):
    """A pickled array whose contents fill its shape; numpy would not count the objects."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        version, shape, dtype, fortran, contents = state
        unit = 1 if dtype.plain.hasobject else dtype.plain.itemsize
        if min(shape, default=0) < 0 or math.prod(shape) * unit != len(contents):
            raise pickle.UnpicklingError(f"{len(contents)} objects or bytes for the shape {shape}")
        super().__setstate__((version, shape, dtype.plain, fortran, contents))


def _new_array(*_: object) -> _Array:
    return _Array(0)


def _encode(text: str, *_: object) -> bytes:
    return text.encode("latin1")


# All that a pickled array of numbers or of lists asks for, and what it gets instead.
_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _new_array,
    ("numpy._core.multiarray", "_reconstruct"): _new_array,
    ("numpy", "ndarray"): None,  # only ever _reconstruct's argument
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,  # how protocol 2 writes bytes
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")
        return _STAND_INS[module, name]


def load(stream: IO[bytes], what: str) -> Any:
    """Unpickle numbers, text, lists, dicts and arrays. Raises DataError for anything else.

    Python 2's strings become text, one character per byte, as in torchvision.
    """
    try:
        return _ArrayUnpickler(stream, encoding="latin1").load()
    except Exception as error:  # a damaged pickle can raise anything
        raise DataError(f"{what}: refused: {error}", "use the published file") from None


def load_npz(path: Path, names: list[str]) -> list[np.ndarray[Any, Any]]:
    """Arrays of an .npz file, object arrays included. Raises DataError."""
    arrays = []
    try:
        with zipfile.ZipFile(path) as archive:
            for name in names:
                size = archive.getinfo(f"{name}.npy").file_size
                if size > MAX_BYTES:
                    raise DataError(f"{path}: {name} has {size:,} bytes: refused")
                with archive.open(f"{name}.npy") as stream:
                    arrays.append(_load_npy(stream, f"{path}: {name}"))
    except KeyError as error:
        raise DataError(f"{path}: {error.args[0]}") from None
    except (
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        ValueError,
        EOFError,
        RuntimeError,  # encrypted, or compressed in an unknown way
    ) as error:
        raise DataError(f"{path}: not an .npz file: {error}") from None
    return arrays


def _load_npy(stream: IO[bytes], what: str) -> np.ndarray[Any, Any]:
    version = np.lib.format.read_magic(stream)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise DataError(f"{what}: array format {version} is not known")
    shape, is_fortran, dtype = read_header(stream)
    if dtype.hasobject:
        value = load(stream, what)
    else:
        order: Literal["F", "C"] = "F" if is_fortran else "C"
        value = np.frombuffer(stream.read(), dtype=dtype).reshape(shape, order=order)
    if not isinstance(value, np.ndarray):
        raise DataError(f"{what}: not an array")
    return value.view(np.ndarray)
