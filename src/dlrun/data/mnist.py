"""Read the MNIST digits (LeCun, Cortes and Burges, 1998) as arrays, or draw synthetic digits.

The files are identified by the MD5 of their unpacked content, because copies are often unpacked, or
packed again.
"""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps
from rich.text import Text

from dlrun.config.data_sections import DigitsDataConfig
from dlrun.data.download import GENERATED, MAX_UNPACKED_BYTES, Dataset, PublishedFile
from dlrun.data.small_images import LabelledImages, SmallImages
from dlrun.errors import DataError
from dlrun.system.console import Screen
from dlrun.system.files import read_unpacked

URL = (
    "https://ossci-datasets.s3.amazonaws.com/mnist"  # torchvision's; its other address is no https
)
FILES = [
    PublishedFile(f"{name}-ubyte.gz", f"{URL}/{name}-ubyte.gz", "md5", digest, gzipped=True)
    for name, digest in (
        ("train-images-idx3", "6bbc9ace898e44ae57da46a324031adb"),
        ("train-labels-idx1", "a25bea736e30d166cdddb491f175f624"),
        ("t10k-images-idx3", "2646ac647ad5339dbf082846283269ea"),
        ("t10k-labels-idx1", "27ae3e4e09519cfbb04c329615203637"),
    )
]
CLASSES, SIDE = 10, 28
SHADES = " ░▒▓█"  # characters for a pixel in the terminal


def load_digits(config: DigitsDataConfig, data_dir: Path, seed: int, screen: Screen) -> SmallImages:
    """Return the digits that a config names: MNIST's, or synthetic ones.

    They are unpacked anew for each run: prepared arrays would save 0.1 of 0.4 seconds, and would
    need 55 MB. Raises DataError if a file is missing, damaged or holds something else.
    """
    labels = [str(digit) for digit in range(CLASSES)]
    if config.source == "sample":
        counts = config.sample_images, config.sample_images // 5
        origin = f"generated sample digits ({counts[0]:,} + {counts[1]:,}, seed {seed})"
        train, test = map(generate_digits, counts, (seed, seed + 1))
        return SmallImages(train, test, labels, origin, GENERATED)
    paths, digests, differs = DATASET.obtain(config, data_dir, screen)
    train, test = read_part(*paths[:2]), read_part(*paths[2:])
    origin = f"MNIST ({DATASET.describe_files(config, digests)})"
    return SmallImages(train, test, labels, origin, differs)


def read_part(images: Path, labels: Path) -> LabelledImages:
    """Return the images of a file and their labels of another."""
    pixels, classes = _read_idx(images, 3), _read_idx(labels, 1)
    if pixels.shape[1:] != (SIDE, SIDE):
        shape = "x".join(map(str, pixels.shape[1:]))
        raise DataError(f"{images}: not MNIST: images of {shape} pixels, not {SIDE}x{SIDE}")
    if not 0 < len(pixels) == len(classes):
        raise DataError(f"{labels}: {len(classes):,} labels for {len(pixels):,} of {images.name}")
    if classes.max() >= CLASSES:
        raise DataError(f"{labels}: not MNIST: a label is {classes.max()}, and 9 is the largest")
    return LabelledImages(pixels, classes.astype(np.int64))


def _read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Return the array of bytes in an idx file, which may be a gzip file.

    The file begins with the bytes 0, 0, 8 (bytes follow) and the number of dimensions, and with
    each dimension's size as a big-endian 32-bit integer.
    """
    try:
        content = read_unpacked(path, MAX_UNPACKED_BYTES)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    start, magic = 4 + 4 * dimensions, bytes([0, 0, 8, dimensions])
    if not content.startswith(magic):
        raise DataError(f"{path}: not MNIST: it begins with {content[:4].hex()}, not {magic.hex()}")
    shape = np.frombuffer(content[4:start].ljust(start - 4, b"\0"), ">u4").tolist()
    if len(content) != start + math.prod(shape):
        size, needed = len(content), start + math.prod(shape)
        raise DataError(f"{path}: {size:,} bytes instead of {needed:,}: is it a part of the file?")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def to_digit(image: Image.Image) -> NDArray[np.uint8]:
    """Return an image of a digit as MNIST's are: grey, (28, 28), light on black.

    The whole image is shrunk or enlarged; one with a light background is inverted.
    """
    grey = image.convert("L")
    if np.median(np.asarray(grey)) > 127:
        grey = ImageOps.invert(grey)
    return np.asarray(ImageOps.pad(grey, (SIDE, SIDE), Image.Resampling.BICUBIC))


def generate_digits(count: int, seed: int) -> LabelledImages:
    """Return synthetic digits in MNIST's shape (count, 28, 28), and their labels.

    Pillow's own font is drawn in several sizes, near places and angles, and noise is added to
    its strokes; as in MNIST, most pixels are 0. Results on generated digits say nothing about
    MNIST, so they are labelled wherever they are shown.
    """
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(count) % CLASSES)
    pixels = np.empty((count, SIDE, SIDE))
    for index, label in enumerate(labels.tolist()):
        image = Image.new("L", (SIDE, SIDE))
        x, y, size = random.integers([5, -1, 18], [10, 3, 25]).tolist()
        font = ImageFont.load_default(size)
        ImageDraw.Draw(image).text((x, y), str(label), fill=255, font=font)
        turned = image.rotate(random.normal(0, 10), Image.Resampling.BILINEAR)
        pixels[index] = np.asarray(turned)
    noise = random.normal(0, 30, pixels.shape) * (pixels > 0)
    noisy = pixels * random.uniform(0.4, 1, (count, 1, 1)) + noise
    return LabelledImages(noisy.clip(0, 255).astype(np.uint8), labels.astype(np.int64))


def _show(digits: SmallImages, screen: Screen, part: str, first: int, count: int) -> None:
    """Print digits with their labels, two characters for each pixel."""
    images = digits.train if part == "train" else digits.test
    screen.note(digits.origin)
    for index in range(first, min(first + count, len(images.labels))):
        screen.show(Text(f"{part} {index}: a {digits.names[images.labels[index]]}", style="bold"))
        shades = images.pixels[index].astype(int) * len(SHADES) // 256
        for row in shades.tolist():
            screen.show(Text("".join(2 * SHADES[shade] for shade in row).rstrip()))


DATASET = Dataset("mnist", {"torchvision": FILES}, load_digits, _show)
