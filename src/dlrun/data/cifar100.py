"""CIFAR100 (Krizhevsky, 2009): 50,000 + 10,000 colour images of 100 classes, as arrays."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.config.sections import OwnData
from dlrun.data import own_data, own_images, sample
from dlrun.data.archives import files, load_pickle
from dlrun.data.cache import make_folder
from dlrun.data.dataset_commands import Dataset
from dlrun.data.download import digest
from dlrun.data.published_file import GENERATED, OWN, Published, differs, obtain
from dlrun.errors import DataError
from dlrun.system.console import Screen
from dlrun.system.files import open_regular

ARCHIVE = Published(
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


@dataclass(frozen=True)
class Images:
    """Pixels (n_images, 3, 32, 32) as bytes, numbers of the classes (n_images,)."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Cifar100:
    """The two halves, the classes' names, and where they come from.

    `differs` says why they are not the published ones; None where they are.
    """

    train: Images
    test: Images
    names: list[str]
    origin: str
    differs: str | None


def generate(images: int, seed: int) -> Cifar100:
    """Generated images: `images` for training and a fifth as many for the test."""
    train, test = sample.images(images, seed), sample.images(max(1, images // 5), seed + 1)
    origin = f"generated sample images ({images:,} + {images // 5:,}, seed {seed})"
    names = [f"generated {label}" for label in range(CLASSES)]
    return Cifar100(_channels_first(*train), _channels_first(*test), names, origin, GENERATED)


def load(archive: Path | None, data_dir: Path, mirrors: Sequence[str], screen: Screen) -> Cifar100:
    """Read the published archive, a local one of its layout, or a folder unpacked from one.

    Raises DataError where it is missing, damaged, not CIFAR100, or would run code.
    """
    folder = data_dir / DATASET.name
    path = obtain(ARCHIVE, archive, folder, mirrors, screen)
    if path.is_dir():
        root = path
        other: str | None = f"{path.name} is a folder, not the published file"
    else:
        root = _extract(path, folder, screen)
        other = differs([ARCHIVE], [path], [""])
    train, test = (_images(root / FOLDER / part) for part in ("train", "test"))
    names = _entry(root / FOLDER / "meta", "fine_label_names")["fine_label_names"]
    if not isinstance(names, list) or len(names) != CLASSES:
        raise DataError(f"{root / FOLDER / 'meta'}: not CIFAR100: no {CLASSES} names of classes")
    return Cifar100(train, test, [str(name) for name in names], f"CIFAR100 ({path.name})", other)


def _extract(archive: Path, folder: Path, screen: Screen) -> Path:
    """The three files of the archive and no other, in a folder named by the archive's hash."""
    root = folder / f"extracted-{digest(archive, 'sha256')[:16]}"

    def fill(new: Path) -> None:
        screen.note(f"extracting {archive} (once)")
        (new / FOLDER).mkdir()
        with screen.progress("reading the archive", 100, "%") as bar:
            for name, content in files(archive, _WANTED, MAX_BYTES, bar.to):
                (new / name).write_bytes(content)
        missing = [part for part in PARTS if not (new / FOLDER / part).exists()]
        if missing:
            raise DataError(f"{archive}: no {', '.join(f'{FOLDER}/{part}' for part in missing)}")

    make_folder(root, fill, screen)
    return root


def _entry(file: Path, *wanted: str) -> dict[str, Any]:
    """A pickled file of the archive, which may hold only data."""
    try:
        with open_regular(file) as stream:
            entry = load_pickle(stream, str(file))
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}") from None
    missing = [key for key in wanted if not isinstance(entry, dict) or key not in entry]
    if missing:
        raise DataError(f"{file}: not CIFAR100: no {', '.join(missing)}")
    assert isinstance(entry, dict)  # else a key would be missing
    return entry


def _images(file: Path) -> Images:
    entry = _entry(file, "data", "fine_labels")
    pixels, labels = entry["data"], entry["fine_labels"]
    if not isinstance(labels, list) or not labels:
        raise DataError(f"{file}: not CIFAR100: no list of labels")
    if getattr(pixels, "shape", ()) != (len(labels), 3072) or pixels.dtype != np.uint8:
        raise DataError(f"{file}: not CIFAR100: pixels are not (images, 3072) bytes")
    if not all(isinstance(label, int) and 0 <= label < CLASSES for label in labels):
        raise DataError(f"{file}: not CIFAR100: labels are not 0 to {CLASSES - 1}")
    images = pixels.view(np.ndarray).reshape(-1, 3, 32, 32)  # a row is red, green, blue planes
    return Images(np.ascontiguousarray(images), np.asarray(labels, dtype=np.int64))


def _channels_first(pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Images:
    return Images(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)), labels)


def load_own(data: OwnData, data_dir: Path, seed: int, screen: Screen) -> Cifar100:
    """A user's own images, of any classes. Raises DataError, ConfigError (own_images.prepare)."""
    cache, origin = own_images.prepare(data, data_dir / DATASET.name, seed, screen)
    about = json.loads((cache / "about.json").read_text(encoding="utf-8"))
    for warning in about["warnings"]:
        screen.warn(warning)
    train, test = (
        Images(np.load(cache / f"{part}_pixels.npy"), np.load(cache / f"{part}_labels.npy"))
        for part in ("train", "test")
    )
    images, names = len(train.labels) + len(test.labels), about["labels"]
    screen.note(f"{images:,} images of {len(names)} classes: {own_data.shorten_list(names)}")
    return Cifar100(train, test, names, origin, OWN)


def load_config(config: Any, data_dir: Path, screen: Screen) -> Cifar100:
    """The images that an experiment's config names."""
    if config.data.source == "sample":
        return generate(config.data.sample_images, config.split_seed)
    if config.data.is_own:
        return load_own(config.data, data_dir, config.split_seed, screen)
    return load(config.data.archive, data_dir, config.data.mirrors, screen)


def _files(config: Any, data_dir: Path) -> list[tuple[Published, Path]]:
    if config.data.source != "torchvision":
        return []
    return [(ARCHIVE, config.data.archive or data_dir / DATASET.name / ARCHIVE.name)]


def _load_all(config: Any, data_dir: Path, screen: Screen) -> str:
    images = load_config(config, data_dir, screen)
    counts = len(images.train.labels), len(images.test.labels)
    return f"{counts[0]:,} training and {counts[1]:,} test images, {images.origin}"


DATASET = Dataset(name="cifar100", files=_files, load=_load_all)
