"""Read small images as arrays: MNIST, CIFAR100, synthetic, or a user's own images.

MNIST (LeCun, Cortes and Burges, 1998) is known by the MD5 of its unpacked files, because copies are
often unpacked, or packed again. CIFAR100: Krizhevsky (2009).
"""

import io
import math
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps
from rich.text import Text

from dlrun.config.data_sections import DigitsDataConfig, ImagesDataConfig
from dlrun.data import photographs, user_data
from dlrun.data.archives import Array, load_pickle, read_tar, to_array
from dlrun.data.sources import (
    MAX_UNPACKED_BYTES,
    DataOrigin,
    Dataset,
    FoundData,
    Prepared,
    RemoteFile,
    Source,
    check_archive,
    load_or_prepare_arrays,
)
from dlrun.data.splits import LabelledRows, show_class_counts
from dlrun.errors import DataError
from dlrun.system.console import Screen
from dlrun.system.files import read_unpacked

ARCHIVE = RemoteFile(
    "cifar-100-python.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    "md5",
    "eb9058c3a382ffc7106e4002c42a8d85",
)
CLASSES = 100
GENERATED = [f"generated {index}" for index in range(CLASSES)]  # names of their classes
MEMBERS = [f"cifar-100-python/{name}" for name in ("train", "test", "meta")]
MAX_BYTES = 512 << 20  # size of a file in the archive; the largest published one has 155 MB
SIDE = 32  # pixels
GENERATED_AT_ONCE = 1000  # images

# torchvision's address of MNIST; its other one is no https.
MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist"
MNIST_FILES = tuple(
    RemoteFile(f"{name}-ubyte.gz", f"{MNIST_URL}/{name}-ubyte.gz", "md5", digest, gzipped=True)
    for name, digest in (
        ("train-images-idx3", "6bbc9ace898e44ae57da46a324031adb"),
        ("train-labels-idx1", "a25bea736e30d166cdddb491f175f624"),
        ("t10k-images-idx3", "2646ac647ad5339dbf082846283269ea"),
        ("t10k-labels-idx1", "27ae3e4e09519cfbb04c329615203637"),
    )
)
DIGITS = [str(digit) for digit in range(10)]
DIGIT_SIDE = 28  # pixels
SHADES = " ░▒▓█"  # characters for a pixel in the terminal


@dataclass(frozen=True)
class LabelledImages:
    """Holds the pixels of images as bytes (n_images, ...), and the class index of each."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class SmallImages:
    """Holds the training and test images, the class names, and where the images came from."""

    train: LabelledImages
    test: LabelledImages
    names: list[str]
    origin: DataOrigin


def load_images(
    config: ImagesDataConfig | DigitsDataConfig, data_dir: Path, seed: int, screen: Screen
) -> SmallImages:
    """Return the images that a config names: CIFAR100's, MNIST's, synthetic ones, or a user's own.

    MNIST is unpacked anew for each run: prepared arrays would save 0.1 of 0.4 seconds, and would
    need 55 MB. Raises DataError if a file is missing, damaged or holds something else.
    """
    dataset = MNIST if isinstance(config, DigitsDataConfig) else CIFAR100
    size = f"{config.sample_images:,} + {config.sample_images // 5:,}"
    found = dataset.find(config, data_dir, seed, screen, size)
    if dataset is MNIST:
        arrays, names = found.source.read(found)
    else:
        arrays, names = load_or_prepare_arrays(found, found.digests, found.source.read)
    train, test = (
        LabelledImages(arrays[f"{part}_pixels"], arrays[f"{part}_labels"])
        for part in ("train", "test")
    )
    if "warnings" in names:  # of a user's own images
        show_class_counts(arrays, names, "images", screen)
    return SmallImages(train, test, names["labels"], found.origin)


def _check_own_images(found: FoundData) -> list[str]:
    return user_data.check_class_folders(found.paths, photographs.SUFFIXES)


def _prepared(train: LabelledImages, test: LabelledImages, **names: list[str]) -> Prepared:
    arrays: dict[str, Array] = {}
    for part, images in (("train", train), ("test", test)):
        arrays |= {f"{part}_pixels": images.pixels, f"{part}_labels": images.labels}
    return arrays, names


def _read_cifar100(found: FoundData) -> Prepared:
    (path,) = found.paths
    entries = {
        name: load_pickle(io.BytesIO(content), f"{path / name}")
        for name, content in read_tar(path, re.compile("|".join(MEMBERS)), MAX_BYTES, found.screen)
    }
    if missing := [name for name in MEMBERS if name not in entries]:
        raise DataError(f"{path}: no {', '.join(missing)}")
    train, test = (_cifar100_images(entries[name], f"{path / name}") for name in MEMBERS[:2])
    meta = entries[MEMBERS[-1]]
    names = meta.get("fine_label_names") if isinstance(meta, dict) else None
    if not isinstance(names, list) or len(names) != CLASSES:
        raise DataError(f"{path / MEMBERS[-1]}: not CIFAR100: no {CLASSES} names of classes")
    return _prepared(train, test, labels=[str(name) for name in names])


def _cifar100_images(entry: Any, place: str) -> LabelledImages:
    """Return the images of a file of CIFAR100; each row has its red, green, then blue pixels."""
    try:
        pixels, labels = to_array(entry["data"], place), np.array(entry["fine_labels"])
    except (TypeError, KeyError, ValueError):
        raise DataError(f"{place}: not CIFAR100: no data or fine_labels") from None
    if (
        pixels.dtype != np.uint8
        or pixels.shape != (len(labels), 3 * SIDE**2)
        or labels.dtype.kind != "i"
        or not np.isin(labels, range(CLASSES)).all()
    ):
        needed = f"(images, {3 * SIDE**2}) bytes, and as many labels from 0 to {CLASSES - 1}"
        raise DataError(f"{place}: not CIFAR100: it needs {needed}")
    return LabelledImages(pixels.reshape(-1, 3, SIDE, SIDE), labels.astype(np.int64))


def _generate(
    found: FoundData, make: Callable[[int, int], LabelledImages], names: list[str]
) -> Prepared:
    count = found.config.sample_images
    return _prepared(make(count, found.seed), make(count // 5, found.seed + 1), labels=names)


def _read_own_images(found: FoundData) -> Prepared:
    config, warnings = found.config, found.warnings
    contents = bytearray()
    rows = LabelledRows(warnings)
    for path in found.paths:
        rows.begin_part(str(path))
        files = user_data.list_files_by_class(path, warnings, photographs.SUFFIXES)
        # A large JPEG is decoded at a fraction of its size: more pixels would be averaged away.
        stream = photographs.load_photographs(
            [file for _, file in files], crop_to_square, smallest=4 * SIDE
        )
        progress = found.screen.progress(f"reading {path.name}", len(files), "images")
        with progress as bar, closing(stream):
            for done, (image, (label, file)) in enumerate(zip(stream, files, strict=True), start=1):
                bar.to(done)
                if image.error is not None:
                    warnings.add(f"{image.error}: left out", file)
                    continue
                content = image.pixels.tobytes()
                if rows.add(label, hash(content), str(file)):
                    contents += content
    labels, names, is_test = rows.split(config.test_share, found.seed, config.chosen_fold)
    pixels = np.frombuffer(contents, np.uint8).reshape(-1, 3, SIDE, SIDE)
    train, test = (LabelledImages(pixels[part], labels[part]) for part in (~is_test, is_test))
    return _prepared(train, test, labels=names, warnings=warnings.lines())


def crop_to_square(image: Image.Image) -> NDArray[np.uint8]:
    """Return an image's largest centred square, resized to the network's input (3, 32, 32)."""
    square = ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(square).transpose(2, 0, 1)


def generate_images(count: int, seed: int) -> LabelledImages:
    """Return synthetic images in CIFAR100's shape, (count, 3, 32, 32), and labels 0-99.

    Each class has a colour and a stripe pattern of its own; noise hides part of both.
    """
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(count) % CLASSES)
    classes = np.random.default_rng(CLASSES)  # the same classes for training and test
    colour = classes.uniform(60, 200, (CLASSES, 3))
    frequency = classes.uniform(-0.9, 0.9, (CLASSES, 2))
    y, x = np.mgrid[:SIDE, :SIDE]
    phases = random.uniform(0, 2 * np.pi, count)[:, None, None]
    pixels = np.empty((count, 3, SIDE, SIDE), np.uint8)
    # A part at a time stays in the processor's cache, and needs no gigabytes of float64.
    for start in range(0, count, GENERATED_AT_ONCE):
        part = slice(start, start + GENERATED_AT_ONCE)
        along, across = frequency[labels[part]].T[:, :, None, None]
        stripes = 40 * np.sin(along * x + across * y + phases[part])
        noise = random.normal(0, 30, (len(stripes), SIDE, SIDE, 3))
        values = colour[labels[part]][:, None, None, :] + stripes[..., None] + noise
        pixels[part] = values.clip(0, 255).astype(np.uint8).transpose(0, 3, 1, 2)
    return LabelledImages(pixels, labels.astype(np.int64))


def read_digits(images: Path, labels: Path) -> LabelledImages:
    """Return the images of a file and their labels of another."""
    pixels, classes = _read_idx(images, 3), _read_idx(labels, 1)
    is_mnist = pixels.shape == (len(classes), DIGIT_SIDE, DIGIT_SIDE) and len(classes)
    if not is_mnist or classes.max() >= len(DIGITS):
        needed = "images of 28x28 pixels, and as many labels from 0 to 9"
        raise DataError(f"{images} and {labels.name}: not MNIST: it needs {needed}")
    return LabelledImages(pixels, classes.astype(np.int64))


def _check_mnist(found: FoundData) -> None:
    for path in found.paths:
        _read_start(path, 4, 3 if "images" in path.name else 1)


def _read_start(path: Path, most: int, dimensions: int) -> bytes:
    """Return the first bytes of an idx file; raise DataError if it begins otherwise."""
    try:
        content = read_unpacked(path, most)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if not content.startswith(bytes([0, 0, 8, dimensions])):
        raise DataError(f"{path}: not MNIST: it begins with {content[:4].hex()}")
    return content


def _read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Return the array of bytes in an idx file, which may be a gzip file.

    It begins with 0, 0, 8 (bytes follow), the number of dimensions, and each as a big-endian int32.
    """
    content, start = _read_start(path, MAX_UNPACKED_BYTES, dimensions), 4 + 4 * dimensions
    shape = np.frombuffer(content[4:start].ljust(start - 4, b"\0"), ">u4").tolist()
    if len(content) != start + math.prod(shape):
        raise DataError(f"{path}: not MNIST, or a part of it: it has {len(content):,} bytes")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def to_digit(image: Image.Image) -> NDArray[np.uint8]:
    """Return an image of a digit as MNIST's are: grey, (28, 28), light on black.

    The whole image is shrunk or enlarged; one with a light background is inverted.
    """
    grey = image.convert("L")
    if np.median(np.asarray(grey)) > 127:
        grey = ImageOps.invert(grey)
    return np.asarray(ImageOps.pad(grey, (DIGIT_SIDE, DIGIT_SIDE), Image.Resampling.BICUBIC))


def generate_digits(count: int, seed: int) -> LabelledImages:
    """Return synthetic digits in MNIST's shape (count, 28, 28), and their labels.

    Pillow's own font is drawn in several sizes, near places and angles, and noise is added to
    its strokes; as in MNIST, most pixels are 0.
    """
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(count) % len(DIGITS))
    pixels = np.empty((count, DIGIT_SIDE, DIGIT_SIDE))
    for index, label in enumerate(labels.tolist()):
        image = Image.new("L", (DIGIT_SIDE, DIGIT_SIDE))
        x, y, size = random.integers([5, -1, 18], [10, 3, 25]).tolist()
        font = ImageFont.load_default(size)
        ImageDraw.Draw(image).text((x, y), str(label), fill=255, font=font)
        turned = image.rotate(random.normal(0, 10), Image.Resampling.BILINEAR)
        pixels[index] = np.asarray(turned)
    noise = random.normal(0, 30, pixels.shape) * (pixels > 0)
    noisy = pixels * random.uniform(0.4, 1, (count, 1, 1)) + noise
    return LabelledImages(noisy.clip(0, 255).astype(np.uint8), labels.astype(np.int64))


def _show_digits(digits: SmallImages, screen: Screen, part: str, first: int, count: int) -> None:
    images = digits.train if part == "train" else digits.test
    screen.note(digits.origin.text)
    for index in range(first, min(first + count, len(images.labels))):
        screen.show(Text(f"{part} {index}: a {digits.names[images.labels[index]]}", style="bold"))
        shades = images.pixels[index].astype(int) * len(SHADES) // 256
        for row in shades.tolist():
            screen.show(Text("".join(2 * SHADES[shade] for shade in row).rstrip()))


def _read_mnist(found: FoundData) -> Prepared:
    train, test = read_digits(*found.paths[:2]), read_digits(*found.paths[2:])
    return _prepared(train, test, labels=DIGITS)


CIFAR100 = Dataset(
    "cifar100",
    (
        Source("torchvision", "CIFAR100", _read_cifar100, (ARCHIVE,), True, check_archive),
        Source("sample", "images", partial(_generate, make=generate_images, names=GENERATED)),
        Source("folder", "own images", _read_own_images, check=_check_own_images),
    ),
    load_images,
    sample_rows="sample_images",
)
MNIST = Dataset(
    "mnist",
    (
        Source("torchvision", "MNIST", _read_mnist, MNIST_FILES, True, _check_mnist),
        Source("sample", "digits", partial(_generate, make=generate_digits, names=DIGITS)),
    ),
    load_images,
    _show_digits,
    "sample_images",
)
