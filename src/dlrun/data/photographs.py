"""Photographs decoded by threads while a network runs; memory stays flat, whatever their number."""

import io
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from dlrun.data import images

THUMBNAIL = 360  # pixels of a side
DECODERS = 2  # threads; Pillow decodes and resizes without Python's lock


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
) -> Iterator[list[Photograph]]:
    """The photographs in order, `size` at a time.

    Args:
        files: to read.
        to_input: makes the network's input of a photograph.
        size: of a batch.
        thumbnails: how many of the first ones get one.
        smallest: see images.read.
    """
    stream = _decoded(files, to_input, thumbnails, smallest, ahead=2 * size)
    while batch := list(islice(stream, size)):
        yield batch


def _decoded(
    files: Sequence[Path],
    to_input: Callable[[Image.Image], Any],
    thumbnails: int,
    smallest: int | None,
    ahead: int,
) -> Iterator[Photograph]:
    with ThreadPoolExecutor(DECODERS) as pool:
        pending: deque[Future[Photograph]] = deque()
        for index, file in enumerate(files):
            pending.append(pool.submit(_load, file, to_input, smallest, index < thumbnails))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _load(
    file: Path, to_input: Callable[[Image.Image], Any], smallest: int | None, with_thumbnail: bool
) -> Photograph:
    try:
        photograph = images.read(file, smallest)
    except images.UnreadableImageError as error:
        return Photograph(file, error=str(error))
    return Photograph(
        file, to_input(photograph), _thumbnail(photograph) if with_thumbnail else None
    )


def _thumbnail(photograph: Image.Image) -> bytes:
    photograph.thumbnail((THUMBNAIL, THUMBNAIL))  # last use of it: may change in place
    stream = io.BytesIO()
    photograph.save(stream, format="JPEG", quality=90)
    return stream.getvalue()
