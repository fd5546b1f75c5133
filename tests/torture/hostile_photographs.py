"""Photographs that are small as files and huge in memory, or would be in a decoder's."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

ORIENTATION = 0x112
GREY, PALETTE, RGBA = 0, 3, 6  # a PNG's kinds of colour
SAMPLES = {GREY: 1, PALETTE: 1, RGBA: 4}
PLTE_AND_TRANSPARENT = [(b"PLTE", bytes(768)), (b"tRNS", bytes(256))]

# Those within the bounds on pixels and bytes, some at a fraction of their size.
READABLE = {
    "alpha.png", "good.png", "large.webp", "progressive.jpg", "tall.png", "turned.jpg", "wide.png",
}  # fmt: skip


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int,
    height: int,
    kind: int = GREY,
    bits: int = 8,
    extra: list[tuple[bytes, bytes]] | None = None,
    rows: int | None = None,
) -> bytes:
    """A PNG of zeros; where `rows` are given, it claims more than it holds."""
    head = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    left = (height if rows is None else rows) * (1 + width * SAMPLES[kind] * bits // 8)
    packer = zlib.compressobj(1)
    packed = []
    while left:
        zeros = bytes(min(left, 1 << 24))
        packed.append(packer.compress(zeros))
        left -= len(zeros)
    data = b"".join(packed) + packer.flush()
    chunks = [(b"IHDR", head), *(extra or []), (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks)


def sparse(path: Path, start: bytes, size: int) -> None:
    """A file of zeros after its start, which takes no room on the disk."""
    path.write_bytes(start)
    os.truncate(path, size)


def make(folder: Path, count: int) -> None:
    """So many files in a folder: each kind under many names (`017 grey16.png`)."""
    text = b"a\0\0" + zlib.compress(bytes(1 << 26), 1)
    pngs = {
        "long.png": png(170_000_000, 1),
        "wide.png": png(20_000, 1),
        "tall.png": png(1, 20_000),
        "grey16.png": png(13_300, 13_300, bits=16),
        "square.png": png(13_300, 13_300),
        "palette.png": png(13_000, 13_000, PALETTE, extra=PLTE_AND_TRANSPARENT),
        "alpha.png": png(7_000, 7_000, RGBA),
        "larger alpha.png": png(13_000, 13_000, RGBA, rows=9),
        "text.png": png(9, 9, extra=[(b"zTXt", text)]),
    }
    for name, content in pngs.items():
        (folder / name).write_bytes(content)
    plain = Image.new("RGB", (12_000, 9_000), (9, 99, 199))
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    plain.save(folder / "turned.jpg", exif=exif)
    plain.save(folder / "progressive.jpg", progressive=True, subsampling=0)
    plain.crop((0, 0, 12_000, 4_000)).save(folder / "large.webp", quality=1, method=0)
    Image.new("L", (13_300, 13_300)).save(folder / "large.gif")
    sparse(folder / "sparse.jpg", (folder / "turned.jpg").read_bytes()[:20], 1 << 32)
    sparse(
        folder / "chunk.png", png(9, 9)[:33] + struct.pack(">I4s", 190 << 20, b"prIv"), 195 << 20
    )
    sparse(folder / "whole.webp", (folder / "large.webp").read_bytes()[:30], 195 << 20)
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "good.png")
    kinds = sorted(folder.iterdir())
    for number in range(count - len(kinds)):
        source = kinds[number % len(kinds)]
        os.link(source, folder / f"{number:03} {source.name}")
