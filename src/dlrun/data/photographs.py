"""Read photographs of any colour mode and orientation as RGB, and store their predicted labels."""

import io
import json
import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from dlrun.data.download import paths_in_installed_packages
from dlrun.data.user_data import list_files
from dlrun.errors import ConfigError, DataError, first_line
from dlrun.system.files import open_regular_file

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"}
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
MAX_PIXELS = 50_000_000  # decoded; each takes 4 bytes, and 4 more while it is converted to RGB
LARGE = 4000  # so many pixels of a side are left when a JPEG is decoded at a fraction
THUMBNAIL = 360  # how many pixels a side has
IMAGE_COLUMNS = ["image", "rank", "label", "probability", "error"]  # predictions.csv has them
DECODERS = 2  # so many threads: Pillow decodes and resizes without Python's lock

# Blocks of this size return to the system with their picture; glibc would keep many of 16 MB.
Image.core.set_block_size(64 << 20)  # type: ignore[attr-defined]  # see Pillow's "Block allocator"

Labelled = list[tuple[str, float]]
ToInput = Callable[[Image.Image], Any]  # makes the network's input of a photograph


@dataclass(frozen=True)
class Photograph:
    """Holds a photograph with its network input or its labels, or the reason why it has neither."""

    file: Path
    pixels: Any = None  # the network input, (3, height, width)
    labels: Labelled = field(default_factory=list)  # the most probable class first
    thumbnail: bytes | None = None  # a small JPEG
    error: str | None = None


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Find the given files and all images in the given folders and their sub-folders, once each.

    Raises ConfigError if a path does not exist or a folder has no images, DataError if a folder
    cannot be listed.
    """
    files: list[Path] = []
    for path in paths:
        if not os.path.exists(path):  # noqa: PTH110  # Path.exists raises if the name is too long
            raise ConfigError(f"{path}: no such image or folder", "name image files or folders")
        if not path.is_dir():
            files.append(path)
            continue
        images = sorted(file for file in list_files(path) if file.suffix.lower() in SUFFIXES)
        if not images:
            kinds = ", ".join(sorted(SUFFIXES))
            raise ConfigError(f"{path}: no images in this folder", f"it looks for {kinds}")
        files += images
    return list(dict.fromkeys(files))


def sample_photographs() -> list[Path]:
    """Find the two photographs that scikit-learn ships (china.jpg, flower.jpg)."""
    names = "china.jpg", "flower.jpg"
    return [
        path
        for name in names
        for path in paths_in_installed_packages(f"sklearn/datasets/images/{name}")
    ]


def find_book_photographs(folder: Path, packaged: Mapping[str, str]) -> list[Path]:
    """Find ISLP's photographs in a folder or an installed package.

    `packaged` has the path in the package by the book's name. Raises DataError if any is missing.
    """
    photographs: dict[str, Path] = {}
    for name, path in packaged.items():
        places = [folder / name, *paths_in_installed_packages(path)]
        if place := next((place for place in places if place.is_file()), None):
            photographs[name] = place.absolute()
    if missing := [name for name in packaged if name not in photographs]:
        remedy = f"`pip install --no-deps islp` brings them; or put them into {folder.absolute()}"
        problem = f"missing photographs: {', '.join(missing)}"
        raise DataError(problem, f"{remedy} (elsewhere: --data-dir, DLRUN_DATA_DIR)")
    return list(photographs.values())


def read_photograph(path: Path, smallest: int = LARGE) -> Image.Image:
    """Read an image file as RGB: upright, transparency on white, one frame of an animation.

    smallest: a JPEG is decoded at 1/2, 1/4 or 1/8 of its size if both sides keep so many pixels,
    which is several times faster and nearly the same picture. A JPEG of more than MAX_PIXELS is so
    in any case.

    Raises DataError, which does not name the file, with the reason why it cannot be read.
    """
    try:
        with open_regular_file(path) as file, Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            needed = next((n for n in (1, 2, 4) if width * height <= MAX_PIXELS * n**2), 8)
            # The sides that it must keep; only JPEG has such fractions.
            image.draft(None, (min(smallest, width // needed), min(smallest, height // needed)))
            if image.width * image.height > MAX_PIXELS:
                size = f"{image.width:,} x {image.height:,} pixels"
                raise DataError(f"refused: {size}, more than {MAX_PIXELS:,}")
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return _to_rgb(image)
    except DataError:
        raise
    except MemoryError:
        raise DataError("not enough memory to decode it") from None
    except UnidentifiedImageError:
        raise DataError(f"not an image of a known kind ({', '.join(FORMATS)})") from None
    except Exception as error:  # a damaged file can raise anything in a decoder
        reason = error.strerror if isinstance(error, OSError) else None
        raise DataError(reason or f"damaged: {first_line(error)}") from None


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any colour mode to RGB, transparency on white."""
    if image.mode.startswith("I"):  # 16 bits of grey: Pillow would clip instead of scaling
        grey = np.asarray(image) / np.float32(257)
        return Image.fromarray(grey.clip(0, 255).round().astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def encode_png(pixels: NDArray[np.uint8]) -> str:
    """Encode the pixels of a network's input, (height, width) or (3, height, width), as a PNG.

    The PNG is text in base64.
    """
    stream = io.BytesIO()
    image = pixels.transpose(1, 2, 0) if pixels.ndim == 3 else pixels
    Image.fromarray(image).save(stream, format="PNG")
    return b64encode(stream.getvalue()).decode()


def iterate_photographs(
    files: Sequence[Path],
    to_input: ToInput,
    *,
    thumbnails: bool = False,
    smallest: int = LARGE,
) -> Generator[Photograph, None, None]:
    """Yield the photographs of image files in order, with the network's input; threads decode them.

    smallest: see `read_photograph`.
    """
    load = partial(_load, to_input=to_input, smallest=smallest, with_thumbnail=thumbnails)
    with ThreadPoolExecutor(DECODERS) as pool:
        yield from pool.map(load, files)


def _load(file: Path, to_input: ToInput, smallest: int, with_thumbnail: bool) -> Photograph:
    """Load the photograph in a file with its input, or with the reason why it has none."""
    try:
        photograph = read_photograph(file, smallest)
        pixels = to_input(photograph)
        thumbnail = None
        if with_thumbnail:
            photograph.thumbnail((THUMBNAIL, THUMBNAIL))  # in place: this is its last use
            stream = io.BytesIO()
            photograph.save(stream, format="JPEG", quality=90)
            thumbnail = stream.getvalue()
        return Photograph(file, pixels, thumbnail=thumbnail)
    except DataError as error:
        return Photograph(file, error=error.message)
    except Exception as error:  # an extreme photograph must not end the batch
        return Photograph(file, error=f"cannot be made an input: {first_line(error)}")


def pack_photograph_predictions(batch: Iterable[Photograph]) -> bytes:
    """Write the label predictions of a batch of photographs as JSON with exact floats."""
    rows = [
        (photograph.labels, photograph.error, b64encode(photograph.thumbnail or b"").decode())
        for photograph in batch
    ]
    return json.dumps(rows).encode()


def unpack_photograph_predictions(content: bytes, files: Sequence[Path]) -> list[Photograph]:
    """Read the label predictions of a batch of photographs from packed JSON."""
    return [
        Photograph(
            file,
            labels=[(label, probability) for label, probability in labels],
            thumbnail=b64decode(thumbnail) or None,
            error=error,
        )
        for file, (labels, error, thumbnail) in zip(files, json.loads(content), strict=True)
    ]


def prediction_table(photographs: Iterable[Photograph]) -> list[list[str | int | float]]:
    """Make a table: IMAGE_COLUMNS, and a row for each label of a photograph or for its error."""
    rows: list[list[str | int | float]] = [[*IMAGE_COLUMNS]]
    for photograph in photographs:
        if photograph.error is not None:
            rows.append([str(photograph.file), "", "", "", photograph.error])
        for rank, (label, probability) in enumerate(photograph.labels, start=1):
            rows.append([str(photograph.file), rank, label, probability, ""])
    return rows
