"""Read untrusted tar archives and pickles, without unpacking files or running code."""

import lzma
import pickle
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from dlrun.errors import DataError, first_line
from dlrun.system.console import Screen
from dlrun.system.files import open_regular_file

Array = NDArray[Any]


def read_tar(archive: Path, wanted: re.Pattern[str], screen: Screen) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each regular file in a tar archive whose name matches a pattern.

    Raises DataError if the archive cannot be read, is damaged or incomplete.
    """
    try:
        size = archive.stat().st_size
        with (
            open_regular_file(archive) as file,
            tarfile.open(fileobj=file) as tar,
            screen.progress(f"reading {archive.name}", 100, "%") as bar,
        ):
            while member := tar.next():
                tar.members.clear()  # type: ignore[attr-defined]  # tarfile would keep them all
                bar.to(100 * file.tell() / size)
                name = member.name.removeprefix("./")
                if member.isreg() and wanted.fullmatch(name):
                    content = tar.extractfile(member)
                    assert content is not None  # a regular file has content
                    yield name, content.read()
            _check_end(tar)
    except (
        *(OSError, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError),
        RecursionError,  # tarfile follows headers by recursion
    ) as error:
        why = f"unreadable, damaged, or not a tar archive: {first_line(error)}"
        raise DataError(f"{archive}: {why}") from None


def _check_end(tar: tarfile.TarFile) -> None:
    # tarfile takes a damaged header for the archive's end, which is zeros. Reading all of a
    # compressed file also checks its checksum.
    assert tar.fileobj is not None  # it is open
    has_end = False
    while block := tar.fileobj.read(tarfile.RECORDSIZE):
        has_end = True
        if block.strip(b"\0"):
            raise tarfile.ReadError("a damaged header")
    if not has_end:
        raise tarfile.ReadError("it breaks off")


class _Stub:
    """Takes the place of a pickled array or dtype: numpy's own trusts a crafted state."""

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.state = state


# The names that a pickled array of bytes refers to, and what each becomes.
_ALLOWED: dict[tuple[str, str], object] = {
    ("numpy.core.multiarray", "_reconstruct"): _Stub,
    ("numpy._core.multiarray", "_reconstruct"): _Stub,
    ("numpy", "ndarray"): None,  # only an argument of _reconstruct
    ("numpy", "dtype"): _Stub,
    ("_codecs", "encode"): lambda text, *_: text.encode("latin1"),  # protocol 2's bytes
}


class _AllowListUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _ALLOWED[module, name]


def load_pickle(stream: IO[bytes], what: str) -> Any:
    """Return the plain values in a pickle; raise DataError if it refers to anything but an array.

    Python 2's strings become text, one character for each byte. `to_array` makes the arrays.
    """
    try:
        return _AllowListUnpickler(stream, encoding="latin1").load()
    except Exception as error:  # a damaged pickle can raise anything
        raise DataError(f"{what}: refused: {error}", "use the published file") from None


def to_array(pickled: Any, what: str) -> Array:
    """Return the array of numbers in a loaded pickle; raise DataError for any other value."""
    try:
        _, shape, dtype, _, contents = pickled.state
        raw = contents.encode("latin1") if isinstance(contents, str) else contents
        return np.frombuffer(raw, dtype.arguments[0]).reshape(shape)
    except Exception as error:
        raise DataError(f"{what}: not an array: {first_line(error)}") from None
