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

from dlrun.data import archives
from dlrun.data.archives import read_tar
from dlrun.errors import DataError

CONTENT = random.Random(0).randbytes(3000)
WHOLE = {"part/1": CONTENT, "part/2": CONTENT}


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
    shares: list[float] = []
    found = dict(read_tar(path, re.compile(r"part/\d"), 1 << 20, shares.append))
    assert shares == sorted(shares) and shares[-1] == 100  # percent: it is read to its end
    return found


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_every_compression(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    assert read(tmp_path / "a", compress(tar("part/1", "./part/2", "other"))) == WHOLE
    raw = tar("part/1", "part/2")
    assert read(tmp_path / "a", compress(raw[:2000]) + compress(raw[2000:])) == WHOLE


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_no_flipped_bit_is_believed(
    tmp_path: Path, compress: Callable[[bytes], bytes], torture: bool
) -> None:
    """The checksum stands at the end, behind all that is read of the archive."""
    raw, chance = compress(tar("part/1", "part/2")), random.Random(1)
    for _ in range(1000 if torture else 200):
        bit = chance.randrange(8 * len(raw))
        flipped = bytearray(raw)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            assert read(tmp_path / "a", flipped) == WHOLE
        except DataError as error:
            assert "damaged, or not a tar archive" in error.message


def test_what_is_cut_off_is_noticed(tmp_path: Path) -> None:
    raw = gzip.compress(tar("part/1", "part/2"))
    plain = tar("part/1", "part/2")
    second = plain.index(b"part/2")
    flipped = plain.replace(b"part/2", b"part/3")
    ends = [raw[:-1], raw[:-8], raw[: len(raw) // 2], b"", raw[:5], b"words", b"\0" * 99]
    ends += [plain[:second], plain[: second + 97], plain[: second + 600], flipped]
    for damaged in ends:
        with pytest.raises(DataError, match="damaged, or not a tar archive"):
            read(tmp_path / "a", damaged)
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        list(read_tar(tmp_path, re.compile(""), 1, print))


def test_what_is_too_large_is_refused_by_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = tarfile.TarInfo("part/1")
    member.size = (1 << 20) + 1
    with pytest.raises(DataError, match=r"part/1 has 1,048,577 bytes: refused"):
        read(tmp_path / "a", member.tobuf())
    member.size = archives.MAX_TOTAL_BYTES + 1
    with pytest.raises(DataError, match="far larger than the published archive: refused"):
        read(tmp_path / "a", member.tobuf())
    monkeypatch.setattr(archives, "MAX_MEMBERS", 1)
    with pytest.raises(DataError, match="far larger"):
        read(tmp_path / "a", tar("part/1", "part/2"))


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
        with pytest.raises(DataError, match="refused"):
            read(tmp_path / "a", raw + tar("part/2"))


def test_chained_headers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="damaged, or not a tar archive"):
        read(tmp_path / "a", pax(comment="x") * 2000 + tar("part/1"))
