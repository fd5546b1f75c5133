"""Read files out of tar archives that are not trusted, without unpacking them to the disk."""

import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from dlrun.errors import DataError, first_line
from dlrun.system.console import Screen
from dlrun.system.files import open_regular_file


def read_tar_members(
    archive: Path, wanted: re.Pattern[str], screen: Screen
) -> Iterator[tuple[str, bytes]]:
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
    """Read a tar archive to its end; raise ReadError unless only zeros are left, and some are.

    tarfile takes a damaged header for the end. To read all that is left of a compressed file also
    compares its checksum.
    """
    assert tar.fileobj is not None  # it is open
    has_end = False
    while block := tar.fileobj.read(tarfile.RECORDSIZE):
        has_end = True
        if block.strip(b"\0"):
            raise tarfile.ReadError("a damaged header")
    if not has_end:
        raise tarfile.ReadError("it breaks off")
