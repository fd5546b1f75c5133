"""Small pictures inside the HTML page, as data URIs."""

import base64
import io
import zipfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from dlrun.errors import DataError, first_line

if TYPE_CHECKING:
    from PIL import Image

SIDE, QUALITY = 160, 70  # of a thumbnail, in pixels and JPEG's per cent: about 6 kB
PNG = b"\x89PNG\r\n\x1a\n"


def thumbnails(content: bytes) -> Iterator[str]:
    """Yield the photographs of a thumbnails.npz, made smaller. Raises DataError."""
    import numpy as np  # slow, as Pillow: few runs have photographs
    from PIL import Image

    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            for jpeg in stored.values():
                picture = Image.open(io.BytesIO(jpeg.tobytes()))
                picture.thumbnail((SIDE, SIDE))
                yield _data_uri(picture, "JPEG", quality=QUALITY)
    except (OSError, ValueError, zipfile.BadZipFile, Image.DecompressionBombError) as error:
        message = f"the photographs' thumbnails cannot be read: {first_line(error)}"
        raise DataError(message) from None


def png(text: str) -> str:
    """Return the data URI of a PNG in base64. Raises DataError if the text is something else."""
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:
        content = b""
    if not content.startswith(PNG):
        raise DataError("a picture is not a PNG in base64")
    return f"data:image/png;base64,{text}"


def heat_map(matrix: Sequence[Sequence[int]]) -> str:
    """Return a confusion matrix as a picture, with a pixel for each pair of classes.

    A pixel is the darker the larger its share of the row; a share of a hundredth is visible.
    """
    from PIL import Image  # slow

    pixels = bytearray()
    for row in matrix:
        total = max(1, sum(row))
        # Sixteen shades: a hundred noisy classes take 5 kB.
        pixels += bytes(17 * round(15 * (1 - (count / total) ** 0.5)) for count in row)
    picture = Image.frombytes("L", (len(matrix), len(matrix)), bytes(pixels))
    return _data_uri(picture, "PNG", optimize=True)


def _data_uri(picture: "Image.Image", kind: str, **options: int) -> str:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"
