"""Photographs from files and folders, in any mode and orientation, as RGB."""

import base64
import importlib.util
import io
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base
from PIL.Image import Transpose

from dlrun.data.decode_memory import LIMIT, READ_TWICE, UnreadableImageError, plan
from dlrun.data.decode_strips import too_many
from dlrun.data.fingerprint import fingerprint
from dlrun.errors import ConfigError, first_line

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"}
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")

# A block this large goes back to the system with its picture. Of Pillow's own, 16 MB, glibc keeps
# many (up to 32 MB each): a process that decodes large pictures would grow to three times these.
Image.core.set_block_size(64 << 20)  # type: ignore[attr-defined]

# What each EXIF orientation asks for; whether rows become columns; whether the last comes first.
UPRIGHT = (None, False, False)
TURNS: dict[Any, tuple[Transpose | None, bool, bool]] = {
    2: (Transpose.FLIP_LEFT_RIGHT, False, False),
    3: (Transpose.ROTATE_180, False, True),
    4: (Transpose.FLIP_TOP_BOTTOM, False, True),
    5: (Transpose.TRANSPOSE, True, False),
    6: (Transpose.ROTATE_270, True, True),
    7: (Transpose.TRANSVERSE, True, True),
    8: (Transpose.ROTATE_90, True, False),
}
STRIP = 1 << 20  # pixels that are copied at once


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The files, and every image in the folders and the folders in them, each once; none hidden.

    A folder below that cannot be listed stands there as itself: to read it says why. Links to
    folders are not followed.

    Raises ConfigError for a path that does not exist and for a folder that has no images, or
    cannot be listed.
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
    """Two photographs that scikit-learn ships (china.jpg, flower.jpg)."""
    spec = importlib.util.find_spec("sklearn")  # found, not imported: that takes a second
    assert spec is not None and spec.origin is not None  # a dependency
    return sorted((Path(spec.origin).parent / "datasets" / "images").glob("*.jpg"))


def files_fingerprint(files: Sequence[Path]) -> str:
    """A fingerprint of the files' names, sizes and times of modification, in their order."""

    def of(file: Path) -> str:
        try:
            found = file.stat()
        except OSError as error:
            return f"{error.errno}"
        return f"{found.st_size} {found.st_mtime_ns}"

    texts = (os.fsencode(file) + b"\0" + of(file).encode() for file in files)
    return fingerprint(np.frombuffer(text, np.uint8) for text in texts)


def read(
    path: Path, smallest: int | None = None, take: Callable[[int], object] = lambda size: None
) -> Image.Image:
    """A photograph as RGB, upright; the first frame of an animation; transparency on white.

    With `smallest`, a JPEG may be decoded at a half, a quarter or an eighth of its size, as long as
    both sides keep that many pixels: several times faster, and nearly the same picture. One that
    would take more than picture_memory.LIMIT is read so whatever `smallest` is, where that helps.

    Args:
        path: of the file.
        smallest: pixels.
        take: told, before they are taken, how many bytes the photograph takes from now on.

    Raises UnreadableImageError.
    """
    size = _size(path)
    try:
        if too_many(path):
            raise UnreadableImageError("refused: in more pieces than any photograph")
        take(READ_TWICE * size)
        with Image.open(path, formats=FORMATS) as image:
            how = plan(image, size, smallest)
        del image  # and what it has read of the file
        take(how.takes)
        with Image.open(path, formats=FORMATS) as image:
            if how.decode > 1:
                image.draft(None, (image.width // how.decode, image.height // how.decode))
            image.load()
            return _upright(image, how.copy)
    except UnreadableImageError:
        raise
    except UnidentifiedImageError:
        kinds = ", ".join(FORMATS)
        raise UnreadableImageError(f"not an image of a known kind ({kinds})") from None
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(f"refused: {error}") from None
    except MemoryError:
        raise UnreadableImageError("not enough memory to decode it") from None
    except Exception as error:  # a damaged file can raise anything in a decoder
        if isinstance(error, OSError) and error.strerror:
            raise UnreadableImageError(error.strerror) from None
        raise UnreadableImageError(f"damaged: {first_line(error)}") from None


def png(pixels: NDArray[np.uint8]) -> str:
    """Pixels (height, width, 3) as a PNG in base64."""
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
    except OSError:  # to read it says why
        return True


def _size(path: Path) -> int:
    """A file's bytes. Raises UnreadableImageError where it is none, or has too many."""
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            next(path.iterdir(), None)  # says why its images were not found
    except OSError as error:
        raise UnreadableImageError(error.strerror or str(error)) from None
    if not stat.S_ISREG(found.st_mode):
        raise UnreadableImageError("not a regular file")
    if READ_TWICE * found.st_size > LIMIT:
        raise UnreadableImageError(f"refused: a file of more than {LIMIT // READ_TWICE >> 20} MB")
    return found.st_size


def _upright(image: Image.Image, fraction: int) -> Image.Image:
    """The picture in RGB as its EXIF says it stands; where that is a copy, 1/fraction of its size.

    Copied strip by strip, so that nothing is there twice but the result.
    """
    turn, sideways, backwards = TURNS.get(image.getexif().get(Base.Orientation), UPRIGHT)
    if image.mode == "RGB" and not image.has_transparency_data and turn is None:
        return image
    width, height = (-(-side // fraction) for side in image.size)
    upright = Image.new("RGB", (height, width) if sideways else (width, height))
    rows = max(1, STRIP // width // fraction**2)  # of the result
    for top in range(0, height, rows):
        end = min(top + rows, height)
        box = (0, top * fraction, image.width, min(end * fraction, image.height))
        strip = _to_rgb(image.crop(box))
        if fraction > 1:
            strip = strip.reduce(fraction)
        if turn is not None:
            strip = strip.transpose(turn)
        place = height - end if backwards else top
        upright.paste(strip, (place, 0) if sideways else (0, place))
    return upright


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits of grey: Pillow would clip, not scale
        grey = np.asarray(image).astype(np.float64) / 257
        return Image.fromarray(grey.clip(0, 255).round().astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")
