"""Pictures inside the page: data URIs, small."""

import base64
import io
import zipfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dlrun.errors import DataError, first_line

if TYPE_CHECKING:
    from PIL import Image

SIDE, QUALITY = 160, 70  # of a thumbnail, in pixels and JPEG's per cent: about 6 kB
PNG = b"\x89PNG\r\n\x1a\n"


def thumbnails(content: bytes) -> Iterator[str]:
    """The photographs of a run's thumbnails.npz, made smaller, as data URIs. Raises DataError."""
    import numpy as np
    from PIL import Image

    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            for jpeg in stored.values():
                picture = Image.open(io.BytesIO(jpeg.tobytes()))
                picture.thumbnail((SIDE, SIDE))
                yield _uri(picture, "JPEG", quality=QUALITY)
    except (OSError, ValueError, zipfile.BadZipFile, Image.DecompressionBombError) as error:
        raise DataError(
            f"the photographs' thumbnails cannot be read: {first_line(error)}"
        ) from None


def png(text: str) -> str:
    """A PNG that is base64 already as a data URI. Raises DataError where it is none."""
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:
        content = b""
    if not content.startswith(PNG):
        raise DataError("a picture is no PNG in base64")
    return f"data:image/png;base64,{text}"


def heat_map(matrix: Sequence[Sequence[int]]) -> str:
    """A confusion matrix as a picture, a pixel for each pair of classes, as a data URI.

    The darker, the larger the share of the row's class; a share of a hundredth is seen.
    """
    import numpy as np
    from PIL import Image

    counts = np.asarray(matrix, dtype=float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # Sixteen shades: a hundred noisy classes take 5 kB.
    shades = (17 * np.rint(15 * (1 - np.sqrt(shares)))).astype(np.uint8)
    return _uri(Image.fromarray(shades), "PNG", optimize=True)


def _uri(picture: "Image.Image", kind: str, **options: Any) -> str:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode()}"
