"""IMDB's 25,000 + 25,000 labelled reviews as arrays, prepared once and cached."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from dlrun.data.download import digest
from dlrun.data.imdb_sources import FILES, Encoded, generate, read_keras, read_stanford
from dlrun.data.making import make_folder
from dlrun.data.published import obtain
from dlrun.data.text import Ragged, decode
from dlrun.errors import ConfigError, DataError
from dlrun.screen import Screen

if TYPE_CHECKING:
    from dlrun.experiments.sections import ReviewsData

FORMAT = "1"  # of the prepared arrays; a new one makes every cache anew


@dataclass(frozen=True)
class Split:
    """One half of the reviews.

    ids: each review's ids, all of them; bags: binary CSR, shape (n_reviews, width);
    labels: 1 is positive, shape (n_reviews,).
    """

    ids: Ragged
    bags: sparse.csr_matrix
    labels: NDArray[np.int8]


@dataclass(frozen=True)
class Reviews:
    """The two published halves, the words by frequency rank, and where they come from."""

    train: Split
    test: Split
    words: list[str]
    origin: str
    generated: bool

    @property
    def width(self) -> int:
        """Ids that a review can hold: the vocabulary and the three special ids."""
        return int(self.train.bags.shape[1])

    def decode(self, ids: Iterable[int]) -> str:
        """Ids as words."""
        return decode(ids, self.words)


def load(config: "ReviewsData", data_dir: Path, seed: int, screen: Screen) -> Reviews:
    """The reviews that a config names: generated, from the cache, or prepared from their source.

    Raises:
        DataError: the source is missing, damaged, or cannot be downloaded.
        ConfigError: more reviews are held out for validation than there are.
    """
    if config.source == "sample":
        encoded = generate(config.sample_reviews, seed, config.num_words)
        origin = f"generated sample reviews (2 x {config.sample_reviews:,}, seed {seed})"
        reviews = _assemble(encoded, config.num_words, origin, generated=True)
    else:
        reviews = _load_cached(config, data_dir / "imdb", screen)
    if config.validation >= len(reviews.train.labels):
        raise ConfigError(
            f"data.validation: {config.validation:,} reviews cannot be held out of "
            f"{len(reviews.train.labels):,}"
        )
    return reviews


def sources(config: "ReviewsData", folder: Path, screen: Screen) -> list[Path]:
    """The source's files, downloaded where they are missing."""
    local = (config.archive, config.word_index)
    return [
        obtain(published, path, folder, config.mirrors, screen)
        for published, path in zip(FILES[config.source], local, strict=False)
    ]


def held_out(
    reviews: int, validation: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the training and validation reviews: one split for all IMDB experiments."""
    order = np.random.default_rng(seed).permutation(reviews)
    return np.sort(order[validation:]), np.sort(order[:validation])


def _load_cached(config: "ReviewsData", folder: Path, screen: Screen) -> Reviews:
    files = sources(config, folder, screen)
    hashes = "".join(digest(file, "sha256") for file in files)
    key = hashlib.sha256(f"{FORMAT} {config.source} {config.num_words} {hashes}".encode())
    cache = folder / f"prepared-{key.hexdigest()[:16]}"

    def prepare(folder: Path) -> None:
        screen.note(f"preparing the reviews of {files[0]} (once)")
        if config.source == "stanford":
            encoded = read_stanford(files[0], config.num_words)
        else:
            encoded = read_keras(files[0], files[1], config.num_words)
        _save(_assemble(encoded, config.num_words, config.source, generated=False), folder)

    make_folder(cache, prepare, screen)
    try:
        return _read(cache, origin=f"IMDB reviews ({config.source}, {files[0].name})")
    except (OSError, ValueError, LookupError, TypeError, EOFError) as error:
        raise DataError(f"{cache}: damaged ({error})", "delete that folder and run again") from None


def _assemble(encoded: Encoded, num_words: int, origin: str, *, generated: bool) -> Reviews:
    width = num_words + 3
    train = Split(encoded.train, encoded.train.bag_of_words(width), encoded.train_labels)
    test = Split(encoded.test, encoded.test.bag_of_words(width), encoded.test_labels)
    return Reviews(train, test, encoded.words, origin, generated)


def _save(reviews: Reviews, folder: Path) -> None:
    for name, split in (("train", reviews.train), ("test", reviews.test)):
        np.save(folder / f"{name}_ids.npy", split.ids.ids)
        np.save(folder / f"{name}_offsets.npy", split.ids.offsets)
        np.save(folder / f"{name}_bag_ids.npy", split.bags.indices)
        np.save(folder / f"{name}_bag_offsets.npy", split.bags.indptr)
        np.save(folder / f"{name}_labels.npy", split.labels)
    about = {"words": reviews.words, "width": reviews.width}
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")


def _read(cache: Path, origin: str) -> Reviews:
    about = json.loads((cache / "about.json").read_text(encoding="utf-8"))

    def split(name: str) -> Split:
        ids, offsets, bag_ids, bag_offsets, labels = (
            np.load(cache / f"{name}_{part}.npy", mmap_mode="r")
            for part in ("ids", "offsets", "bag_ids", "bag_offsets", "labels")
        )
        ones = np.ones(len(bag_ids), dtype=np.float32)
        bags = sparse.csr_matrix((ones, bag_ids, bag_offsets), (len(labels), about["width"]))
        return Split(Ragged(ids, offsets), bags, labels)

    return Reviews(split("train"), split("test"), about["words"], origin, generated=False)
