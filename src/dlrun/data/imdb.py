"""IMDB's 25,000 + 25,000 labelled reviews, or a user's own, as arrays; prepared once and cached."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from dlrun.config.sections import ReviewsData
from dlrun.data import own_data, own_reviews
from dlrun.data.archives import check_archive_type
from dlrun.data.cache import make_folder
from dlrun.data.dataset_commands import Dataset
from dlrun.data.download import digest
from dlrun.data.encoding import FIRST_WORD, RaggedIds, decode
from dlrun.data.imdb_sources import FILES, Encoded, generate, read_keras, read_stanford
from dlrun.data.published_file import GENERATED, OWN, Published, check_local, differs, obtain
from dlrun.errors import ConfigError
from dlrun.system.console import Screen

if TYPE_CHECKING:
    from scipy import sparse

FORMAT = "1"  # of the prepared arrays; a new one makes every cache anew
LABELS = ["negative", "positive"]  # of the published and the generated reviews


@dataclass(frozen=True)
class Split:
    """One half of the reviews.

    ids: each review's ids, all of them; bags: binary CSR, shape (n_reviews, width);
    labels: the number of the class (1 is positive), shape (n_reviews,).
    """

    ids: RaggedIds
    bags: "sparse.csr_matrix"
    labels: NDArray[np.int8] | NDArray[np.int64]


@dataclass(frozen=True)
class Reviews:
    """The two published halves, the words by frequency rank, and where they come from.

    `labels` names the classes. `differs` says why they are not the published ones; None where they
    are.
    """

    train: Split
    test: Split
    words: list[str]
    labels: list[str]
    origin: str
    differs: str | None

    @property
    def width(self) -> int:
        """Ids that a review can hold: the vocabulary and the three special ids."""
        return int(self.train.bags.shape[1])

    @property
    def vocabulary(self) -> list[str]:
        """The words that have an id of their own, by frequency rank."""
        return self.words[: self.width - 3 - FIRST_WORD]

    def decode(self, ids: Iterable[int]) -> str:
        """Ids as words."""
        return decode(ids, self.words)


def check(config: ReviewsData) -> None:
    """What can be known before the reviews are read: files, their kind, how many are held out.

    Raises ConfigError.
    """
    if config.is_own:
        own_data.check(config)
        own_reviews.check_columns(config)
    elif config.source != "sample":
        check_local("data.archive", config.archive)
        if config.archive is not None:
            check_archive_type(config.archive, "zip" if config.source == "keras" else "tar")
    if config.source == "keras":
        check_local("data.word_index", config.word_index)
    if config.source == "sample":
        config.held_out(config.sample_reviews)


def load(config: ReviewsData, data_dir: Path, seed: int, screen: Screen) -> Reviews:
    """The reviews that a config names: generated, from the cache, or prepared from their source.

    Raises:
        DataError: the source is missing, damaged, or cannot be downloaded.
        ConfigError: a CSV file lacks a column.
    """
    if config.source == "sample":
        encoded = generate(config.sample_reviews, seed, config.num_words)
        origin = f"generated sample reviews (2 x {config.sample_reviews:,}, seed {seed})"
        return _assemble(encoded, config.num_words, origin, GENERATED)
    if config.is_own:
        return _load_own(config, data_dir / "imdb", seed, screen)
    return _load_cached(config, data_dir / "imdb", screen)


def files(config: ReviewsData, data_dir: Path) -> list[tuple[Published, Path]]:
    """The published files that the source needs, each with where it lies."""
    if config.source not in FILES:
        return []
    local = (config.archive, config.word_index)
    return [
        (published, path or data_dir / "imdb" / published.name)
        for published, path in zip(FILES[config.source], local, strict=False)
    ]


def sources(config: ReviewsData, folder: Path, screen: Screen) -> list[Path]:
    """The source's files, downloaded where they are missing."""
    local = (config.archive, config.word_index)
    return [
        obtain(published, path, folder, config.mirrors, screen)
        for published, path in zip(FILES[config.source], local, strict=False)
    ]


def _load_cached(config: ReviewsData, folder: Path, screen: Screen) -> Reviews:
    local = sources(config, folder, screen)
    hashes = [digest(file, "sha256") for file in local]
    about = f"{FORMAT} {config.source} {config.num_words} {''.join(hashes)}"
    key = hashlib.sha256(about.encode())
    cache = folder / f"prepared-{key.hexdigest()[:16]}"

    def prepare(folder: Path) -> None:
        screen.note(f"preparing the reviews of {local[0]} (once)")
        if config.source == "stanford":
            encoded = read_stanford(local[0], config.num_words, screen)
        else:
            encoded = read_keras(local[0], local[1], config.num_words, screen)
        _save(_assemble(encoded, config.num_words, config.source, None), folder)

    make_folder(cache, prepare, screen)
    origin = f"IMDB reviews ({config.source}, {local[0].name})"
    return _read(cache, origin, differs(FILES[config.source], local, hashes))


def _load_own(config: ReviewsData, folder: Path, seed: int, screen: Screen) -> Reviews:
    cache, origin = own_reviews.prepare(config, folder, seed, screen)
    for warning in json.loads((cache / "about.json").read_text(encoding="utf-8"))["warnings"]:
        screen.warn(warning)
    reviews = _read(cache, origin, OWN)
    texts = len(reviews.train.labels) + len(reviews.test.labels)
    screen.note(
        f"{texts:,} texts of {len(reviews.labels)} classes: {own_data.shorten_list(reviews.labels)}"
    )
    return reviews


def _assemble(encoded: Encoded, num_words: int, origin: str, differs: str | None) -> Reviews:
    width = num_words + 3
    train = Split(encoded.train, encoded.train.bag_of_words(width), encoded.train_labels)
    test = Split(encoded.test, encoded.test.bag_of_words(width), encoded.test_labels)
    return Reviews(train, test, encoded.words, LABELS, origin, differs)


def _save(reviews: Reviews, folder: Path) -> None:
    for name, split in (("train", reviews.train), ("test", reviews.test)):
        np.save(folder / f"{name}_ids.npy", split.ids.ids)
        np.save(folder / f"{name}_offsets.npy", split.ids.offsets)
        np.save(folder / f"{name}_bag_ids.npy", split.bags.indices)
        np.save(folder / f"{name}_bag_offsets.npy", split.bags.indptr)
        np.save(folder / f"{name}_labels.npy", split.labels)
    about = {"words": reviews.words, "width": reviews.width}
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")


def _read(cache: Path, origin: str, differs: str | None) -> Reviews:
    from scipy import sparse  # slow: a config error need not wait for it

    about = json.loads((cache / "about.json").read_text(encoding="utf-8"))

    def split(name: str) -> Split:
        ids, offsets, bag_ids, bag_offsets, labels = (
            np.load(cache / f"{name}_{part}.npy", mmap_mode="r")
            for part in ("ids", "offsets", "bag_ids", "bag_offsets", "labels")
        )
        ones = np.ones(len(bag_ids), dtype=np.float32)
        bags = sparse.csr_matrix((ones, bag_ids, bag_offsets), (len(labels), about["width"]))
        return Split(RaggedIds(ids, offsets), bags, labels)

    labels = about.get("labels", LABELS)  # the user's own have theirs
    return Reviews(split("train"), split("test"), about["words"], labels, origin, differs)


def show(
    config: ReviewsData,
    data_dir: Path,
    seed: int,
    screen: Screen,
    part: str,
    first: int,
    count: int,
) -> None:
    """Print reviews of a part as words, each with its label and length."""
    reviews = load(config, data_dir, seed, screen)
    split = reviews.train if part == "train" else reviews.test
    if first >= len(split.labels):
        raise ConfigError(f"--first {first}: there are {len(split.labels):,} {part} reviews")
    screen.note(f"{reviews.origin}: {len(reviews.vocabulary):,} words have an id")
    for index in range(first, min(first + count, len(split.labels))):
        ids = split.ids.review(index)
        label = reviews.labels[split.labels[index]]
        screen.show(Text(f"{part} {index}, {label}, {len(ids)} ids", style="bold"))
        screen.show(Text(reviews.decode(ids) + "\n"))


def _load_all(config: Any, data_dir: Path, screen: Screen) -> str:
    reviews = load(config.data, data_dir, config.split_seed, screen)
    counts = len(reviews.train.labels), len(reviews.test.labels)
    return f"{counts[0]:,} training and {counts[1]:,} test reviews, {reviews.origin}"


DATASET = Dataset(
    name="imdb",
    files=lambda config, data_dir: files(config.data, data_dir),
    load=_load_all,
    show=lambda config, data_dir, screen, *which: show(
        config.data, data_dir, config.split_seed, screen, *which
    ),
)
