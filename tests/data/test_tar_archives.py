"""Tar archives, however they are compressed, are read whole or refused."""

import bz2
import gzip
import io
import lzma
import random
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dlrun.data import tar_archives
from dlrun.data.tar_archives import read_tar_members
from dlrun.errors import DataError
from dlrun.system.console import Screen
from tests.conftest import Patch

CONTENT = random.Random(0).randbytes(3000)
WHOLE = {"part/1": CONTENT, "part/2": CONTENT}
DAMAGED = "damaged, or not a tar archive"


def tar(*names: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(CONTENT)
            archive.addfile(member, io.BytesIO(CONTENT))
    return stream.getvalue()


def read(path: Path, raw: bytes) -> dict[str, bytes]:
    path.write_bytes(raw)
    return dict(read_tar_members(path, re.compile(r"part/\d"), Screen()))


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_every_compression_is_read(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    assert read(tmp_path / "a", compress(tar("part/1", "./part/2", "other"))) == WHOLE
    raw = tar("part/1", "part/2")
    assert read(tmp_path / "a", compress(raw[:2000]) + compress(raw[2000:])) == WHOLE


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_an_archive_with_a_flipped_bit_is_refused_or_read_right(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    """The checksum stands at the end, behind all that is read of the archive."""
    raw, chance = compress(tar("part/1", "part/2")), random.Random(1)
    for _ in range(200):
        bit = chance.randrange(8 * len(raw))
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            assert read(tmp_path / "a", flipped) == WHOLE
        except DataError as error:
            assert DAMAGED in error.message


def test_an_incomplete_archive_is_refused(tmp_path: Path) -> None:
    plain = tar("part/1", "part/2")
    raw, second = gzip.compress(plain), plain.index(b"part/2")
    ends = [raw[:-1], raw[:-8], raw[: len(raw) // 2], b"", raw[:5], b"words"]
    ends += [plain[:second], plain[: second + 97], plain.replace(b"part/2", b"part/3")]
    for damaged in ends:
        with pytest.raises(DataError, match=DAMAGED):
            read(tmp_path / "a", damaged)


def test_chained_headers_are_refused(tmp_path: Path) -> None:
    member = tarfile.TarInfo("part/1")
    member.type = tarfile.XHDTYPE
    with pytest.raises(DataError, match=DAMAGED):
        read(tmp_path / "a", member.tobuf() * 2000)  # each extends the next


def of_size(size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """An archive that ends after the header of its only member."""
    member = tarfile.TarInfo("part/1")
    member.size = size
    member.type = kind
    return member.tobuf() + bytes(tarfile.RECORDSIZE)


def sparse_gnu() -> bytes:
    """An archive of 2 kB with a file of 7.5 GB, all of it a hole, as `tar --sparse` makes it."""
    header = bytearray(of_size(0, tarfile.GNUTYPE_SPARSE)[: tarfile.BLOCKSIZE])
    header[386:410] = b"%011o\0" % 0 * 2
    header[483:495] = b"%011o\0" % 7_500_000_000
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + bytes(tarfile.RECORDSIZE)


def sparse_posix() -> bytes:
    """The same as `tar --posix --sparse` makes it."""
    member = tarfile.TarInfo("part/1")
    member.size = tarfile.BLOCKSIZE
    member.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.realsize": "7500000000",
        "GNU.sparse.name": "part/1",
    }
    holes = b"1\n7500000000\n0\n".ljust(tarfile.BLOCKSIZE, b"\0")
    return member.tobuf(tarfile.PAX_FORMAT) + holes + bytes(tarfile.RECORDSIZE)


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (sparse_gnu(), "sparse"),
        (sparse_posix(), "sparse"),
        (of_size(2 << 30), "its files have more than"),
        (tarfile.TarInfo("other").tobuf() + of_size(2 << 30, tarfile.XHDTYPE), "a header of more"),
    ],
)
def test_what_would_take_much_memory_is_refused_before_it_is_read(
    tmp_path: Path, compress: Callable[[bytes], bytes], raw: bytes, why: str
) -> None:
    with pytest.raises(DataError, match=why):
        read(tmp_path / "a", compress(raw))


def test_all_files_of_an_archive_are_bounded_together(tmp_path: Path, monkeypatch: Patch) -> None:
    raw = tar("part/1", "other", "part/2")
    monkeypatch.setattr(tar_archives, "MOST_UNPACKED", 2 * len(CONTENT))
    assert read(tmp_path / "a", raw) == WHOLE
    monkeypatch.setattr(tar_archives, "MOST_UNPACKED", 2 * len(CONTENT) - 1)
    with pytest.raises(DataError, match="its files have more than"):
        read(tmp_path / "a", raw)
