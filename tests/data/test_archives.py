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

from dlrun.data.archives import files
from dlrun.errors import DataError

CONTENT = random.Random(0).randbytes(3000)
WANTED = re.compile(r"part/\d")


def tar(*names: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(CONTENT)
            archive.addfile(member, io.BytesIO(CONTENT))
    return stream.getvalue()


def read(path: Path) -> dict[str, bytes]:
    shares: list[float] = []
    found = dict(files(path, WANTED, 1 << 20, shares.append))
    assert shares == sorted(shares) and shares[-1] == 100  # percent: it is read to its end
    return found


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_every_compression(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    (tmp_path / "a").write_bytes(compress(tar("part/1", "./part/2", "other")))
    assert read(tmp_path / "a") == {"part/1": CONTENT, "part/2": CONTENT}


def test_a_gzip_of_several_members_is_one(tmp_path: Path) -> None:
    raw = tar("part/1", "part/2")
    (tmp_path / "a").write_bytes(gzip.compress(raw[:2000]) + gzip.compress(raw[2000:]))
    assert read(tmp_path / "a").keys() == {"part/1", "part/2"}


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_no_flipped_bit_is_believed(
    tmp_path: Path, compress: Callable[[bytes], bytes], torture: bool
) -> None:
    """The checksum stands at the end, behind all that is read of the archive."""
    raw, chance = compress(tar("part/1", "part/2")), random.Random(1)
    whole = {"part/1": CONTENT, "part/2": CONTENT}
    believed = []
    for _ in range(1000 if torture else 200):
        bit = chance.randrange(8 * len(raw))
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        (tmp_path / "a").write_bytes(flipped)
        try:
            if read(tmp_path / "a") != whole:
                believed.append(bit)
        except DataError as error:
            assert "damaged, or not a tar archive" in error.message
    assert believed == []


def test_what_is_cut_off_or_added_is_noticed(tmp_path: Path) -> None:
    raw = gzip.compress(tar("part/1", "part/2"))
    for damaged in (raw[:-1], raw[:-8], raw[: len(raw) // 2], raw + b"more", b"", raw[:5]):
        (tmp_path / "a").write_bytes(damaged)
        with pytest.raises(DataError, match="damaged, or not a tar archive"):
            read(tmp_path / "a")


def pax(**values: str) -> bytes:
    """The header that extends the next one."""
    lines = b""
    for key, value in values.items():
        line = f" {key}={value}\n"
        length = len(line)
        while length != len(f"{length}{line}"):
            length = len(f"{length}{line}")
        lines += f"{length}{line}".encode()
    member = tarfile.TarInfo("x")
    member.size, member.type = len(lines), tarfile.XHDTYPE
    return member.tobuf() + lines.ljust(512, b"\0")


def test_a_sparse_file_is_refused(tmp_path: Path) -> None:
    """Its gaps are in no byte of the archive."""
    sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "part/1"}
    new = tarfile.TarInfo("part/1")
    new.size = 512
    body = b"1\n0\n1\n".ljust(512, b"\0")
    for real in (1 << 30, 1 << 10):
        raw = pax(**sparse, **{"GNU.sparse.realsize": str(real)}) + new.tobuf() + body
        (tmp_path / "new").write_bytes(raw + tar("part/2"))
        with pytest.raises(DataError, match="refused"):
            read(tmp_path / "new")


def test_chained_headers_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(pax(comment="x") * 2000 + tar("part/1"))
    with pytest.raises(DataError, match="headers without end"):
        read(tmp_path / "a")
