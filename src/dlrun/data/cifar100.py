"""CIFAR100 (Krizhevsky, 2009): 50,000 + 10,000 colour images of 100 classes, as arrays."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlrun.data import safe_pickle, sample
from dlrun.data.archive import files
from dlrun.data.download import digest
from dlrun.data.making import make_folder
from dlrun.data.published import Published, obtain
from dlrun.errors import DataError
from dlrun.screen import Screen

ARCHIVE = Published(
    "cifar-100-python.tar.gz",
    "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
    "md5",
    "eb9058c3a382ffc7106e4002c42a8d85",
)
FOLDER = "cifar-100-python"
PARTS = ("train", "test", "meta")
_WANTED = re.compile(f"{FOLDER}/({'|'.join(PARTS)})")
MAX_BYTES = 512 << 20  # of a file in the archive; the largest published one has 155 MB


@dataclass(frozen=True)
class Images:
    """Pixels (n_images, 3, 32, 32) as bytes, classes (n_images,) from 0 to 99."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Cifar100:
    """The two published halves and where they come from."""

    train: Images
    test: Images
    origin: str


def generate(images: int, seed: int) -> Cifar100:
    """Generated images: `images` for training and a fifth as many for the test."""
    train, test = sample.images(images, seed), sample.images(max(1, images // 5), seed + 1)
    origin = f"generated sample images ({images:,} + {images // 5:,}, seed {seed})"
    return Cifar100(_channels_first(*train), _channels_first(*test), origin)


def load(archive: Path | None, data_dir: Path, mirrors: Sequence[str], screen: Screen) -> Cifar100:
    """Read the published archive, or a local one of its layout, through torchvision.

    Raises DataError where it is missing, damaged, not CIFAR100, or would run code.
    """
    folder = data_dir / "cifar100"
    path = obtain(ARCHIVE, archive, folder, mirrors, screen)
    root = path if path.is_dir() else _extract(path, folder, screen)
    for part in PARTS:
        _check(root / FOLDER / part)
    return Cifar100(_read(root, train=True), _read(root, train=False), f"CIFAR100 ({path.name})")


def _extract(archive: Path, folder: Path, screen: Screen) -> Path:
    """The three files of the archive and no other, in a folder named by the archive's hash."""
    root = folder / f"extracted-{digest(archive, 'sha256')[:16]}"

    def fill(new: Path) -> None:
        screen.note(f"extracting {archive} (once)")
        (new / FOLDER).mkdir()
        for name, content in files(archive, _WANTED, MAX_BYTES):
            (new / name).write_bytes(content)
        missing = [part for part in PARTS if not (new / FOLDER / part).exists()]
        if missing:
            raise DataError(f"{archive}: no {', '.join(f'{FOLDER}/{part}' for part in missing)}")

    make_folder(root, fill, screen)
    return root


def _check(file: Path) -> None:
    """Torchvision unpickles whatever is there: first make sure that it holds only data."""
    try:
        with file.open("rb") as stream:
            entry = safe_pickle.load(stream, str(file))
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}") from None
    wanted = ["fine_label_names"] if file.name == "meta" else ["data", "fine_labels"]
    missing = [key for key in wanted if not isinstance(entry, dict) or key not in entry]
    if missing:
        raise DataError(f"{file}: not CIFAR100: no {', '.join(missing)}")
    if "data" in wanted:
        pixels, labels = entry["data"], entry["fine_labels"]
        if not isinstance(labels, list) or not labels:
            raise DataError(f"{file}: not CIFAR100: no list of labels")
        if getattr(pixels, "shape", ()) != (len(labels), 3072) or pixels.dtype != np.uint8:
            raise DataError(f"{file}: not CIFAR100: pixels are not (images, 3072) bytes")
        if not all(isinstance(label, int) and 0 <= label < 100 for label in labels):
            raise DataError(f"{file}: not CIFAR100: labels are not 0 to 99")


def _read(root: Path, *, train: bool) -> Images:
    from torchvision.datasets import CIFAR100  # slow: 2 s

    class AnyCIFAR100(CIFAR100):  # type: ignore[misc]
        """Judged by its contents: a local archive has not the published checksums."""

        def _check_integrity(self) -> bool:
            return True

        def _load_meta(self) -> None:
            self.classes: list[str] = []  # the labels' names are not needed

    data = AnyCIFAR100(root, train=train)
    return _channels_first(data.data, np.asarray(data.targets, dtype=np.int64))


def _channels_first(pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> Images:
    return Images(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)), labels)
