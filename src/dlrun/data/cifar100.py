"""Read small images as arrays: CIFAR100 (Krizhevsky, 2009), generated ones, or a user's own.

Of each of a user's own images the largest centred square is resized (bicubic, with antialiasing);
one that has the network's size is not changed.
"""

import io
import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from dlrun.config.sections import ImagesData
from dlrun.data import images, splits, user_data
from dlrun.data.archives import Array, load_pickle, read_tar
from dlrun.data.cache import Names, Read, Save, cached_arrays
from dlrun.data.download import (
    GENERATED,
    OWN,
    Dataset,
    PublishedFile,
    hash_file,
    obtain_published_file,
    why_not_published,
)
from dlrun.data.text_files import DataWarnings
from dlrun.errors import DataError
from dlrun.system.console import Screen
from dlrun.system.files import read_regular

ARCHIVE = PublishedFile(
    "cifar-100-python.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    "md5",
    "eb9058c3a382ffc7106e4002c42a8d85",
)
CLASSES = 100
FOLDER = "cifar-100-python"
PARTS = ("train", "test", "meta")
_WANTED = re.compile(f"{FOLDER}/({'|'.join(PARTS)})")
MAX_BYTES = 512 << 20  # of a file in the archive; the largest published one has 155 MB
SIDE = 32  # pixels
SMALLEST = 4 * SIDE  # the side at which a large JPEG may be decoded: the rest is averaged away
BATCH = 32  # images that are decoded ahead


@dataclass(frozen=True)
class LabelledImages:
    """Holds the pixels of images as bytes (n_images, 3, 32, 32), and their class numbers."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Cifar100Images:
    """Holds the training and the test images, the names of their classes, and their origin.

    `differs` says why they are not the published images, and is None if they are.
    """

    train: LabelledImages
    test: LabelledImages
    names: list[str]
    origin: str
    differs: str | None


def load_images(config: ImagesData, data_dir: Path, seed: int, screen: Screen) -> Cifar100Images:
    """Return the images that a config names: generated, the published ones, or a user's own.

    Raises DataError if they are missing, damaged, or would run code, ConfigError if there are no
    classes.
    """
    if config.source == "sample":
        counts = config.sample_images, config.sample_images // 5
        origin = f"generated sample images ({counts[0]:,} + {counts[1]:,}, seed {seed})"
        train, test = (
            LabelledImages(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)), labels)
            for pixels, labels in map(sample_images, counts, (seed, seed + 1))
        )
        labels = [f"generated {number}" for number in range(CLASSES)]
        return Cifar100Images(train, test, labels, origin, GENERATED)
    folder = data_dir / DATASET.name
    if config.is_own:
        return _load_own(config, folder, seed, screen)
    path = obtain_published_file(ARCHIVE, config.archive, folder, config.mirrors, screen)
    origin = f"CIFAR100 ({path.name})"
    if path.is_dir():
        arrays: dict[str, Array] = {}
        names = _read_published(path, arrays.__setitem__, screen)
        different = f"{path.name} is a folder, not the published file"
        return _cifar100(names, arrays.__getitem__, origin, different)
    key = [DATASET.name, hash_file(path, "sha256")]
    names, read = cached_arrays(
        folder, key, lambda save: _read_published(path, save, screen), screen
    )
    return _cifar100(names, read, origin, why_not_published([ARCHIVE], [path]))


def _cifar100(names: Names, read: Read, origin: str, differs: str | None) -> Cifar100Images:
    train, test = (
        LabelledImages(np.array(read(f"{part}_pixels")), np.array(read(f"{part}_labels")))
        for part in ("train", "test")
    )
    return Cifar100Images(train, test, names["labels"], origin, differs)


def _read_published(path: Path, save: Save, screen: Screen) -> Names:
    """Save the arrays of CIFAR100's archive or unpacked folder; return the class names."""
    contents: dict[str, bytes] = {}
    if path.is_dir():
        for part in PARTS:
            try:
                contents[part] = read_regular(path / FOLDER / part)
            except OSError as error:
                raise DataError(f"{path / FOLDER / part}: {error.strerror}") from None
    else:
        screen.note(f"reading {path} (once)")
        with screen.progress("reading the archive", 100, "%") as bar:
            for name, content in read_tar(path, _WANTED, MAX_BYTES, bar.to):
                contents[name.rpartition("/")[2]] = content
        if missing := [f"{FOLDER}/{part}" for part in PARTS if part not in contents]:
            raise DataError(f"{path}: no {', '.join(missing)}")
    for part in ("train", "test"):
        place = path / FOLDER / part
        pixels, labels = _unpickle(contents[part], place, "data", "fine_labels")
        if not isinstance(labels, list) or not labels:
            raise DataError(f"{place}: not CIFAR100: no list of labels")
        shape = (len(labels), 3 * SIDE**2)
        if not isinstance(pixels, np.ndarray) or pixels.shape != shape or pixels.dtype != np.uint8:
            raise DataError(f"{place}: not CIFAR100: pixels are not (images, 3072) bytes")
        if not all(isinstance(label, int) and 0 <= label < CLASSES for label in labels):
            raise DataError(f"{place}: not CIFAR100: labels are not 0 to {CLASSES - 1}")
        # A row has the red, the green and the blue pixels.
        save(f"{part}_pixels", np.array(pixels).reshape(-1, 3, SIDE, SIDE))
        save(f"{part}_labels", np.asarray(labels, dtype=np.int64))
    place = path / FOLDER / "meta"
    (names,) = _unpickle(contents["meta"], place, "fine_label_names")
    if not isinstance(names, list) or len(names) != CLASSES:
        raise DataError(f"{place}: not CIFAR100: no {CLASSES} names of classes")
    return {"labels": [str(name) for name in names]}


def _unpickle(content: bytes, place: Path, *keys: str) -> list[object]:
    entry = load_pickle(io.BytesIO(content), str(place))
    if not isinstance(entry, dict) or not entry.keys() >= set(keys):
        raise DataError(f"{place}: not CIFAR100: no {' or '.join(keys)}")
    return [entry[key] for key in keys]


def _load_own(config: ImagesData, folder: Path, seed: int, screen: Screen) -> Cifar100Images:
    places, warnings = user_data.user_data_paths(config), DataWarnings()
    name = (config.path or places[0]).name
    key = user_data.fingerprint_user_data(config, seed)

    def prepare(save: Save) -> Names:
        screen.note(f"preparing the images of {name} (once)")
        return _prepare(config, places, save, seed, screen, warnings)

    names, read = cached_arrays(folder, [key], prepare, screen)
    data = _cifar100(names, read, f"own images ({name}, {key[:8]})", OWN)
    count = len(data.train.labels) + len(data.test.labels)
    splits.describe_rows(count, "images", data.names, names["warnings"], screen)
    return data


def _prepare(
    config: ImagesData,
    places: Sequence[Path],
    save: Save,
    seed: int,
    screen: Screen,
    warnings: DataWarnings,
) -> Names:
    """Save a user's training and test images as arrays; divide them if they are in one place."""
    classes, numbers, files = splits.ClassNumbers(), list[int](), list[Path]()
    first_file = None  # of the test part
    for place in places:
        known = None
        if place is not places[0]:
            known, first_file = len(classes.names), len(files)
        for label, file in user_data.list_files_by_class(
            place, warnings, lambda file: file.suffix.lower() in images.SUFFIXES
        ):
            numbers.append(classes.number(label, file, known))
            files.append(file)
    pixels, read = _decode(files, screen, warnings)
    present, labels = np.unique(np.array(numbers, np.int64)[read], return_inverse=True)
    names = [classes.names[number] for number in present]
    first_test = None if first_file is None else int(np.searchsorted(read, first_file))
    is_test = splits.choose_test_rows(
        labels, names, first_test, config.test_share, seed, str(places[0])
    )
    hashes = np.array([hash(pixels[row].tobytes()) for row in read])
    splits.add_part_warnings(labels, names, hashes, is_test, places[-1], warnings)
    labels, names = splits.sort_classes(labels, names)
    for part, chosen in (("train", ~is_test), ("test", is_test)):
        save(f"{part}_pixels", pixels[read[chosen]])
        save(f"{part}_labels", labels[chosen])
    return {"labels": names, "warnings": warnings.lines()}


def _decode(
    files: Sequence[Path], screen: Screen, warnings: DataWarnings
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return pixels (n_files, 3, SIDE, SIDE) and indices of the image files that can be read."""
    pixels, read = np.empty((len(files), 3, SIDE, SIDE), np.uint8), list[int]()
    stream = images.load_photograph_batches(files, crop_to_square, size=BATCH, smallest=SMALLEST)
    with screen.progress("reading images", len(files), "images") as bar, closing(stream):
        for index, image in enumerate(image for batch in stream for image in batch):
            if image.error is None:
                pixels[index] = image.pixels
                read.append(index)
            else:
                warnings.add(f"{image.error}: left out", image.file)
            bar.to(index + 1)
    return pixels, np.array(read, np.int64)


def crop_to_square(image: Image.Image, side: int = SIDE) -> NDArray[np.uint8]:
    """Return an image's largest centred square, resized to the network's input (3, side, side)."""
    square = ImageOps.fit(image, (side, side), Image.Resampling.BICUBIC)
    return np.asarray(square).transpose(2, 0, 1)


def sample_images(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return generated images in CIFAR100's shape, (count, 32, 32, 3), and labels 0-99.

    Each class has a colour and a stripe pattern of its own; noise hides part of both. Results on
    them say nothing about the real data, so wherever one is shown it is labelled.
    """
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(count) % CLASSES)
    classes = np.random.default_rng(CLASSES)  # the same classes for training and test
    colour = classes.uniform(60, 200, (CLASSES, 3))
    frequency = classes.uniform(-0.9, 0.9, (CLASSES, 2))
    y, x = np.mgrid[:SIDE, :SIDE]
    phase = random.uniform(0, 2 * np.pi, count)[:, None, None]
    along, across = frequency[labels].T[:, :, None, None]
    stripes = 40 * np.sin(along * x + across * y + phase)
    noise = random.normal(0, 30, (count, SIDE, SIDE, 3))
    pixels = colour[labels][:, None, None, :] + stripes[..., None] + noise
    return pixels.clip(0, 255).astype(np.uint8), labels.astype(np.int64)


def _files(config: Any, data_dir: Path) -> list[tuple[PublishedFile, Path]]:
    if config.data.source != "torchvision":
        return []
    return [(ARCHIVE, config.data.archive or data_dir / DATASET.name / ARCHIVE.name)]


def _load_all(config: Any, data_dir: Path, screen: Screen) -> str:
    data = load_images(config.data, data_dir, config.split_seed, screen)
    counts = len(data.train.labels), len(data.test.labels)
    return f"{counts[0]:,} training and {counts[1]:,} test images, {data.origin}"


DATASET = Dataset("cifar100", _files, _load_all)
