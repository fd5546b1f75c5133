"""Read small images as arrays: MNIST, CIFAR100, synthetic, or a user's own images."""

import math
import pickle
import re
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from dlrun.config.data_sections import (
    Cifar100DataConfig,
    DataConfig,
    DigitsDataConfig,
    UserImagesDataConfig,
)
from dlrun.data import photographs, user_data
from dlrun.data.array_cache import Array, Prepared, load_or_prepare_arrays
from dlrun.data.datasets_and_sources import DataOrigin, ReadContext, ShownRow
from dlrun.data.splits import (
    LabelledRowDivider,
    RowContents,
    RowHashes,
    hash_content,
    show_class_counts,
    stored_test_names,
)
from dlrun.data.tar_archives import read_tar_members
from dlrun.data.text_files import RowNames, RowPlace
from dlrun.errors import DataError
from dlrun.system.files import MOST_UNPACKED, read_unpacked

CLASSES = 100  # CIFAR100 has so many
GENERATED_AT_ONCE = 1000  # so many images fit in the processor's cache
CIFAR100_FILES = re.compile("cifar-100-python/(train|test|meta)")
SIDE = 32  # an image of CIFAR100, or of the user, has so many pixels in height and width

DIGITS = 10
DIGIT_SIDE = 28  # a digit of MNIST has so many pixels in height and width


@dataclass(frozen=True)
class LabelledImages:
    """Holds the pixels of images as bytes (n_images, ...), and the class index of each image."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    hashes: RowHashes  # they tell the pixels of each image

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def contents(self) -> RowContents:
        return RowContents(self.hashes, self.labels)


@dataclass(frozen=True)
class SmallImages:
    """Holds the training and test images, the class names, and where the images came from."""

    train: LabelledImages
    test: LabelledImages
    names: list[str]
    origin: DataOrigin
    test_names: RowNames

    def show_row(self, index: int, *, is_test: bool) -> ShownRow:
        part = self.test if is_test else self.train
        pixels = part.pixels[index]
        height, width = pixels.shape[-2:]
        facts = [
            ("label", self.names[part.labels[index]]),
            ("size", f"{height} x {width} pixels, {'colour' if pixels.ndim == 3 else 'grey'}"),
        ]
        return ShownRow(facts, pixels)


def make_images(context: ReadContext[DataConfig]) -> SmallImages:
    """Load training and test images of a source, such as MNIST, CIFAR100 or a user's own.

    Raises DataError if a file is damaged or holds something else.
    """
    arrays, lists = load_or_prepare_arrays(context, [], context.source.read)
    train, test = (
        LabelledImages(*(arrays[f"{part}_{name}"] for name in ("pixels", "labels", "hashes")))
        for part in ("train", "test")
    )
    show_class_counts(context, (arrays, lists), "images")
    return SmallImages(train, test, lists["labels"], context.origin, stored_test_names(lists))


def hash_images(pixels: NDArray[np.uint8]) -> RowHashes:
    """Hash each image's pixels (n_images,)."""
    return np.array([hash_content(image.tobytes()) for image in pixels], np.int64)


def _to_arrays(train: LabelledImages, test: LabelledImages, **lists: list[str]) -> Prepared:
    """Name the arrays of images as `array_cache` saves them, beside lists of texts."""
    arrays: dict[str, Array] = {}
    for part, images in (("train", train), ("test", test)):
        arrays[f"{part}_pixels"] = images.pixels
        arrays[f"{part}_labels"] = images.labels
        arrays[f"{part}_hashes"] = images.hashes
    return arrays, lists


def read_cifar100(context: ReadContext[DataConfig]) -> Prepared:
    """Read the images of CIFAR100's published archive.

    Raises DataError for any other archive: the files in it are pickles, which can run code.
    """
    (archive,) = context.paths
    if not context.origin.is_book:
        problem = "not the published archive, and its pickles could run code"
        remedy = "without it and without data.archive, the next run downloads the published one"
        raise DataError(f"{archive}: {problem}", remedy)
    pickles = dict(read_tar_members(archive, CIFAR100_FILES, context.screen))
    train, test, meta = (
        pickle.loads(pickles[f"cifar-100-python/{name}"], encoding="latin1")  # noqa: S301
        for name in ("train", "test", "meta")
    )
    return _to_arrays(
        _cifar100_images(train), _cifar100_images(test), labels=meta["fine_label_names"]
    )


def _cifar100_images(content: dict[str, Any]) -> LabelledImages:
    """Make images of a file of CIFAR100; each row has its red, green, then blue pixels."""
    pixels = content["data"].reshape(-1, 3, SIDE, SIDE)
    labels = np.array(content["fine_labels"], np.int64)
    return LabelledImages(pixels, labels, hash_images(pixels))


def read_generated_images(context: ReadContext[Cifar100DataConfig]) -> Prepared:
    """Generate images in CIFAR100's shape, or digits in MNIST's."""
    generate = generate_images
    if isinstance(context.config, DigitsDataConfig):
        generate = generate_digits
    count = context.config.sample_images
    train = generate(count, context.seed)
    test = generate(count // 5, context.seed + 1)
    return _to_arrays(train, test, labels=list(context.source.labels))


def read_own_images(context: ReadContext[UserImagesDataConfig]) -> Prepared:
    """Read a user's own images, each as its centred square of 32x32 pixels."""
    config = context.config
    warnings = context.warnings
    contents = bytearray()
    rows = LabelledRowDivider(warnings)
    for path in context.paths:
        rows.begin_part(str(path))
        files = user_data.list_files_by_class(path, warnings, photographs.SUFFIXES)
        # A large JPEG is decoded at a fraction of its size: more pixels would be averaged away.
        stream = photographs.iterate_photographs(
            [file for _, file in files], resize_middle_square, smallest=4 * SIDE
        )
        progress = context.screen.progress(f"reading {path.name}", len(files), "images")
        with progress as bar, closing(stream):
            for done, (image, (label, file)) in enumerate(zip(stream, files, strict=True), start=1):
                bar.to(done)
                if image.error is not None:
                    warnings.add(f"{image.error}: left out", file)
                    continue
                content = image.pixels.tobytes()
                if rows.add(label, hash_content(content), RowPlace(file)):
                    contents += content
    labels, classes, is_test = rows.split(config, context.seed)
    pixels = np.frombuffer(contents, np.uint8).reshape(-1, 3, SIDE, SIDE)
    hashes = rows.content_hashes
    train, test = (
        LabelledImages(pixels[part], labels[part], hashes[part]) for part in (~is_test, is_test)
    )
    lists = {"labels": classes, "warnings": warnings.lines()}
    return _to_arrays(train, test, **lists, **rows.names_of_test_rows(is_test, config))


def resize_middle_square(image: Image.Image) -> NDArray[np.uint8]:
    """Resize an image's largest centred square to the network's input (3, 32, 32)."""
    square = ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(square).transpose(2, 0, 1)


def generate_images(count: int, seed: int) -> LabelledImages:
    """Generate images in CIFAR100's shape, (count, 3, 32, 32), and labels 0-99.

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
    return LabelledImages(pixels, labels.astype(np.int64), hash_images(pixels))


def read_mnist_files(context: ReadContext[DataConfig]) -> Prepared:
    """Read images and labels from MNIST's four files, or from others of its format (IDX)."""
    train_images, train_labels, test_images, test_labels = context.paths
    train = _read_images_and_labels(context, train_images, train_labels)
    test = _read_images_and_labels(context, test_images, test_labels)
    return _to_arrays(train, test, labels=list(context.source.labels))


def _read_images_and_labels(
    context: ReadContext[DataConfig], images: Path, labels: Path
) -> LabelledImages:
    """Read the images and labels in two files; raise DataError if they are not MNIST's form."""
    pixels = _read_idx_array(images, 3)
    class_indices = _read_idx_array(labels, 1)
    count = len(class_indices)
    largest = len(context.source.labels) - 1
    is_fit = pixels.shape == (count, DIGIT_SIDE, DIGIT_SIDE) and count
    if not is_fit or class_indices.max() > largest:
        needed = f"images of 28x28 pixels, and as many labels from 0 to {largest}"
        files = f"{images} and {labels.name}"
        raise DataError(f"{files}: not {context.source.title}: it needs {needed}")
    return LabelledImages(pixels, class_indices.astype(np.int64), hash_images(pixels))


def _read_idx_array(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read the array of bytes in an idx file, which may be a gzip file.

    The file begins with 0, 0, 8 (bytes follow) and the number of dimensions. The length of each
    dimension follows, as a big-endian int32.
    """
    try:
        content = read_unpacked(path, MOST_UNPACKED)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    start = 4 + 4 * dimensions
    shape = np.frombuffer(content[4:start].ljust(start - 4, b"\0"), ">u4").tolist()
    is_idx = content.startswith(bytes([0, 0, 8, dimensions]))
    if not is_idx or len(content) != start + math.prod(shape):
        raise DataError(f"{path}: not in MNIST's format, or a part of it")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def to_digit(image: Image.Image) -> NDArray[np.uint8]:
    """Convert an image of a digit to MNIST's form: grey, (28, 28), light on black.

    The whole image is shrunk or enlarged. An image with a light background is inverted.
    """
    grey = image.convert("L")
    if np.median(np.asarray(grey)) > 127:
        grey = ImageOps.invert(grey)
    return np.asarray(ImageOps.pad(grey, (DIGIT_SIDE, DIGIT_SIDE), Image.Resampling.BICUBIC))


def generate_digits(count: int, seed: int) -> LabelledImages:
    """Generate digits in MNIST's shape (count, 28, 28), and their labels.

    Pillow's own font is drawn in several sizes, near places and angles, and noise is added to
    its strokes; as in MNIST, most pixels are 0.
    """
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(count) % DIGITS)
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
    bytes_of_pixels = noisy.clip(0, 255).astype(np.uint8)
    return LabelledImages(bytes_of_pixels, labels.astype(np.int64), hash_images(bytes_of_pixels))
