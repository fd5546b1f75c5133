"""Read files out of tar archives that are not trusted, without unpacking them to the disk."""

import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dlrun.errors import DataError, first_line
from dlrun.system.console import Screen
from dlrun.system.files import MOST_UNPACKED, open_regular_file

MOST_HEADER = 1 << 20  # so many bytes may stand before a member: its name, its attributes


class _Allowance:
    """Reads an unpacked archive for tarfile, which asks for as many bytes as a header names.

    left: how many bytes may be read before somebody allows more.
    """

    def __init__(self, stream: Any) -> None:
        self.seek = stream.seek  # the stream reads what it skips, but keeps nothing
        self.tell = stream.tell
        self.close = stream.close
        self.left = MOST_HEADER
        self._read = stream.read

    def read(self, size: int) -> bytes:
        """Read the next `size` bytes, or raise ReadError if these are more than are left."""
        if not 0 <= size <= self.left:
            raise tarfile.ReadError(f"a header of more than {MOST_HEADER:,} bytes")
        self.left -= size
        content: bytes = self._read(size)
        return content


class _BoundedTar(tarfile.TarFile):
    """Is a tar archive that tarfile unpacks; its reader refuses to read more than is allowed."""

    fileobj: Any  # an _Allowance; tarfile's own stubs do not know it

    @classmethod
    def taropen(cls, name: Any, mode: Any = "r", fileobj: Any = None, **options: Any) -> Any:
        """Open the unpacked archive in a stream; each way to unpack an archive ends here."""
        allowance: Any = _Allowance(fileobj)  # it has all of a stream that tarfile uses to read
        return super().taropen(name, mode, allowance, **options)


def read_tar_members(
    archive: Path, wanted: re.Pattern[str], screen: Screen
) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each regular file in a tar archive whose name matches a pattern.

    Raises DataError if the archive cannot be read, is damaged or incomplete, if such a file is
    sparse, or if all of them have more than MOST_UNPACKED bytes, before these are read.
    """
    left = MOST_UNPACKED
    try:
        size = archive.stat().st_size
        with (
            open_regular_file(archive) as file,
            _BoundedTar.open(fileobj=file) as tar,
            screen.progress(f"reading {archive.name}", 100, "%") as bar,
        ):
            while member := tar.next():
                tar.members.clear()  # type: ignore[attr-defined]  # tarfile would keep them all
                bar.to(100 * file.tell() / size)
                name = member.name.removeprefix("./")
                if member.isreg() and wanted.fullmatch(name):
                    _check_member(member, left)
                    left -= member.size
                    tar.fileobj.left = member.size
                    content = tar.extractfile(member)
                    assert content is not None  # a regular file has content
                    yield name, content.read()
                tar.fileobj.left = MOST_HEADER
            _check_end(tar.fileobj)
    except (
        *(OSError, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError),
        RecursionError,  # tarfile follows headers by recursion
    ) as error:
        why = f"unreadable, damaged, or not a tar archive: {first_line(error)}"
        raise DataError(f"{archive}: {why}") from None


def _check_member(member: tarfile.TarInfo, most: int) -> None:
    """Raise ReadError if a file in an archive is sparse, or has more than `most` bytes."""
    if member.issparse():  # its holes are bytes of which the archive has none
        raise tarfile.ReadError(f"{member.name} is a sparse file")
    if not 0 <= member.size <= most:
        raise tarfile.ReadError(f"its files have more than {MOST_UNPACKED:,} bytes")


def _check_end(stream: _Allowance) -> None:
    """Read a tar archive to its end; raise ReadError unless only zeros are left, and some are.

    tarfile takes a damaged header for the end. To read all that is left of a compressed file also
    compares its checksum.
    """
    has_end = False
    while block := stream.read(tarfile.RECORDSIZE):
        stream.left = MOST_HEADER
        has_end = True
        if block.strip(b"\0"):
            raise tarfile.ReadError("a damaged header")
    if not has_end:
        raise tarfile.ReadError("it breaks off")
