"""Read small images as arrays: CIFAR100 (Krizhevsky, 2009), synthetic, or a user's own images.

Each of a user's own images is cropped to its largest centred square and resized (bicubic, with
antialiasing) to the network's input size.
"""

import io
import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from dlrun.config.data_sections import ImagesDataConfig
from dlrun.data import photographs, user_data
from dlrun.data.archives import Array, load_pickle, read_tar
from dlrun.data.cache import Prepared, load_or_prepare_arrays
from dlrun.data.download import GENERATED, OWN_DATA, Dataset, PublishedFile
from dlrun.data.splits import LabelledRows, show_class_counts
from dlrun.data.text_files import DataWarnings
from dlrun.errors import DataError
from dlrun.system.console import Screen
from dlrun.system.files import read_regular_file

ARCHIVE = PublishedFile(
    "cifar-100-python.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    "md5",
    "eb9058c3a382ffc7106e4002c42a8d85",
    kind="tar",
    unpacked=True,
)
CLASSES = 100
# Files of the archive, and what dlrun reads of each.
MEMBERS = {
    "cifar-100-python/train": ("data", "fine_labels"),
    "cifar-100-python/test": ("data", "fine_labels"),
    "cifar-100-python/meta": ("fine_label_names",),
}
MAX_BYTES = 512 << 20  # size of a file in the archive; the largest published one has 155 MB
SIDE = 32  # pixels
GENERATED_AT_ONCE = 1000  # images


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
    origin: str
    differs: str | None


def load_configured_images(
    config: ImagesDataConfig, data_dir: Path, seed: int, screen: Screen
) -> SmallImages:
    """Return the images that a config names: CIFAR100's, synthetic ones, or a user's own images."""
    if config.source == "sample":
        counts = config.sample_images, config.sample_images // 5
        origin = f"generated sample images ({counts[0]:,} + {counts[1]:,}, seed {seed})"
        train, test = map(generate_images, counts, (seed, seed + 1))
        classes = [f"generated {index}" for index in range(CLASSES)]
        return SmallImages(train, test, classes, origin, GENERATED)
    differs: str | None
    if config.is_own:
        paths, differs = user_data.user_data_paths(config), OWN_DATA
        key = [user_data.fingerprint_user_data(config, seed)]
        name = (config.path or paths[0]).name
        origin = f"own images ({name}, {key[0][:8]}){config.fold_text}"
        key += [config.fold_text] if config.folds else []
        prepare = partial(_prepare_own, config, paths, seed, screen)
    else:
        paths, key, differs = DATASET.obtain(config, data_dir, screen)
        origin = f"CIFAR100 ({DATASET.describe_files(config, key)})"
        prepare = partial(_prepare_published, paths[0], screen)
    prepared = load_or_prepare_arrays(data_dir / DATASET.name, key, origin, prepare, screen)
    arrays, names = prepared
    train, test = (
        LabelledImages(np.array(arrays[f"{part}_pixels"]), np.array(arrays[f"{part}_labels"]))
        for part in ("train", "test")
    )
    if config.is_own:
        show_class_counts(prepared, "images", screen)
    return SmallImages(train, test, names["labels"], origin, differs)


def _read_published(path: Path, screen: Screen) -> dict[str, dict[str, Any]]:
    """Return the contents of the files of CIFAR100's archive or unpacked folder."""
    members = read_tar(path, re.compile("|".join(MEMBERS)), MAX_BYTES, screen)
    if path.is_dir():
        try:
            members = iter([(name, read_regular_file(path / name)) for name in MEMBERS])
        except OSError as error:
            raise DataError(f"{error.filename}: {error.strerror}") from None
    found: dict[str, dict[str, Any]] = {}
    for name, content in members:
        entry = load_pickle(io.BytesIO(content), f"{path / name}")
        if not isinstance(entry, dict) or not entry.keys() >= set(MEMBERS[name]):
            raise DataError(f"{path / name}: not CIFAR100: no {' or '.join(MEMBERS[name])}")
        found[name] = entry
    if missing := [name for name in MEMBERS if name not in found]:
        raise DataError(f"{path}: no {', '.join(missing)}")
    return found


def _prepare_published(path: Path, screen: Screen) -> Prepared:
    """Return the arrays and the class names of CIFAR100's archive or unpacked folder."""
    train, test, meta = MEMBERS
    found = _read_published(path, screen)
    arrays: dict[str, Array] = {}
    for part, name in (("train", train), ("test", test)):
        pixels, labels = found[name]["data"], found[name]["fine_labels"]
        if not (
            isinstance(labels, list)
            and all(isinstance(label, int) and 0 <= label < CLASSES for label in labels)
            and isinstance(pixels, np.ndarray)
            and pixels.dtype == np.uint8
            and pixels.shape == (len(labels), 3 * SIDE**2)
        ):
            needed = f"(images, {3 * SIDE**2}) bytes, and as many labels from 0 to {CLASSES - 1}"
            raise DataError(f"{path / name}: not CIFAR100: it needs {needed}")
        # A row has the red, the green and the blue pixels.
        arrays[f"{part}_pixels"] = np.asarray(pixels).reshape(-1, 3, SIDE, SIDE)
        arrays[f"{part}_labels"] = np.asarray(labels, dtype=np.int64)
    names = found[meta]["fine_label_names"]
    if not isinstance(names, list) or len(names) != CLASSES:
        raise DataError(f"{path / meta}: not CIFAR100: no {CLASSES} names of classes")
    return arrays, {"labels": [str(name) for name in names]}


def _prepare_own(
    config: ImagesDataConfig, paths: Sequence[Path], seed: int, screen: Screen
) -> Prepared:
    """Decode a user's training and test images; divide the images if they are in one place."""
    warnings, contents = DataWarnings(), bytearray()
    rows = LabelledRows(warnings)
    for path in paths:
        rows.begin_part(str(path))
        files = user_data.list_files_by_class(path, warnings, photographs.SUFFIXES)
        # A large JPEG is decoded at a fraction of its size: more pixels would be averaged away.
        stream = photographs.load_photographs(
            [file for _, file in files], crop_to_square, smallest=4 * SIDE
        )
        with screen.progress(f"reading {path.name}", len(files), "images") as bar, closing(stream):
            for done, (image, (label, file)) in enumerate(zip(stream, files, strict=True), start=1):
                bar.to(done)
                if image.error is not None:
                    warnings.add(f"{image.error}: left out", file)
                    continue
                content = image.pixels.tobytes()
                if rows.add(label, hash(content), str(file)):
                    contents += content
    labels, names, is_test = rows.split(config.test_share, seed, config.chosen_fold)
    pixels = np.frombuffer(contents, np.uint8).reshape(-1, 3, SIDE, SIDE)
    arrays: dict[str, Array] = {}
    for part, chosen in (("train", ~is_test), ("test", is_test)):
        arrays |= {f"{part}_pixels": pixels[chosen], f"{part}_labels": labels[chosen]}
    return arrays, {"labels": names, "warnings": warnings.lines()}


def crop_to_square(image: Image.Image) -> NDArray[np.uint8]:
    """Return an image's largest centred square, resized to the network's input (3, 32, 32)."""
    square = ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(square).transpose(2, 0, 1)


def generate_images(count: int, seed: int) -> LabelledImages:
    """Return synthetic images in CIFAR100's shape, (count, 3, 32, 32), and labels 0-99.

    Each class has a colour and a stripe pattern of its own; noise hides part of both. Results on
    generated images say nothing about real images, so they are labelled wherever they are shown.
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


DATASET = Dataset("cifar100", {"torchvision": [ARCHIVE]}, load_configured_images)
