"""Read untrusted tar archives, .npz files and pickles, without unpacking files or running code."""

import io
import lzma
import math
import pickle
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from dlrun.errors import DataError, first_line
from dlrun.system.console import Screen
from dlrun.system.files import open_regular_file

MAX_MEMBERS = 200_000  # the largest published archive has about 100,000
MAX_BYTES = 1 << 30  # expanded; the largest published archive has half as many

Array = NDArray[Any]


def read_tar(
    archive: Path, wanted: re.Pattern[str], max_bytes: int, screen: Screen
) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each regular file in a tar archive whose name matches a pattern.

    The archive may be compressed by gzip, bzip2 or xz. Raises DataError if it cannot be read, is
    damaged or incomplete, is far larger than a published one, or has a matching file of more than
    `max_bytes`.
    """
    try:
        size, total, count = archive.stat().st_size, 0, 0
        with (
            open_regular_file(archive) as file,
            tarfile.open(fileobj=file) as tar,
            screen.progress(f"reading {archive.name}", 100, "%") as bar,
        ):
            while member := tar.next():
                tar.members.clear()  # type: ignore[attr-defined]  # tarfile would keep them all
                bar.to(100 * file.tell() / size)
                total, count = total + member.size, count + 1
                if total > MAX_BYTES or count > MAX_MEMBERS:
                    raise DataError(f"{archive}: far larger than the published archive: refused")
                name = member.name.removeprefix("./")
                if member.isreg() and wanted.fullmatch(name):
                    if member.size > max_bytes:
                        raise DataError(f"{archive}: {name} has {member.size:,} bytes: refused")
                    content = tar.extractfile(member)
                    assert content is not None  # a regular file has content
                    yield name, content.read()
            _check_end(tar)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
        raise DataError(f"{archive}: damaged, or not a tar archive: {error}") from None
    except RecursionError:
        raise DataError(f"{archive}: damaged, or not a tar archive: too many headers") from None
    except OSError as error:
        what = "cannot be read" if error.errno else "damaged, or not a tar archive"
        raise DataError(f"{archive}: {what}: {error.strerror or error}") from None


def _check_end(tar: tarfile.TarFile) -> None:
    """Raise TarError if a tar archive does not end in zeros.

    tarfile takes a damaged header for the archive's end. Reading all of a compressed file also
    checks its checksum.
    """
    assert tar.fileobj is not None  # it is open
    found = 0
    while block := tar.fileobj.read(tarfile.RECORDSIZE):
        found += len(block)
        if block.strip(b"\0") or found > MAX_BYTES:
            raise tarfile.ReadError("a damaged header")
    if not found:
        raise tarfile.ReadError("it breaks off")


class _Dtype:
    """Replaces a pickled dtype of numbers or objects; numpy's own trusts a crafted state."""

    def __init__(self, name: str, *_: object) -> None:
        if not re.fullmatch(r"[biufO]\d{0,2}", name):
            raise pickle.UnpicklingError(f"it holds an array of {name!r}")
        self.plain = np.dtype(name)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.plain = self.plain.newbyteorder(state[1])


class _Array(np.ndarray[Any, Any]):
    """Replaces a pickled array; refuses one with fewer or more contents than its shape holds."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        version, shape, dtype, fortran, contents = state
        unit = 1 if dtype.plain.hasobject else dtype.plain.itemsize
        if min(shape, default=0) < 0 or math.prod(shape) * unit != len(contents):
            raise pickle.UnpicklingError(f"{len(contents)} objects or bytes for the shape {shape}")
        super().__setstate__((version, shape, dtype.plain, fortran, contents))


# The names that a pickled array of numbers or lists refers to, and what replaces each.
_ALLOWED: dict[tuple[str, str], object] = {
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(0),
    ("numpy._core.multiarray", "_reconstruct"): lambda *_: _Array(0),
    ("numpy", "ndarray"): None,  # only the argument of _reconstruct
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): lambda text, *_: text.encode("latin1"),  # protocol 2's bytes
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")
        return _ALLOWED[module, name]


def load_pickle(stream: IO[bytes], what: str) -> object:
    """Read numbers, text, lists, dicts and arrays from a pickle; raise DataError for other types.

    Python 2's strings become text, one character for each byte, as in torchvision.
    """
    try:
        return _ArrayUnpickler(stream, encoding="latin1").load()
    except Exception as error:  # a damaged pickle can raise anything
        raise DataError(f"{what}: refused: {error}", "use the published file") from None


def load_npz(path: Path, names: list[str]) -> list[Array]:
    """Return the arrays of an .npz file by name, also object arrays; raise DataError if damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            if any(archive.getinfo(f"{name}.npy").file_size > MAX_BYTES for name in names):
                raise ValueError(f"an array has more than {MAX_BYTES:,} bytes")
            return [_load_npy(archive.read(f"{name}.npy"), f"{path}: {name}") for name in names]
    except DataError:
        raise
    except Exception as error:  # a damaged file can raise anything
        raise DataError(f"{path}: not an .npz file: {first_line(error)}") from None


def _load_npy(content: bytes, what: str) -> Array:
    stream = io.BytesIO(content)
    np.lib.format.read_magic(stream)
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject:  # a pickle follows
        if not isinstance(value := load_pickle(stream, what), np.ndarray):
            raise ValueError(f"{what} is not an array")
        return np.array(value)  # an array of numpy's own class
    return np.frombuffer(stream.read(), dtype).reshape(shape, order="F" if is_fortran else "C")
