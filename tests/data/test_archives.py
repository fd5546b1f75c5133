import bz2
import gzip
import io
import lzma
import random
import re
import tarfile
import time
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
            assert "damaged, or no tar archive" in error.message
    assert believed == []


def test_what_is_cut_off_or_added_is_noticed(tmp_path: Path) -> None:
    raw = gzip.compress(tar("part/1", "part/2"))
    for damaged in (raw[:-1], raw[:-8], raw[: len(raw) // 2], raw + b"more", b"", raw[:5]):
        (tmp_path / "a").write_bytes(damaged)
        with pytest.raises(DataError, match="damaged, or no tar archive"):
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


def test_sparse_files_are_refused(tmp_path: Path) -> None:
    """Their gaps are in no byte of the archive, so no size bounds them."""
    old = tarfile.TarInfo("part/1")
    old.type = tarfile.GNUTYPE_SPARSE
    (tmp_path / "old").write_bytes(old.tobuf() + b"\0" * 1024)
    with pytest.raises(DataError, match="a sparse file"):
        read(tmp_path / "old")
    sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "part/1"}
    new = tarfile.TarInfo("part/1")
    new.size = 512
    body = b"1\n0\n1\n".ljust(512, b"\0")
    raw = pax(**sparse, **{"GNU.sparse.realsize": str(1 << 30)}) + new.tobuf() + body
    (tmp_path / "new").write_bytes(raw + tar("part/2"))
    with pytest.raises(DataError, match="a sparse file"):
        read(tmp_path / "new")


def test_chained_headers_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(pax(comment="x") * 2000 + tar("part/1"))
    with pytest.raises(DataError, match="headers without end"):
        read(tmp_path / "a")


def test_a_newer_sparse_file_with_an_endless_map_is_refused_unread(tmp_path: Path) -> None:
    sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "part/1"}
    new = tarfile.TarInfo("part/1")
    new.size = 16 << 20
    entries = b"9000000\n" + b"0\n" * (8 << 20)
    (tmp_path / "a").write_bytes(pax(**sparse) + new.tobuf() + entries[: 16 << 20])
    with pytest.raises(DataError, match="a sparse file"):
        read(tmp_path / "a")


@pytest.mark.slow
def test_headers_that_take_long_to_search_are_refused(tmp_path: Path) -> None:
    """Python's tarfile took 6 s for one of digits alone (CVE-2024-6232)."""
    digits = tarfile.TarInfo("x")
    digits.size, digits.type = 60_010, tarfile.XHDTYPE
    body = (b"60010 comment=" + b"1" * 59_995 + b"\n").ljust(60_416, b"\0")
    member = tarfile.TarInfo("other").tobuf()
    (tmp_path / "a").write_bytes((digits.tobuf() + body + member) * 6 + tar("part/1"))
    began = time.monotonic()
    with pytest.raises(DataError, match="names without end"):
        read(tmp_path / "a")
    assert time.monotonic() - began < 60
