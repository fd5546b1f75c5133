"""Labelled texts as arrays: IMDB's 25,000 + 25,000 reviews, or a user's own; prepared once."""

import hashlib
import tempfile
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.text import Text

from dlrun.config.sections import ReviewsData
from dlrun.data import text_sources, user_data
from dlrun.data.archives import check_archive_type
from dlrun.data.cache import Read, Save, cached_arrays
from dlrun.data.download import (
    GENERATED,
    OWN,
    Dataset,
    Published,
    check_local,
    differs,
    digest,
    obtain,
)
from dlrun.data.encoding import RaggedIds, WordNumbers, decode, split_words
from dlrun.data.text_files import DataWarnings
from dlrun.data.text_sources import FILES, TextSource
from dlrun.errors import ConfigError, DataError
from dlrun.system.console import Screen

if TYPE_CHECKING:
    from scipy import sparse

MAX_WORDS = 10_000_000  # different ones, which take 1.5 GB while they are counted
BAR_ROWS = 500  # rows after which the bar moves


@dataclass(frozen=True)
class Split:
    """The training or the test part of the reviews.

    ids: all ids of each review. bags: binary CSR, shape (n_reviews, width). labels: the number of
    the class (1 is positive), shape (n_reviews,).
    """

    ids: RaggedIds
    bags: "sparse.csr_matrix"
    labels: NDArray[np.int8] | NDArray[np.int64]


@dataclass(frozen=True)
class Reviews:
    """Both parts, the vocabulary by frequency rank, the classes' names, and the origin.

    `differs` says why they are not the published reviews, and is None if they are.
    """

    train: Split
    test: Split
    vocabulary: list[str]
    labels: list[str]
    origin: str
    differs: str | None

    @property
    def width(self) -> int:
        """The number of ids: the vocabulary and the special ids."""
        return int(self.train.bags.shape[1])

    def decode(self, ids: Iterable[int]) -> str:
        """Return the words of ids."""
        return decode(ids, self.vocabulary)


def check(config: ReviewsData) -> None:
    """Raise ConfigError for what is wrong before the texts are read: files, columns, numbers."""
    if config.is_own:
        user_data.check(config)
        if config.source == "csv":
            for place in user_data.places(config):
                text_sources.open_user_texts(config, place, DataWarnings())
    elif config.source != "sample":
        check_local("data.archive", config.archive)
        if config.archive is not None:
            check_archive_type(config.archive, "zip" if config.source == "keras" else "tar")
    if config.source == "keras":
        check_local("data.word_index", config.word_index)
    if config.source == "sample":
        config.held_out(config.sample_reviews)


def load(config: ReviewsData, data_dir: Path, seed: int, screen: Screen) -> Reviews:
    """Return the reviews that a config names: generated, from the cache, or from their source.

    Raises:
        DataError: the source is missing, damaged, or cannot be downloaded.
        ConfigError: a CSV file lacks a column.
    """
    if config.source == "sample":
        arrays: dict[str, NDArray[Any]] = {}
        parts = text_sources.generate(config.sample_reviews, seed)
        about = _prepare(config, parts, [], arrays.__setitem__, seed, Screen(quiet=True))
        origin = f"generated sample reviews (2 x {config.sample_reviews:,}, seed {seed})"
        return _reviews(about, arrays.__getitem__, origin, GENERATED)
    if config.is_own:
        return _load_own(config, data_dir / "imdb", seed, screen)
    return _load_published(config, data_dir / "imdb", seed, screen)


def files(config: ReviewsData, data_dir: Path) -> list[tuple[Published, Path]]:
    """Return the published files that the source needs, and the path of each."""
    local = (config.archive, config.word_index)
    return [
        (published, path or data_dir / "imdb" / published.name)
        for published, path in zip(FILES.get(config.source, ()), local, strict=False)
    ]


def _load_published(config: ReviewsData, folder: Path, seed: int, screen: Screen) -> Reviews:
    local = [
        obtain(published, path, folder, config.mirrors, screen)
        for published, path in zip(
            FILES[config.source], (config.archive, config.word_index), strict=False
        )
    ]
    hashes = [digest(file, "sha256") for file in local]

    def prepare(save: Save) -> dict[str, Any]:
        screen.note(f"preparing the reviews of {local[0]} (once)")
        if config.source == "stanford":
            parts, vocabulary = text_sources.read_stanford(local[0], screen), list[str]()
        else:
            parts, vocabulary = text_sources.read_keras(local[0], local[1], screen)
        return _prepare(config, parts, vocabulary, save, seed, screen, folder=folder)

    about, read = cached_arrays(folder, [config.source, config.num_words, *hashes], prepare, screen)
    origin = f"IMDB reviews ({config.source}, {local[0].name})"
    return _reviews(about, read, origin, differs(FILES[config.source], local, hashes))


def _load_own(config: ReviewsData, folder: Path, seed: int, screen: Screen) -> Reviews:
    places, warnings = user_data.places(config), DataWarnings()
    parts = [text_sources.open_user_texts(config, place, warnings) for place in places]
    name = (config.path or places[0]).name
    columns = f"{config.text_column}\0{config.label_column}" if config.source == "csv" else ""
    split = "" if len(parts) > 1 else f"{config.test_share} {seed}"
    state = "\0".join([config.source, columns, split, *(part.state() for part in parts)])
    which = hashlib.sha256(state.encode("utf-8", "surrogateescape")).hexdigest()

    def prepare(save: Save) -> dict[str, Any]:
        screen.note(f"preparing the texts of {name} (once)")
        return _prepare(config, parts, [], save, seed, screen, warnings, folder)

    about, read = cached_arrays(folder, [config.num_words, which], prepare, screen)
    for warning in about["warnings"]:
        screen.warn(warning)
    origin = f"own texts ({config.source}, {name}, {which[:8]})"
    reviews = _reviews(about, read, origin, OWN)
    texts = len(reviews.train.labels) + len(reviews.test.labels)
    names = user_data.shorten_list(reviews.labels)
    screen.note(f"{texts:,} texts of {len(reviews.labels)} classes: {names}")
    return reviews


def _prepare(
    config: ReviewsData,
    parts: Sequence[TextSource],
    vocabulary: Sequence[str],
    save: Save,
    seed: int,
    screen: Screen,
    warnings: DataWarnings | None = None,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Read texts and save their arrays; return what else a reader needs.

    Args:
        config: how many words have an id, and which share is the test if there is one part.
        parts: the training and the test part, or one that is divided.
        vocabulary: by frequency rank, if it is given; else it is counted on the training part.
        save: takes each array with its name.
        seed: divides the part.
        screen: shows the progress.
        warnings: takes what a user should know.
        folder: for a temporary file of 4 bytes a word, as /tmp may be in memory.
    """
    warnings = warnings or DataWarnings()
    with tempfile.TemporaryFile(dir=folder) as file:
        texts = _LabelledTexts(WordNumbers(file, vocabulary), warnings, screen)
        for part in parts:
            texts.read(part)
        words, names = texts.words, texts.classes.names
        labels = np.array(texts.labels)
        first_test = texts.first_rows[1] if len(parts) > 1 else None
        is_test = user_data.divide(
            labels, names, first_test, config.test_share, seed, parts[0].place
        )
        if config.is_own:
            user_data.add_class_warnings(labels, is_test, names, warnings)
            twice = user_data.repeated_rows(np.array(texts.hashes), is_test)
            twice = twice[np.array(words.lengths)[twice] > 0]
            if len(twice):
                repeated = "a text of the test part that is in the training part too"
                warnings.add(repeated, texts.where(twice[0]), len(twice))
            user_data.add_spelling_warnings("words", words.words, warnings)
        labels, ordered = user_data.sort_classes(labels, names)
        if len(names) == 2:
            labels = labels.astype(np.int8)  # as in 0.2; torch's loss for more needs int64
        ranked = words.rank(~is_test, config.num_words)
        for name, chosen in (("train", ~is_test), ("test", is_test)):
            save(f"{name}_labels", labels[chosen])
            for kind, values in words.encode(chosen, ranked, config.num_words).items():
                save(f"{name}_{kind}", values)
    all_words = list(words.words)
    return {
        "words": [all_words[number] for number in ranked],
        "width": config.num_words + 3,
        "labels": ordered,
        "warnings": warnings.lines(),
    }


class _LabelledTexts:
    """The texts of all parts as numbers: words, class, line, and a hash of each text.

    first_rows: the row at which each part begins.
    """

    def __init__(self, words: WordNumbers, warnings: DataWarnings, screen: Screen) -> None:
        self.words, self._warnings, self._screen = words, warnings, screen
        self.classes = user_data.Classes()
        self.labels, self._lines, self.hashes = array("q"), array("q"), array("q")
        self.first_rows: list[int] = []
        self._parts: list[TextSource] = []

    def where(self, row: int) -> str:
        """Return a row's file and line."""
        part = int(np.searchsorted(self.first_rows, row, side="right")) - 1
        return self._parts[part].where(self._lines[row])

    def read(self, source: TextSource) -> None:
        """Add a part's rows; a part after the first may not have a new class.

        Raises DataError, with file and line.
        """
        known = len(self.classes.names) if self._parts else None
        self.first_rows.append(len(self.labels))
        self._parts.append(source)
        what = f"reading {Path(source.place).name}"
        with self._screen.progress(what, source.size, source.unit) as bar:
            for text, label, line, done in source.rows():
                number = self.classes.number(label, source.where(line), known)
                if number < 0:
                    self._warnings.add("no label: the row is left out", source.where(line))
                    continue
                words = split_words(text) if isinstance(text, str) else text
                if not words:
                    self._warnings.add("a text without a word", source.where(line))
                self.words.append(words)
                if len(self.words.words) > MAX_WORDS:
                    raise DataError(
                        f"{source.where(line)}: more than {MAX_WORDS:,} different words so far",
                        "data.text_column names the column of the texts",
                    )
                self.labels.append(number)
                self._lines.append(line)
                self.hashes.append(hash(text) if isinstance(text, str) else 0)
                if len(self.labels) % BAR_ROWS == 0:
                    bar.to(done)


def _reviews(about: dict[str, Any], read: Read, origin: str, differs: str | None) -> Reviews:
    from scipy import sparse  # slow: a config error need not wait for it

    def split(part: str) -> Split:
        bag_ids, labels = read(f"{part}_bag_ids"), read(f"{part}_labels")
        ones = np.ones(len(bag_ids), dtype=np.float32)
        shape = (len(labels), about["width"])
        bags = sparse.csr_matrix((ones, bag_ids, read(f"{part}_bag_offsets")), shape)
        return Split(RaggedIds(read(f"{part}_ids"), read(f"{part}_offsets")), bags, labels)

    train, test = split("train"), split("test")
    return Reviews(train, test, about["words"], about["labels"], origin, differs)


def show(
    config: ReviewsData,
    data_dir: Path,
    seed: int,
    screen: Screen,
    part: str,
    first: int,
    count: int,
) -> None:
    """Print reviews of a part as words, each with its label and length. Raises ConfigError."""
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
