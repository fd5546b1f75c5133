"""Photographs decoded by threads while a network runs, a few ahead of it."""

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
from dlrun.errors import first_line

THUMBNAIL = 360  # pixels of a side
DECODERS = 2  # threads; Pillow decodes and resizes without Python's lock
AHEAD = 64  # inputs that wait for the network, however large its batches are


@dataclass(frozen=True)
class Photograph:
    """A photograph as a network's input with a thumbnail (JPEG), or the reason why it has none."""

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
    """Yield the photographs in order, `size` at a time.

    Args:
        files: to read.
        to_input: returns the network's input for a photograph.
        size: of a batch.
        thumbnails: how many photographs get one: the first that can be read.
        smallest: see images.read.
    """
    with closing(
        _decoded(files, to_input, thumbnails, smallest, ahead=min(2 * size, AHEAD))
    ) as stream:
        while batch := list(islice(stream, size)):
            yield batch


def _decoded(
    files: Sequence[Path],
    to_input: Callable[[Image.Image], Any],
    thumbnails: int,
    smallest: int | None,
    ahead: int,
) -> Generator[Photograph, None, None]:
    pool = ThreadPoolExecutor(DECODERS)
    waiting, left = iter(files), thumbnails
    pending: deque[Future[Photograph]] = deque()
    try:
        while True:
            for file in islice(waiting, ahead + 1 - len(pending)):
                pending.append(pool.submit(_load, file, to_input, smallest, left > 0))
            if not pending:
                return
            found = pending.popleft().result()
            yield found if left > 0 else replace(found, thumbnail=None)
            left -= found.error is None
    finally:  # a caller that stops early does not wait for the photographs that have not begun
        pool.shutdown(cancel_futures=True)


def _load(
    file: Path,
    to_input: Callable[[Image.Image], Any],
    smallest: int | None,
    with_thumbnail: bool,
) -> Photograph:
    try:
        photograph = images.read(file, smallest)
        pixels = to_input(photograph)
        thumbnail = _thumbnail(photograph) if with_thumbnail else None
    except images.UnreadableImageError as error:
        return Photograph(file, error=str(error))
    except Exception as error:  # an extreme photograph must not end the batch
        return Photograph(file, error=f"cannot be made an input: {first_line(error)}")
    return Photograph(file, pixels, thumbnail)


def _thumbnail(photograph: Image.Image) -> bytes:
    photograph.thumbnail((THUMBNAIL, THUMBNAIL))  # in place: this is the photograph's last use
    stream = io.BytesIO()
    photograph.save(stream, format="JPEG", quality=90)
    return stream.getvalue()
