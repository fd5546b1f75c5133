"""Tar archives, streamed and never unpacked: the wanted files one after the other.

What is not wanted (folders, links, devices, other names) is skipped, so no name in an archive ever
becomes a path. The bounds keep an archive that expands without end from filling memory or time.
"""

import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from dlrun.errors import ConfigError, DataError

MAX_MEMBERS = 200_000  # the largest published archive has about 100,000
MAX_TOTAL_BYTES = 2 << 30
MAX_NAME_BYTES = 1 << 16  # of an extension header, which holds names and attributes
_EXTENSIONS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


_BEGINNINGS = {
    "tar": (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00"),  # gzip, bzip2, xz
    "zip": (b"PK\x03\x04",),
}


def check_kind(path: Path, kind: str) -> None:
    """Raises ConfigError where the file's first bytes are of no such archive ("tar" or "zip")."""
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if not head.startswith(_BEGINNINGS[kind]) and not (kind == "tar" and head[257:262] == b"ustar"):
        raise ConfigError(f"{path}: not a {kind} archive", "name the archive as it was published")


def files(archive: Path, wanted: re.Pattern[str], max_bytes: int) -> Iterator[tuple[str, bytes]]:
    """Name and content of each regular file whose whole name, without `./`, is `wanted`.

    Raises DataError where the archive cannot be read, is damaged or breaks off, is far larger than
    a published one, or where a wanted file is larger than `max_bytes`.
    """
    try:
        with _open(archive) as stream:
            count = total = 0
            while (member := stream.next()) is not None:
                stream.members.clear()  # type: ignore[attr-defined]  # tarfile would keep them all
                count, total = count + 1, total + member.size
                if count > MAX_MEMBERS or total > MAX_TOTAL_BYTES:
                    raise DataError(f"{archive}: far larger than the published archive: refused")
                name = member.name.removeprefix("./")
                if not member.isreg() or wanted.fullmatch(name) is None:
                    continue
                if member.size > max_bytes:
                    raise DataError(f"{archive}: {name} has {member.size:,} bytes: refused")
                content = stream.extractfile(member)
                assert content is not None  # a regular file has content
                yield name, content.read()
    except OSError as error:
        raise DataError(f"{archive}: cannot be read: {error.strerror or error}") from None
    except (tarfile.TarError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{archive}: damaged, or no tar archive: {error}") from None


class _CarefulTarInfo(tarfile.TarInfo):
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
        if header.type in _EXTENSIONS and header.size > MAX_NAME_BYTES:  # it would be read whole
            raise tarfile.ReadError(f"a name of {header.size:,} bytes")
        return header


def _open(path: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(path, "r|*", tarinfo=_CarefulTarInfo)
    except TypeError:  # tarfile's own stumble where gzip's header breaks off
        raise tarfile.ReadError("it breaks off within its first bytes") from None
