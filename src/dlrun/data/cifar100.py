"""Small images as arrays: CIFAR100 (Krizhevsky, 2009), 50,000 + 10,000 of 100 classes, or own ones.

Of each of a user's own images the largest centred square is resized (bicubic, with antialiasing);
one that has the network's size is not changed.
"""

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from dlrun.config.sections import OwnData
from dlrun.data import photographs, sample, user_data
from dlrun.data.archives import files, load_pickle
from dlrun.data.cache import Read, Save, cached_arrays
from dlrun.data.download import GENERATED, OWN, Dataset, Published, differs, digest, obtain
from dlrun.data.images import SUFFIXES
from dlrun.data.text_files import DataWarnings
from dlrun.errors import DataError
from dlrun.system.console import Screen
from dlrun.system.files import read_regular

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
SIDE = 32  # pixels
SMALLEST = 4 * SIDE  # the side at which a large JPEG may be decoded: the rest is averaged away
BATCH = 32  # images that are decoded ahead


@dataclass(frozen=True)
class Images:
    """Holds pixels (n_images, 3, 32, 32) as bytes, and numbers of the classes (n_images,)."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Cifar100:
    """Holds both parts, the classes' names, and the origin.

    `differs` says why they are not the published images, and is None if they are.
    """

    train: Images
    test: Images
    names: list[str]
    origin: str
    differs: str | None


def generate(images: int, seed: int) -> Cifar100:
    """Return generated images: `images` for training and a fifth as many for the test."""
    train, test = sample.images(images, seed), sample.images(max(1, images // 5), seed + 1)
    origin = f"generated sample images ({images:,} + {images // 5:,}, seed {seed})"
    names = [f"generated {label}" for label in range(CLASSES)]
    return Cifar100(_channels_first(*train), _channels_first(*test), names, origin, GENERATED)


def load(archive: Path | None, data_dir: Path, mirrors: Sequence[str], screen: Screen) -> Cifar100:
    """Read the published archive, a local one of its layout, or a folder unpacked from one.

    Raises DataError if it is missing, damaged, not CIFAR100, or would run code.
    """
    folder = data_dir / DATASET.name
    path = obtain(ARCHIVE, archive, folder, mirrors, screen)
    arrays: dict[str, NDArray[Any]] = {}
    if path.is_dir():
        about, read = _read_folder(path, arrays.__setitem__), arrays.__getitem__
        other: str | None = f"{path.name} is a folder, not the published file"
    else:
        other = differs([ARCHIVE], [path], [""])
        key = ["cifar100", digest(path, "sha256")]
        about, read = cached_arrays(
            folder, key, lambda save: _read_archive(path, save, screen), screen
        )
    return _cifar100(about, read, f"CIFAR100 ({path.name})", other)


def _read_folder(folder: Path, save: Save) -> dict[str, Any]:
    contents: dict[str, bytes] = {}
    for part in PARTS:
        file = folder / FOLDER / part
        try:
            contents[part] = read_regular(file)
        except OSError as error:
            raise DataError(f"{file}: {error.strerror}") from None
    return _read_parts(contents, folder / FOLDER, save)


def _read_archive(archive: Path, save: Save, screen: Screen) -> dict[str, Any]:
    screen.note(f"reading {archive} (once)")
    with screen.progress("reading the archive", 100, "%") as bar:
        found = files(archive, _WANTED, MAX_BYTES, bar.to)
        contents = {name.rpartition("/")[2]: content for name, content in found}
    if missing := [f"{FOLDER}/{part}" for part in PARTS if part not in contents]:
        raise DataError(f"{archive}: no {', '.join(missing)}")
    return _read_parts(contents, archive / FOLDER, save)


def _read_parts(contents: Mapping[str, bytes], place: Path, save: Save) -> dict[str, Any]:
    """Save the arrays of pickled files by their part; return the classes' names."""
    for part in ("train", "test"):
        entry = _entry(contents[part], place / part, "data", "fine_labels")
        pixels, labels = entry["data"], entry["fine_labels"]
        what = f"{place / part}: not CIFAR100"
        if not isinstance(labels, list) or not labels:
            raise DataError(f"{what}: no list of labels")
        if getattr(pixels, "shape", ()) != (len(labels), 3072) or pixels.dtype != np.uint8:
            raise DataError(f"{what}: pixels are not (images, 3072) bytes")
        if not all(isinstance(label, int) and 0 <= label < CLASSES for label in labels):
            raise DataError(f"{what}: labels are not 0 to {CLASSES - 1}")
        # A row has the red, the green and the blue pixels.
        save(f"{part}_pixels", np.array(pixels).reshape(-1, 3, SIDE, SIDE))
        save(f"{part}_labels", np.asarray(labels, dtype=np.int64))
    names = _entry(contents["meta"], place / "meta", "fine_label_names")["fine_label_names"]
    if not isinstance(names, list) or len(names) != CLASSES:
        raise DataError(f"{place / 'meta'}: not CIFAR100: no {CLASSES} names of classes")
    return {"labels": [str(name) for name in names]}


def _entry(content: bytes, place: Path, *wanted: str) -> dict[str, Any]:
    entry = load_pickle(io.BytesIO(content), str(place))
    missing = [key for key in wanted if not isinstance(entry, dict) or key not in entry]
    if missing:
        raise DataError(f"{place}: not CIFAR100: no {', '.join(missing)}")
    found: dict[str, Any] = entry
    return found


def _cifar100(about: dict[str, Any], read: Read, origin: str, differs: str | None) -> Cifar100:
    train, test = (
        Images(np.array(read(f"{part}_pixels")), np.array(read(f"{part}_labels")))
        for part in ("train", "test")
    )
    return Cifar100(train, test, about["labels"], origin, differs)


def _channels_first(pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Images:
    return Images(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)), labels)


def load_own(config: OwnData, data_dir: Path, seed: int, screen: Screen) -> Cifar100:
    """Return a user's own images, in a sub-folder for each class; they are prepared once.

    Raises DataError if the images do not fit together, ConfigError if there are no classes.
    """
    places, warnings = user_data.places(config), DataWarnings()
    parts = [user_data.files_by_class(place, warnings, _is_image) for place in places]
    states = [user_data.folder_state(*one) for one in zip(parts, places, strict=True)]
    split = "" if len(parts) > 1 else f"{config.test_share} {seed}"
    state = "\0".join(["1", split, *states])  # the same name of the data as in 0.2
    which = hashlib.sha256(state.encode("utf-8", "surrogateescape"))
    name = (config.path or places[0]).name

    def prepare(save: Save) -> dict[str, Any]:
        screen.note(f"preparing the images of {name} (once)")
        return _prepare(parts, save, places[0], config.test_share, seed, screen, warnings)

    key = ["own", which.hexdigest()]
    about, read = cached_arrays(data_dir / DATASET.name, key, prepare, screen)
    for warning in about["warnings"]:
        screen.warn(warning)
    data = _cifar100(about, read, f"own images ({name}, {which.hexdigest()[:8]})", OWN)
    images = len(data.train.labels) + len(data.test.labels)
    names = user_data.shorten_list(data.names)
    screen.note(f"{images:,} images of {len(data.names)} classes: {names}")
    return data


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES


def _prepare(
    parts: Sequence[Sequence[tuple[str, Path]]],
    save: Save,
    place: Path,
    share: float,
    seed: int,
    screen: Screen,
    warnings: DataWarnings,
) -> dict[str, Any]:
    """Save the images of a training and a test part, or of one that is divided, as arrays."""
    classes, numbers = user_data.Classes(), list[int]()
    for part in parts:
        known = len(classes.names) if numbers else None
        numbers += [classes.number(label, file, known) for label, file in part]
    all_files = [file for part in parts for _, file in part]
    pixels, read = _decode(all_files, screen, warnings)
    present, labels = np.unique(np.array(numbers, np.int64)[read], return_inverse=True)
    names = [classes.names[number] for number in present]
    first_test = int(np.searchsorted(read, len(parts[0]))) if len(parts) > 1 else None
    is_test = user_data.divide(labels, names, first_test, share, seed, place)
    user_data.add_class_warnings(labels, is_test, names, warnings)
    content = np.array([hash(pixels[row].tobytes()) for row in read])
    if len(twice := user_data.repeated_rows(content, is_test)):
        what = "an image of the test part that is in the training part too"
        warnings.add(what, all_files[read[twice[0]]], len(twice))
    labels, ordered = user_data.sort_classes(labels, names)
    for name, chosen in (("train", ~is_test), ("test", is_test)):
        save(f"{name}_pixels", pixels[read[chosen]])
        save(f"{name}_labels", labels[chosen])
    return {"labels": ordered, "warnings": warnings.lines()}


def _decode(
    all_files: Sequence[Path], screen: Screen, warnings: DataWarnings
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return pixels (n_files, 3, SIDE, SIDE), and the indices of the files that could be read."""
    pixels, read = np.empty((len(all_files), 3, SIDE, SIDE), np.uint8), list[int]()
    stream = photographs.batches(all_files, _square, size=BATCH, thumbnails=0, smallest=SMALLEST)
    progress = screen.progress("reading images", len(all_files), "images")
    with progress as bar, closing(stream):
        for index, one in enumerate(one for batch in stream for one in batch):
            if one.error is None:
                pixels[index] = one.pixels
                read.append(index)
            else:
                warnings.add(f"{one.error}: left out", one.file)
            bar.to(index + 1)
    return pixels, np.array(read, np.int64)


def _square(image: Image.Image) -> NDArray[np.uint8]:
    """Return the largest centred square at the network's size, (3, SIDE, SIDE)."""
    square = ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(square).transpose(2, 0, 1)


def load_config(config: Any, data_dir: Path, screen: Screen) -> Cifar100:
    """Return the images that an experiment's config names."""
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
