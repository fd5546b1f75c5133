"""Tar archives, .npz files and pickles that others made: read as data, never unpacked or run.

Files of an archive that are not wanted are skipped, as are links and devices, so that no name in
it becomes a path. Bounds keep an archive that expands without end from filling memory or time.
"""

import bz2
import gzip
import io
import lzma
import math
import pickle
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from dlrun.errors import ConfigError, DataError
from dlrun.system.files import open_regular

MAX_MEMBERS = 200_000  # the largest published archive has about 100,000
MAX_TOTAL_BYTES = 2 << 30  # expanded; the largest published archive has half a gigabyte
MAX_NAME_BYTES = 1 << 16  # of a header that holds a long name, which tarfile reads whole
_NAME_TYPES = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
MAX_ARRAY_BYTES = 512 << 20  # of an array in an .npz file, expanded

_DECOMPRESSORS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_FIRST_BYTES = {"tar": tuple(_DECOMPRESSORS), "zip": (b"PK\x03\x04",)}


def check_archive_type(path: Path, kind: str) -> None:
    """Raise ConfigError if the file's first bytes are not those of a "tar" or "zip" archive."""
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if not head.startswith(_FIRST_BYTES[kind]) and not (
        kind == "tar" and head[257:262] == b"ustar"
    ):
        raise ConfigError(f"{path}: not a {kind} archive", "name the archive as it was published")


def files(
    archive: Path, wanted: re.Pattern[str], max_bytes: int, on_read: Callable[[float], object]
) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each regular file whose whole name, without `./`, matches.

    Args:
        archive: a tar archive, perhaps compressed by gzip, bzip2 or xz.
        wanted: matches the names.
        max_bytes: of a wanted file.
        on_read: is told what percentage of the archive has been read.

    Raises DataError if the archive cannot be read, is damaged or incomplete, or is far larger than
    a published one.
    """
    try:
        size = archive.stat().st_size or 1
        with open_regular(archive) as file, _decompressed(file) as expanded:
            stream = _BoundedStream(expanded, lambda: on_read(100 * file.tell() / size))
            with tarfile.open(fileobj=stream, mode="r|", tarinfo=_StrictTarInfo) as tar:  # type: ignore[call-overload]  # it only reads
                for count in range(MAX_MEMBERS + 1):
                    if (member := tar.next()) is None:
                        break
                    tar.members.clear()  # tarfile would keep them all
                    if count == MAX_MEMBERS or member.size > MAX_TOTAL_BYTES:
                        raise _TooLargeError
                    name = member.name.removeprefix("./")
                    if not member.isreg() or wanted.fullmatch(name) is None:
                        continue
                    if member.size > max_bytes or member.issparse():
                        raise DataError(f"{archive}: {name} has {member.size:,} bytes: refused")
                    content = tar.extractfile(member)
                    assert content is not None  # a regular file has content
                    yield name, content.read()
            while stream.read(tarfile.RECORDSIZE):
                pass  # to the end, where gzip, bzip2 and xz have a checksum
    except _TooLargeError:
        raise DataError(f"{archive}: far larger than the published archive: refused") from None
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
        raise DataError(f"{archive}: damaged, or not a tar archive: {error}") from None
    except RecursionError:
        raise DataError(f"{archive}: damaged: headers without end") from None
    except OSError as error:
        if isinstance(error, gzip.BadGzipFile) or error.errno is None:
            raise DataError(f"{archive}: damaged, or not a tar archive: {error}") from None
        raise DataError(f"{archive}: cannot be read: {error.strerror}") from None


class _TooLargeError(Exception):
    pass


class _BoundedStream:
    """A stream that may be read up to MAX_TOTAL_BYTES."""

    def __init__(self, stream: IO[bytes], on_read: Callable[[], object]) -> None:
        self._stream, self._left, self._on_read = stream, MAX_TOTAL_BYTES, on_read

    def read(self, size: int) -> bytes:
        """Return the next bytes. Raises _TooLargeError."""
        content = self._stream.read(size)
        self._left -= len(content)
        if self._left < 0:
            raise _TooLargeError
        self._on_read()
        return content


class _StrictTarInfo(tarfile.TarInfo):
    """A header of an archive; tarfile itself takes a damaged one for the archive's end."""

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> "_StrictTarInfo":
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # every archive's last header
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"it breaks off or is damaged: {error}") from None

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_StrictTarInfo":
        header = super().frombuf(buf, encoding, errors)
        if header.type in _NAME_TYPES and header.size > MAX_NAME_BYTES:
            raise tarfile.ReadError(f"a name of {header.size:,} bytes")
        return header


def _decompressed(file: IO[bytes]) -> IO[bytes]:
    head = file.read(6)
    file.seek(0)
    for first_bytes, open_stream in _DECOMPRESSORS.items():
        if head.startswith(first_bytes):
            expanded: IO[bytes] = open_stream(file)
            return expanded
    return file


class _Dtype:
    """A pickled dtype of plain numbers or objects; numpy's own would trust a crafted state."""

    def __init__(self, name: str, *_: object) -> None:
        if not re.fullmatch(r"[biufO]\d{0,2}", name):
            raise pickle.UnpicklingError(f"it holds an array of {name!r}")
        self.plain = np.dtype(name)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, order, subarray, names, fields, *_ = state
        if not subarray is names is fields is None:
            raise pickle.UnpicklingError("it holds a structured array")
        self.plain = self.plain.newbyteorder(order)


class _Array(np.ndarray[Any, Any]):
    """A pickled array whose contents fill its shape; numpy would not count the objects."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        version, shape, dtype, fortran, contents = state
        unit = 1 if dtype.plain.hasobject else dtype.plain.itemsize
        if min(shape, default=0) < 0 or math.prod(shape) * unit != len(contents):
            raise pickle.UnpicklingError(f"{len(contents)} objects or bytes for the shape {shape}")
        super().__setstate__((version, shape, dtype.plain, fortran, contents))


# The names that a pickled array of numbers or lists refers to, and what stands in for each.
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): lambda *_: _Array(0),
    ("numpy._core.multiarray", "_reconstruct"): lambda *_: _Array(0),
    ("numpy", "ndarray"): None,  # only the argument of _reconstruct
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): lambda text, *_: text.encode("latin1"),  # protocol 2's bytes
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")
        return _ALLOWED[module, name]


def load_pickle(stream: IO[bytes], what: str) -> Any:
    """Unpickle numbers, text, lists, dicts and arrays. Raises DataError for anything else.

    Python 2's strings become text, one character for each byte, as in torchvision.
    """
    try:
        return _ArrayUnpickler(stream, encoding="latin1").load()
    except Exception as error:  # a damaged pickle can raise anything
        raise DataError(f"{what}: refused: {error}", "use the published file") from None


def load_npz(path: Path, names: list[str]) -> list[NDArray[Any]]:
    """Return arrays of an .npz file, including arrays of objects. Raises DataError."""
    arrays = []
    try:
        with zipfile.ZipFile(path) as archive:
            for name in names:
                size = archive.getinfo(f"{name}.npy").file_size
                if size > MAX_ARRAY_BYTES:
                    raise DataError(f"{path}: {name} has {size:,} bytes: refused")
                arrays.append(_array(archive.read(f"{name}.npy"), f"{path}: {name}"))
    except KeyError as error:
        raise DataError(f"{path}: {error.args[0]}") from None
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, RuntimeError) as error:
        raise DataError(f"{path}: not an .npz file: {error}") from None
    return arrays


def _array(content: bytes, what: str) -> NDArray[Any]:
    """Return the array of an .npy file; one of objects holds a pickle behind its header."""
    stream = io.BytesIO(content)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise DataError(f"{what}: not an array of numpy's format 1.0")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if not dtype.hasobject:
        plain = np.frombuffer(stream.read(), dtype)
        return plain.reshape(shape, order="F" if is_fortran else "C")
    value = load_pickle(stream, what)
    if not isinstance(value, np.ndarray):
        raise DataError(f"{what}: not an array")
    return value.view(np.ndarray)
