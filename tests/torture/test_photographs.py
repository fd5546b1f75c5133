"""Photographs made to do harm: huge in memory, broken, or with names that a table must not hold."""

import json
import os
import re
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import setting
from tests.harness import newest_run, start
from tests.torture.conftest import PHOTOGRAPHS, TURNED

GREY, PALETTE, RGBA = 0, 3, 6  # a PNG's kinds of colour
SAMPLES = {GREY: 1, PALETTE: 1, RGBA: 4}
TWO_GB = 2 << 20  # in KiB, as the system counts a process's peak

# Within the bounds on pixels and bytes, some at a fraction of their size.
LARGE = {
    "alpha.png", "large.webp", "progressive.jpg", "tall.png", "turned.jpg", "wide.png",
}  # fmt: skip
SMALL = {
    "good.jpg", "-leading-dash.jpg", "line\nbreak.jpg", "\N{PILE OF POO}.jpg", "=1+1.jpg",
    "\x1b[31mred.jpg", "a,b;c\t'\".jpg", "animated.gif", "wrong-extension.png", "one-pixel.png",
    "wide.jpg", "tall.jpg", "broken-exif.jpg",
}  # fmt: skip


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int,
    height: int,
    kind: int = GREY,
    bits: int = 8,
    extra: tuple[tuple[bytes, bytes], ...] = (),
    rows: int | None = None,
) -> bytes:
    """A PNG of zeros; if `rows` are given, it claims more than it holds."""
    head = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    left = (height if rows is None else rows) * (1 + width * SAMPLES[kind] * bits // 8)
    chunks = [(b"IHDR", head), *extra, (b"IDAT", zlib.compress(bytes(left), 1)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks)


def sparse(path: Path, start: bytes, size: int) -> None:
    """A file of zeros after its start, which takes no room on the disk."""
    path.write_bytes(start)
    os.truncate(path, size)


def make_large(folder: Path) -> None:
    """Files that are small, and huge in memory, or would be in a decoder's."""
    palette = ((b"PLTE", bytes(768)), (b"tRNS", bytes(256)))
    text = (b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 26), 1))
    for name, content in {
        "long.png": png(170_000_000, 1),
        "wide.png": png(20_000, 1),
        "tall.png": png(1, 20_000),
        "grey16.png": png(13_300, 13_300, bits=16),
        "square.png": png(13_300, 13_300),
        "palette.png": png(13_000, 13_000, PALETTE, extra=palette),
        "alpha.png": png(7_000, 7_000, RGBA),
        "larger alpha.png": png(13_000, 13_000, RGBA, rows=9),
        "bomb.png": png(60_000, 60_000, rows=9),
        "text.png": png(9, 9, extra=(text,)),
    }.items():
        (folder / name).write_bytes(content)
    plain = Image.new("RGB", (12_000, 9_000), (9, 99, 199))
    plain.save(folder / "turned.jpg", exif=TURNED)
    plain.save(folder / "progressive.jpg", progressive=True, subsampling=0)
    plain.crop((0, 0, 12_000, 4_000)).save(folder / "large.webp", quality=1, method=0)
    Image.new("L", (13_300, 13_300)).save(folder / "large.gif")
    sparse(folder / "sparse.jpg", (folder / "turned.jpg").read_bytes()[:20], 1 << 32)
    private = png(9, 9)[:33] + struct.pack(">I4s", 190 << 20, b"prIv")
    sparse(folder / "chunk.png", private, 195 << 20)
    sparse(folder / "whole.webp", (folder / "large.webp").read_bytes()[:30], 195 << 20)


def make_small(folder: Path) -> None:
    """Files with odd names and contents; pipes, devices and links beside them."""
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    colour = Image.fromarray(noise)
    for name in SMALL:
        colour.save(folder / name, format="JPEG")  # of some, the next lines write another
    colour.save(folder / "animated.gif", save_all=True, append_images=[colour] * 3)
    Image.new("RGB", (1, 1), "red").save(folder / "one-pixel.png")
    Image.new("L", (65_500, 20), 128).save(folder / "wide.jpg")
    Image.new("L", (20, 65_500), 128).save(folder / "tall.jpg")
    exif = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 40
    colour.save(folder / "broken-exif.jpg", exif=exif)
    whole = (folder / "good.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "zeros.png").write_bytes(bytes(1000))
    (folder / "text.gif").write_bytes(b"GIF89a and no more")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "device.jpg").symlink_to("/dev/zero")
    (folder / "nowhere.jpg").symlink_to(folder / "none.jpg")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="tells no process's peak")
def test_each_hostile_photograph_is_classified_or_a_row_with_its_reason(
    tmp_path: Path, torture: bool
) -> None:
    """Within 2 GB; nothing in the table is a formula or an escape sequence."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    make_large(folder)
    kinds = sorted(folder.iterdir())
    copies = 80 if torture else 0
    for number in range(copies):
        source = kinds[number % len(kinds)]
        os.link(source, folder / f"{number:03} {source.name}")
    make_small(folder)
    bundled = setting("model.name=efficientnet-lite0")
    child = start(tmp_path, PHOTOGRAPHS, *bundled, "--", "photographs", "/dev/zero")
    peak = 0
    while child.process.is_alive():
        found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{child.process.pid}/status").read_text())
        peak = int(found[1]) if found else peak
        time.sleep(0.05)
    ended = child.end().is_told(1)  # some could not be read
    assert 0 < peak < TWO_GB, f"{peak >> 10} MB"
    done = newest_run(tmp_path, PHOTOGRAPHS)
    results = json.loads((done / "results.json").read_text())
    table = (done / "predictions.csv").read_bytes()
    assert "\x1b" not in ended.stdout + ended.stderr and b"\x1b" not in table
    assert not any(line.startswith((b"=", b"+", b"-", b"@")) for line in table.splitlines())

    def names(key: str) -> set[str]:
        return {re.sub(r"^\d{3} ", "", Path(name).name) for name in results[key]}

    bad = {path.name for path in kinds} - LARGE
    bad |= {"truncated.jpg", "empty.jpg", "zeros.png", "text.gif", "zero"}
    bad |= {"pipe.jpg", "device.jpg", "nowhere.jpg"}
    assert (names("predictions"), names("errors")) == (LARGE | SMALL, bad)
    assert all(len(error) < 200 for error in results["errors"].values())
    predictions, errors = len(results["predictions"]), len(results["errors"])
    assert predictions + errors == copies + len(LARGE | SMALL | bad)
    assert table.count(b"\n") == 1 + 3 * predictions + errors
