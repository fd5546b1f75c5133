"""How many pieces a JPEG or PNG is made of: Pillow keeps something of each, however short it is."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

MOST = 100_000  # pieces; a large photograph has some thousands
JPEG, PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
END_OF_HEADER = (0xDA, 0xD9)  # of a JPEG: its pixels follow, or nothing


def too_many(path: Path) -> bool:
    """Whether it has more segments or chunks than any photograph. Raises OSError."""
    with path.open("rb") as stream:
        head = stream.read(len(PNG))
        pieces: Iterator[int] = iter(())
        if head.startswith(JPEG):
            stream.seek(len(JPEG))
            pieces = _segments(stream)
        elif head == PNG:
            pieces = _chunks(stream)
        return next(islice(pieces, MOST, None), None) is not None


def _segments(stream: BinaryIO) -> Iterator[int]:
    """The length of each segment of a JPEG's header, its own two bytes with it."""
    while len(marker := stream.read(2)) == 2 and marker[0] == 0xFF:
        if marker[1] == 0xFF:  # a byte that fills a gap
            stream.seek(-1, 1)
            length = 0
        elif marker[1] in END_OF_HEADER:
            return
        else:
            length = int.from_bytes(stream.read(2))
            stream.seek(max(0, length - 2), 1)
        yield length


def _chunks(stream: BinaryIO) -> Iterator[int]:
    """The length of each chunk of a PNG, without its name and checksum."""
    while len(head := stream.read(8)) == 8:
        length = int.from_bytes(head[:4])
        stream.seek(length + 4, 1)
        yield length
