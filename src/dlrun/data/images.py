"""Photographs from files and folders, in any mode and orientation, as RGB."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from dlrun.errors import ConfigError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"}
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")

# Pillow would give each picture's memory back and ask for it anew: a fifth of a large one's time.
Image.core.set_blocks_max(256)  # type: ignore[attr-defined]  # of 1 MB


class UnreadableImageError(Exception):
    """The file is no photograph that can be read; the message says why."""


def find(paths: Sequence[Path]) -> list[Path]:
    """The files, and every image in the folders and the folders in them, each once; none hidden.

    Raises ConfigError for a path that does not exist and for a folder without images.
    """
    found: list[Path] = []
    for path in paths:
        try:
            is_folder, exists = path.is_dir(), path.exists()
        except OSError as error:  # such as a name that is too long
            raise ConfigError(f"{path}: {error.strerror}") from None
        if is_folder:
            files = sorted(
                file
                for file in path.rglob("*")
                if file.suffix.lower() in SUFFIXES
                and file.is_file()
                and not any(part.startswith(".") for part in file.relative_to(path).parts)
            )
            if not files:
                raise ConfigError(
                    f"{path}: no images in this folder",
                    f"it looks for {', '.join(sorted(SUFFIXES))}",
                )
            found += files
        elif exists:
            found.append(path)
        else:
            raise ConfigError(f"{path}: no such image or folder")
    return list(dict.fromkeys(found))


def shipped() -> list[Path]:
    """Two photographs that scikit-learn ships (china.jpg, flower.jpg)."""
    spec = importlib.util.find_spec("sklearn")  # found, not imported: that takes a second
    assert spec is not None and spec.origin is not None  # a dependency
    return sorted((Path(spec.origin).parent / "datasets" / "images").glob("*.jpg"))


def read(path: Path, smallest: int | None = None) -> Image.Image:
    """A photograph as RGB, upright; the first frame of an animation; transparency on white.

    With `smallest`, a JPEG may be decoded at a half, a quarter or an eighth of its size, as long as
    both sides keep that many pixels: several times faster, and nearly the same picture.

    Raises UnreadableImageError.
    """
    if not path.is_file():
        raise UnreadableImageError("not a regular file")
    try:
        with Image.open(path, formats=FORMATS) as image:
            if smallest is not None:
                image.draft(None, (smallest, smallest))
            ImageOps.exif_transpose(image, in_place=True)
            return _to_rgb(image)
    except UnidentifiedImageError:
        kinds = ", ".join(FORMATS)
        raise UnreadableImageError(f"not an image of a known kind ({kinds})") from None
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(f"refused: {error}") from None
    except Exception as error:  # a damaged file can raise anything in a decoder
        raise UnreadableImageError(f"damaged: {error}") from None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits of grey: Pillow would clip, not scale
        grey = np.asarray(image).astype(np.float64) / 257
        return Image.fromarray(grey.clip(0, 255).round().astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    if image.mode == "RGB":
        image.load()  # convert() would copy it: 70 MB of a large photograph
        return image
    return image.convert("RGB")
