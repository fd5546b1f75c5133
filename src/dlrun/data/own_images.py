"""Images of a user's own, a sub-folder for each class, at the network's size; prepared once.

Of each image the largest centred square is resized (bicubic, with antialiasing); one that has the
network's size stays as it is, pixel for pixel.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from dlrun.config.sections import OwnData
from dlrun.data import photographs
from dlrun.data.cache import make_folder
from dlrun.data.data_warnings import Oddities
from dlrun.data.images import SUFFIXES
from dlrun.data.own_data import (
    Classes,
    check_known,
    check_parts,
    hold_out,
    in_order,
    note_parts,
    places,
)
from dlrun.data.own_folder import Labelled, files_by_class, state
from dlrun.system.console import Screen

FORMAT = "1"  # of the prepared arrays; a new one makes every cache anew
SIDE = 32  # pixels
SMALLEST = 4 * SIDE  # to which the sides of a large JPEG may be decoded: the rest is averaged away
BATCH = 32  # images that are decoded ahead


def prepare(config: OwnData, folder: Path, seed: int, screen: Screen) -> tuple[Path, str]:
    """Have the arrays in a folder of their own; returns it, and what the images are in words.

    They are made anew where the files or the split are others.

    Raises DataError where the images do not fit together, ConfigError where there are no classes.
    """
    where, odd = places(config), Oddities()
    parts = [files_by_class(place, odd, wanted=_is_image) for place in where.all]
    split = "" if where.test else f"{config.test_share} {seed}"
    states = [state(part, place) for part, place in zip(parts, where.all, strict=True)]
    about = "\0".join([FORMAT, split, *states])
    which = hashlib.sha256(about.encode("utf-8", "surrogateescape")).hexdigest()
    cache, name = folder / f"prepared-{which[:16]}", (config.path or where.train).name

    def fill(new: Path) -> None:
        screen.note(f"preparing the images of {name} (once)")
        _Maker(parts, odd, screen).make(new, where.train, config.test_share, seed)

    make_folder(cache, fill, screen)
    return cache, f"own images ({name}, {which[:8]})"


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES


class _Maker:
    """Decodes the images of one part, or two, into arrays."""

    def __init__(self, parts: Sequence[Labelled], odd: Oddities, screen: Screen) -> None:
        self._odd, self._screen = odd, screen
        self._files = [file for part in parts for _, file in part]
        classes, numbers = Classes(), list[int]()
        for part in parts:
            known = len(classes) if numbers else None
            for label, file in part:
                numbers.append(classes.number(label, file.parent))
                check_known(numbers[-1], known, classes.names, file)
        self._names, self._numbers = classes.names, np.array(numbers, np.int64)
        self._first_test = len(parts[0]) if len(parts) > 1 else None

    def make(self, folder: Path, place: Path, share: float, seed: int) -> None:
        """Write them. Raises DataError where there is too little to train or test on."""
        pixels = np.empty((len(self._files), 3, SIDE, SIDE), np.uint8)
        (read,) = np.nonzero(list(self._decoded(pixels)))
        present, labels = np.unique(self._numbers[read], return_inverse=True)
        names = [self._names[number] for number in present]
        if self._first_test is None:
            is_test = hold_out(labels, share, seed)
        else:
            is_test = read >= self._first_test
        check_parts(labels, is_test, names, place)
        content = np.array([hash(pixels[row].tobytes()) for row in read])
        twice = note_parts(labels, is_test, content, names, self._odd)
        if len(twice):
            what = "an image of the test part that is in the training part too"
            self._odd.add(what, self._files[read[twice[0]]], len(twice))
        ordered = in_order(names)
        sorted_number = np.array([ordered.index(name) for name in names])
        for part, chosen in (("train", ~is_test), ("test", is_test)):
            np.save(folder / f"{part}_pixels.npy", pixels[read[chosen]])
            np.save(folder / f"{part}_labels.npy", sorted_number[labels[chosen]])
        about = {"labels": ordered, "warnings": self._odd.lines()}
        (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")

    def _decoded(self, pixels: NDArray[np.uint8]) -> Iterator[bool]:
        """Fill pixels (n_files, 3, SIDE, SIDE); for each file whether it could be read."""
        stream = photographs.batches(
            self._files, _squared, size=BATCH, thumbnails=0, smallest=SMALLEST
        )
        progress = self._screen.progress("reading images", len(self._files), "images")
        done = 0
        with progress as bar, closing(stream):
            for batch in stream:
                for one in batch:
                    if one.error is None:
                        pixels[done] = one.pixels
                    else:
                        self._odd.add(f"{one.error}: left out", one.file)
                    yield one.error is None
                    done += 1
                bar.to(done)


def _squared(image: Image.Image) -> Any:
    """The largest centred square at the network's size, (3, SIDE, SIDE)."""
    square = ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(square).transpose(2, 0, 1)
