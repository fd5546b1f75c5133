"""Photographs decoded by threads while a network runs; memory stays flat, whatever their number."""

import io
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from dlrun.data import images
from dlrun.data.decode_memory import LIMIT, Memory, UnreadableImageError
from dlrun.errors import first_line

THUMBNAIL = 360  # pixels of a side
DECODERS = 2  # threads; Pillow decodes and resizes without Python's lock
AHEAD = 64  # inputs that wait for the network, however large its batches are


@dataclass(frozen=True)
class Photograph:
    """A photograph as a network's input, and small, as a JPEG; or why it cannot be read."""

    file: Path
    pixels: Any = None  # (3, height, width)
    thumbnail: bytes | None = None
    error: str | None = None


def batches(
    files: Sequence[Path],
    to_input: Callable[[Image.Image], Any],
    *,
    size: int,
    thumbnails: int,
    smallest: int | None,
) -> Generator[list[Photograph], None, None]:
    """The photographs in order, `size` at a time.

    Args:
        files: to read.
        to_input: makes the network's input of a photograph.
        size: of a batch.
        thumbnails: how many of the first ones that can be read get one.
        smallest: see images.read.
    """
    ahead = min(2 * size, AHEAD)
    with closing(_decoded(files, to_input, thumbnails, smallest, ahead)) as stream:
        while batch := list(islice(stream, size)):
            yield batch


def _decoded(
    files: Sequence[Path],
    to_input: Callable[[Image.Image], Any],
    thumbnails: int,
    smallest: int | None,
    ahead: int,
) -> Generator[Photograph, None, None]:
    memory = Memory(LIMIT)
    pool = ThreadPoolExecutor(DECODERS)
    waiting, left = iter(files), thumbnails
    pending: deque[Future[Photograph]] = deque()
    try:
        while True:
            for file in islice(waiting, ahead + 1 - len(pending)):
                pending.append(pool.submit(_load, file, to_input, smallest, memory, left > 0))
            if not pending:
                return
            found = pending.popleft().result()
            yield found if left > 0 else replace(found, thumbnail=None)
            left -= found.error is None
    finally:  # whoever stops half-way does not wait for those that nobody asked for yet
        pool.shutdown(cancel_futures=True)


def _load(
    file: Path,
    to_input: Callable[[Image.Image], Any],
    smallest: int | None,
    memory: Memory,
    with_thumbnail: bool,
) -> Photograph:
    with memory.share() as take:  # given back once the picture is gone: not in the same function
        return _made(file, to_input, smallest, take, with_thumbnail)


def _made(
    file: Path,
    to_input: Callable[[Image.Image], Any],
    smallest: int | None,
    take: Callable[[int], None],
    with_thumbnail: bool,
) -> Photograph:
    try:
        photograph = images.read(file, smallest, take)
        pixels = to_input(photograph)
        thumbnail = _thumbnail(photograph) if with_thumbnail else None
    except UnreadableImageError as error:
        return Photograph(file, error=str(error))
    except Exception as error:  # one picture's extremes end no batch
        return Photograph(file, error=f"cannot be made an input: {first_line(error)}")
    return Photograph(file, pixels, thumbnail)


def _thumbnail(photograph: Image.Image) -> bytes:
    photograph.thumbnail((THUMBNAIL, THUMBNAIL))  # last use of it: may change in place
    stream = io.BytesIO()
    photograph.save(stream, format="JPEG", quality=90)
    return stream.getvalue()
