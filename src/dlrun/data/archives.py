"""Tar archives, streamed and never unpacked: the wanted files one after the other.

What is not wanted (folders, links, devices, other names) is skipped, so no name in an archive ever
becomes a path. The bounds keep an archive that expands without end from filling memory or time.
Whatever it is compressed by is read to its end, where its checksum stands.
"""

import bz2
import gzip
import lzma
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from dlrun.errors import ConfigError, DataError
from dlrun.system.files import open_regular

MAX_MEMBERS = 200_000  # the largest published archive has about 100,000
MAX_TOTAL_BYTES = 2 << 30  # expanded; the largest published archive has half a gigabyte
MAX_NAME_BYTES = 1 << 16  # of an extension header, which holds names and attributes
# The sum of their squared sizes: Python's search in one took that long until 3.11.9 and 3.12.5.
MAX_NAME_WORK = 1 << 34
_EXTENSIONS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


_SPARSE = "a sparse file, which no published archive holds"
_EXPANDERS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
_BEGINNINGS = {"tar": tuple(_EXPANDERS), "zip": (b"PK\x03\x04",)}


def check_archive_type(path: Path, kind: str) -> None:
    """Raises ConfigError where the file's first bytes are of no such archive ("tar" or "zip")."""
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if not head.startswith(_BEGINNINGS[kind]) and not (kind == "tar" and head[257:262] == b"ustar"):
        raise ConfigError(f"{path}: not a {kind} archive", "name the archive as it was published")


def files(
    archive: Path, wanted: re.Pattern[str], max_bytes: int, on_read: Callable[[float], object]
) -> Iterator[tuple[str, bytes]]:
    """Name and content of each regular file whose whole name, without `./`, is `wanted`.

    `on_read` is told how much of the archive has been read, in percent.

    Raises DataError where the archive cannot be read, is damaged or breaks off, is far larger than
    a published one, or where a wanted file is larger than `max_bytes`.
    """
    try:
        size = archive.stat().st_size or 1
        with (
            open_regular(archive) as file,
            _expanded(file) as stream,
            tarfile.open(  # type: ignore[call-overload]  # of the stream it only reads
                fileobj=_Bounded(stream, lambda: on_read(100 * file.tell() / size)),
                mode="r|",
                tarinfo=type("_", (_CarefulTarInfo,), {"work": 0}),  # of this archive alone
            ) as tar,
        ):
            count = 0
            while (member := tar.next()) is not None:
                tar.members.clear()  # tarfile would keep them all
                count += 1
                if count > MAX_MEMBERS or member.size > MAX_TOTAL_BYTES:
                    raise _TooLargeError
                name = member.name.removeprefix("./")
                if not member.isreg() or wanted.fullmatch(name) is None:
                    continue
                if member.size > max_bytes:
                    raise DataError(f"{archive}: {name} has {member.size:,} bytes: refused")
                content = tar.extractfile(member)
                assert content is not None  # a regular file has content
                yield name, content.read()
            while tar.fileobj.read(tarfile.RECORDSIZE):
                pass  # to the end, where the checksum of what was read stands
    except _TooLargeError:
        raise DataError(f"{archive}: far larger than the published archive: refused") from None
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
        raise DataError(f"{archive}: damaged, or no tar archive: {error}") from None
    except RecursionError:
        raise DataError(f"{archive}: damaged: headers without end") from None
    except OSError as error:
        if isinstance(error, gzip.BadGzipFile) or error.errno is None:
            raise DataError(f"{archive}: damaged, or no tar archive: {error}") from None
        raise DataError(f"{archive}: cannot be read: {error.strerror}") from None


class _TooLargeError(Exception):
    pass


class _Bounded:
    """What an archive expands to, as long as that is not far more than a published one does."""

    def __init__(self, stream: IO[bytes], on_read: Callable[[], object]) -> None:
        self._stream, self._left = stream, MAX_TOTAL_BYTES
        self._on_read = on_read

    def read(self, size: int) -> bytes:
        """The next bytes. Raises _TooLargeError."""
        content = self._stream.read(size)
        self._left -= len(content)
        if self._left < 0:
            raise _TooLargeError
        self._on_read()
        return content


class _CarefulTarInfo(tarfile.TarInfo):
    work = 0

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> "_CarefulTarInfo":
        try:
            return super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # the mark that every archive ends with
            raise
        except tarfile.HeaderError as error:  # tarfile would take it for the end
            raise tarfile.ReadError(f"it breaks off or is damaged: {error}") from None

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_CarefulTarInfo":
        header = super().frombuf(buf, encoding, errors)
        if header.type in _EXTENSIONS:
            if header.size > MAX_NAME_BYTES:  # it would be read whole
                raise tarfile.ReadError(f"a name of {header.size:,} bytes")
            cls.work += header.size**2
            if cls.work > MAX_NAME_WORK:
                raise tarfile.ReadError("names without end")
        if header.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError(_SPARSE)
        return header

    def _proc_gnusparse_10(self, *_: object) -> None:
        """Newer sparse files begin with a map of any length, which tarfile would read."""
        raise tarfile.ReadError(_SPARSE)

    def isreg(self) -> bool:
        """A file whose bytes are all there, and not one whose gaps expand to any size."""
        return super().isreg() and not self.issparse()


def _expanded(file: IO[bytes]) -> IO[bytes]:
    head = file.read(6)
    file.seek(0)
    for beginning, expander in _EXPANDERS.items():
        if head.startswith(beginning):
            expanded: IO[bytes] = expander(file)
            return expanded
    return file
