"""Photographs from files and folders, in any mode and orientation, as RGB."""

import base64
import importlib.util
import io
import os
import stat
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base
from PIL.Image import Transpose

from dlrun.data.fingerprint import fingerprint
from dlrun.errors import ConfigError, first_line

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"}
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
JPEG_FORMATS = ("JPEG", "MPO")
JPEG_FRACTIONS = (1, 2, 4, 8)  # a JPEG can be decoded at 1/2, 1/4 or 1/8 of its size
MAX_PIXELS = 50_000_000  # decoded; each takes 4 bytes, and 4 more while it is converted to RGB
MAX_SIDE = 65_535  # pixels, the limit of JPEG and GIF: a resize needs memory for each row
MAX_FILE_BYTES = 200 << 20
LARGE_PIXELS = 30_000_000  # of which two threads would take too much memory: one after the other
ONE_LARGE = threading.Lock()

# Blocks of this size return to the system with their picture; glibc would keep many of 16 MB.
Image.core.set_block_size(64 << 20)  # type: ignore[attr-defined]  # see Pillow's "Block allocator"

ORIENTATIONS = {  # EXIF's number: what turns the stored picture upright
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


class UnreadableImageError(Exception):
    """The file is not a photograph that can be read; the message says why."""


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Return the files, and all images in the folders and their sub-folders, each path once.

    Hidden files are left out and links to folders are not followed. A sub-folder that cannot be
    listed is returned itself, so that reading it gives the reason.

    Raises ConfigError if a path does not exist, or a folder cannot be listed or has no images.
    """
    found: list[Path] = []
    for path in paths:
        try:
            if path.is_dir():
                found += _in_folder(path)
            elif path.exists():
                found.append(path)
            else:
                raise ConfigError(f"{path}: no such image or folder")
        except OSError as error:  # such as a name that is too long
            raise ConfigError(f"{path}: {error.strerror}") from None
    return list(dict.fromkeys(found))


def sample_photographs() -> list[Path]:
    """Return the two photographs that scikit-learn ships (china.jpg, flower.jpg)."""
    spec = importlib.util.find_spec("sklearn")  # found, not imported: that takes a second
    assert spec is not None and spec.origin is not None  # a dependency
    return sorted((Path(spec.origin).parent / "datasets" / "images").glob("*.jpg"))


def files_fingerprint(files: Sequence[Path]) -> str:
    """Return a hash of the files' names, sizes and times of modification, in their order."""

    def of(file: Path) -> str:
        try:
            found = file.stat()
        except OSError as error:
            return f"{error.errno}"
        return f"{found.st_size} {found.st_mtime_ns}"

    texts = (os.fsencode(file) + b"\0" + of(file).encode() for file in files)
    return fingerprint(np.frombuffer(text, np.uint8) for text in texts)


def read(path: Path, smallest: int | None = None) -> Image.Image:
    """Return a photograph in RGB, upright, with transparency on white; of an animation one frame.

    Args:
        path: of the file.
        smallest: allows a JPEG to be decoded at 1/2, 1/4 or 1/8 of its size if both sides keep so
            many pixels, which is several times faster and nearly the same picture. A JPEG of more
            than MAX_PIXELS is always decoded at a fraction.

    Raises UnreadableImageError.
    """
    _check_file(path)
    try:
        with Image.open(path, formats=FORMATS) as image:
            fraction, pixels = _fraction(image, smallest), image.width * image.height
            if fraction > 1:
                image.draft(None, (image.width // fraction, image.height // fraction))
            with ONE_LARGE if pixels > LARGE_PIXELS else nullcontext():
                image.load()
                return _upright(_to_rgb(image), image.getexif().get(Base.Orientation))
    except UnreadableImageError:
        raise
    except UnidentifiedImageError:
        raise UnreadableImageError(f"not an image of a known kind ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(f"refused: {error}") from None
    except MemoryError:
        raise UnreadableImageError("not enough memory to decode it") from None
    except Exception as error:  # a damaged file can raise anything in a decoder
        if isinstance(error, OSError) and error.strerror:
            raise UnreadableImageError(error.strerror) from None
        raise UnreadableImageError(f"damaged: {first_line(error)}") from None


def png(pixels: NDArray[np.uint8]) -> str:
    """Encode pixels (height, width, 3) as a PNG in base64."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return base64.b64encode(stream.getvalue()).decode()


def _in_folder(folder: Path) -> list[Path]:
    found: list[Path] = []

    def note(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise error
        found.append(Path(error.filename))

    for place, folders, files in os.walk(folder, onerror=note):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            path
            for name in files
            if not name.startswith(".")
            and (path := Path(place, name)).suffix.lower() in SUFFIXES
            and _is_file_or_unknown(path)
        ]
    if not found:
        raise ConfigError(
            f"{folder}: no images in this folder", f"it looks for {', '.join(sorted(SUFFIXES))}"
        )
    return sorted(found)


def _is_file_or_unknown(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # reading it gives the reason
        return True


def _check_file(path: Path) -> None:
    """Raise UnreadableImageError if the path is not a regular file or the file is too large."""
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            next(path.iterdir(), None)  # raises the reason why find_images could not list it
    except OSError as error:
        raise UnreadableImageError(error.strerror or str(error)) from None
    if not stat.S_ISREG(found.st_mode):
        raise UnreadableImageError("not a regular file")
    if found.st_size > MAX_FILE_BYTES:
        raise UnreadableImageError(f"refused: a file of more than {MAX_FILE_BYTES >> 20} MB")


def _fraction(image: Image.Image, smallest: int | None) -> int:
    """Return n if a photograph is decoded at 1/n of its size.

    Raises UnreadableImageError if it is too large at every fraction.
    """
    width, height = image.size
    if max(width, height) > MAX_SIDE:
        raise UnreadableImageError(
            f"refused: {width:,} x {height:,} pixels; a side may have {MAX_SIDE:,}"
        )
    possible = JPEG_FRACTIONS if image.format in JPEG_FORMATS else (1,)
    fitting = [n for n in possible if width * height <= MAX_PIXELS * n**2]
    if not fitting:
        raise UnreadableImageError(
            f"refused: {width:,} x {height:,} pixels; a {image.format} may have {MAX_PIXELS:,}"
        )
    wanted = [n for n in possible if smallest and min(width, height) >= n * smallest]
    return max(fitting[0], *wanted) if wanted else fitting[0]


def _upright(image: Image.Image, orientation: int | None) -> Image.Image:
    step = ORIENTATIONS.get(orientation or 1)
    return image if step is None else image.transpose(step)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits of grey: Pillow would clip instead of scaling
        grey = np.asarray(image) / np.float32(257)
        return Image.fromarray(grey.clip(0, 255).round().astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
