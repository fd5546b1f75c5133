"""How much memory a photograph takes until it is small: its header tells, before it is decoded."""

import ctypes
import os
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from PIL import Image
from PIL.ExifTags import Base

LIMIT = 400 << 20  # bytes that all photographs together may take while they are decoded
READ_TWICE = 2  # a decoder may read a file whole, and join its pieces, before it tells a size
MAX_SIDE = 65_535  # pixels; as JPEG and GIF have it. A resize needs memory for each
FRACTIONS = (1, 2, 4, 8)  # of a size; those at which a JPEG can be decoded

# Bytes of a pixel as Pillow keeps it; all other modes take 4.
BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
RGB_BYTES = 4
# What a decoder takes beside it, measured: two canvases and a copy; two copies of run lengths.
WHILE_DECODING = {"WEBP": 12, "BMP": 2}
JPEG = ("JPEG", "MPO")

# glibc keeps what its threads have freed: of decoders that read large pieces, as much as they hold.
MUCH = 64 << 20  # bytes
_trim = getattr(ctypes.CDLL(None), "malloc_trim", int) if os.name == "posix" else int


class UnreadableImageError(Exception):
    """The file is no photograph that can be read; the message says why."""


@dataclass(frozen=True)
class Plan:
    """How to read a photograph so that it fits.

    decode: a JPEG is decoded at 1/decode of its size. copy: what is copied (to RGB, or upright)
    becomes 1/copy of that. takes: bytes, at their peak.
    """

    decode: int
    copy: int
    takes: int


class Memory:
    """Memory that several threads share: who wants more than is left waits for the others."""

    def __init__(self, total: int) -> None:
        self._free = total
        self._changed = threading.Condition()

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """Yields what changes this share to some bytes; they are given back when the block ends.

        A share that grows is given back first: two that wait for each other would wait for good.
        """
        held = 0

        def take(size: int) -> None:
            nonlocal held
            with self._changed:
                self._free, held = self._free + held, 0
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._free >= size)
                self._free, held = self._free - size, size

        try:
            yield take
        finally:
            if held > MUCH:
                _trim(0)
            take(0)


def plan(image: Image.Image, size: int, smallest: int | None) -> Plan:
    """How to read a photograph that has been opened, not decoded.

    Args:
        image: as Image.open gives it; of a JPEG the file's position is lost.
        size: of the file in bytes.
        smallest: see images.read.

    Raises UnreadableImageError where it takes more than LIMIT however it is read.
    """
    width, height = image.size
    if max(image.size) > MAX_SIDE:
        raise UnreadableImageError(
            f"refused: {width:,} x {height:,} pixels; a side may have {MAX_SIDE:,}"
        )
    pixels = width * height
    # Of a JPEG what stands before its pixels is kept; of others, pieces may stand behind them too.
    kept = image.fp.tell() if image.format == "JPEG" else size  # type: ignore[attr-defined]
    fixed = kept + pixels * _while_decoding(image)
    copied = _is_copied(image)
    for decode, copy in _ways(image, smallest):
        decoded = pixels / decode**2 * BYTES.get(image.mode, 4)
        takes = fixed + decoded + (pixels / (decode * copy) ** 2 * RGB_BYTES if copied else 0)
        if takes <= LIMIT:
            return Plan(decode, copy, max(round(takes), READ_TWICE * size))
    raise UnreadableImageError(
        f"refused: to decode {width:,} x {height:,} pixels ({image.format}, {image.mode}) "
        f"would take more than {LIMIT >> 20} MB"
    )


def _ways(image: Image.Image, smallest: int | None) -> list[tuple[int, int]]:
    """Fractions for decoding and for copying, the best first."""
    decode = [1]
    if image.format in JPEG:
        short = min(image.size)
        wanted = max(one for one in FRACTIONS if one == 1 or (smallest and short >= one * smallest))
        decode = [one for one in FRACTIONS if one >= wanted]
    return [(one, 1) for one in decode] + [(decode[-1], one) for one in FRACTIONS[1:]]


def _is_copied(image: Image.Image) -> bool:
    """Whether it may be copied once it is decoded: to RGB, or to stand upright."""
    if image.format == "PNG":  # its EXIF may stand behind the pixels
        return True
    has_turn = image.getexif().get(Base.Orientation, 1) != 1
    return image.mode != "RGB" or image.has_transparency_data or has_turn


def _while_decoding(image: Image.Image) -> float:
    """Bytes that a decoder keeps for each pixel, beside the picture."""
    if image.format not in JPEG:
        return WHILE_DECODING.get(str(image.format), 0)
    if not image.info.get("progressive") and _comes_in_one_scan(image):
        return 0
    # All coefficients, of 2 bytes, whatever the fraction; colours may be sampled less often.
    layers: list[tuple[int, int, int, int]] = image.layer  # type: ignore[attr-defined]
    sampled = sum(across * down for _, across, down, _ in layers)
    most = max(layer[1] for layer in layers) * max(layer[2] for layer in layers)
    return 2 * sampled / most


def _comes_in_one_scan(image: Any) -> bool:
    """Whether the first scan, whose header Pillow has just read, holds all components."""
    header = struct.pack(">HHB", 0xFFDA, 6 + 2 * image.layers, image.layers)
    whole = len(header) + 2 * image.layers + 3
    image.fp.seek(max(0, image.fp.tell() - whole))
    return bool(image.fp.read(len(header)) == header)
