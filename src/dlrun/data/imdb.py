"""Read labelled texts as arrays: IMDB's 25,000 + 25,000 reviews, generated ones, or a user's own.

Stanford: https://ai.stanford.edu/~amaas/data/sentiment/ (Maas et al., ACL 2011).
Keras: keras.datasets.imdb.
"""

import json
import re
import tempfile
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.text import Text
from scipy import sparse

from dlrun.config.sections import ReviewsDataConfig
from dlrun.data import splits, user_data
from dlrun.data.archives import Array, load_npz, read_tar
from dlrun.data.cache import Names, Read, Save, load_or_prepare_arrays
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
from dlrun.data.user_data import TextSource
from dlrun.data.word_ids import (
    NumberedTexts,
    RaggedWordIds,
    decode_word_ids,
    make_binary_matrix,
    split_words,
)
from dlrun.errors import ConfigError, DataError
from dlrun.system.console import Screen
from dlrun.system.files import read_regular_file

LABELS = ["negative", "positive"]  # of the published and the generated reviews
STANFORD_ARCHIVE = PublishedFile(
    "aclImdb_v1.tar.gz",
    "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    "md5",
    "7c2ac02c03563afcf9b574c7e56c153a",
)
KERAS_ARRAYS = PublishedFile(
    "imdb.npz",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/imdb.npz",
    "sha256",
    "69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f",
)
KERAS_WORDS = PublishedFile(
    "imdb_word_index.json",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/imdb_word_index.json",
    "md5",
    "bfafd718b763782e994055a2d397834f",
    "data.word_index",
)
PUBLISHED = {"stanford": (STANFORD_ARCHIVE,), "keras": (KERAS_ARRAYS, KERAS_WORDS)}

MAX_REVIEW_BYTES = 1 << 20
MAX_WORDS = 10_000_000  # different ones, which take 1.5 GB while they are counted
BAR_ROWS = 500  # rows after which the bar moves
_MEMBER = re.compile(r"aclImdb/(train|test)/(pos|neg)/(\d+_\d+)\.txt")
_NO_WORD = "<UNK>"  # `split_words` never returns it


@dataclass(frozen=True)
class ReviewSplit:
    """Holds the training or the test part of the reviews as word ids, bags of words and labels.

    ids: all ids of each review. bags: binary CSR, shape (n_reviews, width). labels: the number of
    the class (1 is positive), shape (n_reviews,).
    """

    ids: RaggedWordIds
    bags: sparse.csr_matrix
    labels: NDArray[np.int8] | NDArray[np.int64]


@dataclass(frozen=True)
class Reviews:
    """Holds the training and the test reviews, the vocabulary, the class names, and the origin.

    `differs` says why they are not the published reviews, and is None if they are.
    """

    train: ReviewSplit
    test: ReviewSplit
    vocabulary: list[str]
    labels: list[str]
    origin: str
    differs: str | None

    @property
    def width(self) -> int:
        """Return the number of word ids: the size of the vocabulary plus the special ids."""
        return int(self.train.bags.shape[1])

    def decode(self, ids: Iterable[int]) -> str:
        """Return the words of word ids."""
        return decode_word_ids(ids, self.vocabulary)


def load_reviews(config: ReviewsDataConfig, data_dir: Path, seed: int, screen: Screen) -> Reviews:
    """Return the reviews that a config names: generated, from the cache, or from their source.

    Raises DataError if the source is missing, damaged, or cannot be downloaded.
    """
    folder = data_dir / DATASET.name
    if config.is_own:
        return _load_own(config, folder, seed, screen)
    if config.source != "sample":
        return _load_published(config, folder, seed, screen)
    arrays: dict[str, Array] = {}
    sources = []
    for part, part_seed in (("train", seed), ("test", seed + 1)):
        texts, labels = generate_reviews(config.sample_reviews, part_seed)
        sources.append(_in_memory(part, texts, [LABELS[label] for label in labels]))
    names = _prepare(config, sources, arrays.__setitem__, seed, Screen(quiet=True))
    origin = f"generated sample reviews (2 x {config.sample_reviews:,}, seed {seed})"
    return _reviews(config, names, arrays.__getitem__, origin, GENERATED)


def _load_published(config: ReviewsDataConfig, folder: Path, seed: int, screen: Screen) -> Reviews:
    published = PUBLISHED[config.source]
    local = [
        obtain_published_file(file, copy, folder, config.mirrors, screen)
        for file, copy in zip(published, (config.archive, config.word_index), strict=False)
    ]

    def prepare(save: Save) -> Names:
        screen.note(f"preparing the reviews of {local[0]} (once)")
        if config.source == "stanford":
            sources, vocabulary = read_stanford_reviews(local[0], screen), list[str]()
        else:
            sources, vocabulary = read_keras_reviews(local[0], local[1], screen)
        return _prepare(config, sources, save, seed, screen, vocabulary, folder=folder)

    key = [config.source, config.num_words, *(hash_file(file, "sha256") for file in local)]
    names, read = load_or_prepare_arrays(folder, key, prepare, screen)
    origin = f"IMDB reviews ({config.source}, {local[0].name})"
    return _reviews(config, names, read, origin, why_not_published(published, local))


def _load_own(config: ReviewsDataConfig, folder: Path, seed: int, screen: Screen) -> Reviews:
    places, warnings = user_data.user_data_paths(config), DataWarnings()
    name = (config.path or places[0]).name
    key = user_data.fingerprint_user_data(config, seed, config.text_column, config.label_column)

    def prepare(save: Save) -> Names:
        screen.note(f"preparing the texts of {name} (once)")
        sources = [user_data.open_text_source(config, place, warnings) for place in places]
        return _prepare(config, sources, save, seed, screen, warnings=warnings, folder=folder)

    names, read = load_or_prepare_arrays(folder, [config.num_words, key], prepare, screen)
    origin = f"own texts ({config.source}, {name}, {key[:8]})"
    reviews = _reviews(config, names, read, origin, OWN)
    count = len(reviews.train.ids) + len(reviews.test.ids)
    splits.show_class_counts(count, "texts", reviews.labels, names["warnings"], screen)
    return reviews


def _reviews(
    config: ReviewsDataConfig, names: Names, read: Read, origin: str, differs: str | None
) -> Reviews:
    def split(part: str) -> ReviewSplit:
        ids = RaggedWordIds(read(f"{part}_ids"), read(f"{part}_offsets"))
        bag_ids, offsets = read(f"{part}_bag_ids"), read(f"{part}_bag_offsets")
        bags = make_binary_matrix(bag_ids, offsets, config.num_words + 3)
        return ReviewSplit(ids, bags, read(f"{part}_labels"))

    train, test = split("train"), split("test")
    return Reviews(train, test, names["words"], names["labels"], origin, differs)


def _prepare(
    config: ReviewsDataConfig,
    sources: Sequence[TextSource],
    save: Save,
    seed: int,
    screen: Screen,
    vocabulary: Sequence[str] = (),
    warnings: DataWarnings | None = None,
    folder: Path | None = None,
) -> Names:
    """Save the training and test texts as arrays; divide them if they are in one place.

    The vocabulary, by frequency rank, is counted on the training part if it is not given. `folder`
    takes a temporary file of 4 bytes a word, as /tmp may be in memory.
    """
    warnings = warnings or DataWarnings()
    numbers, hashes = array("q"), array("q")  # of each row
    classes, first_test = splits.ClassNumbers(), None
    with tempfile.TemporaryFile(dir=folder) as file:
        words = NumberedTexts(file, vocabulary)
        for source in sources:
            known = None
            if source is not sources[0]:
                known, first_test = len(classes.names), len(numbers)
            progress = f"reading {Path(source.place).name}", source.size, source.unit
            with screen.progress(*progress) as bar:
                for text, label, where, done in source.rows():
                    number = classes.number(label, where, known)
                    if number < 0:
                        warnings.add("no label: the row is left out", where)
                        continue
                    split = split_words(text) if isinstance(text, str) else text
                    if not split:
                        warnings.add("a text without a word", where)
                    words.append(split)
                    if len(words.words) > MAX_WORDS:
                        raise DataError(
                            f"{where}: more than {MAX_WORDS:,} different words so far",
                            "data.text_column names the column of the texts",
                        )
                    # A text without a word repeats nothing.
                    hashes.append(hash(text) if split and isinstance(text, str) else len(hashes))
                    numbers.append(number)
                    if len(numbers) % BAR_ROWS == 0:
                        bar.to(done)
        labels, names, place = np.array(numbers), classes.names, sources[0].place
        is_test = splits.choose_test_rows(labels, names, first_test, config.test_share, seed, place)
        if config.is_own:
            content = np.array(hashes)
            splits.add_part_warnings(labels, names, content, is_test, sources[-1].place, warnings)
            splits.add_spelling_warnings("words", words.words, warnings)
        labels, names = splits.sort_classes(labels, names)
        if len(names) == 2:
            labels = labels.astype(np.int8)  # torch's loss for more classes needs int64
        ranked = words.rank(~is_test, config.num_words)
        for part, chosen in (("train", ~is_test), ("test", is_test)):
            save(f"{part}_labels", labels[chosen])
            for kind, values in words.encode(chosen, ranked, config.num_words).items():
                save(f"{part}_{kind}", values)
    all_words = list(words.words)
    vocabulary = [all_words[number] for number in ranked]
    return {"words": vocabulary, "labels": names, "warnings": warnings.lines()}


def _in_memory(place: str, texts: Iterable[str | list[str]], labels: Sequence[str]) -> TextSource:
    rows = (
        (text, label, f"{place} {number}", number)
        for number, (text, label) in enumerate(zip(texts, labels, strict=True), start=1)
    )
    return TextSource(place, len(labels), "reviews", lambda: rows)


def read_stanford_reviews(archive: Path, screen: Screen) -> list[TextSource]:
    """Read the labelled reviews of aclImdb_v1.tar.gz, whatever its checksum.

    Raises DataError if it is no such archive, is damaged, or lacks one of the four folders.
    """
    folders: dict[tuple[str, str], dict[str, bytes]] = {
        (part, label): {} for part in ("train", "test") for label in ("neg", "pos")
    }
    with screen.progress("reading the archive", 100, "%", aloud=True) as bar:
        for path, content in read_tar(archive, _MEMBER, MAX_REVIEW_BYTES, bar.to):
            _, part, label, name = path.split("/")
            folders[part, label][name] = content
    if empty := ["/".join(("aclImdb", *folder)) for folder in folders if not folders[folder]]:
        raise DataError(
            f"{archive}: no reviews in {', '.join(empty)}",
            "the archive's layout is aclImdb/{train,test}/{pos,neg}/ID_STARS.txt",
        )

    sources = []
    for part in ("train", "test"):
        negative, positive = folders[part, "neg"], folders[part, "pos"]
        raw = [texts[name] for texts in (negative, positive) for name in sorted(texts)]
        labels = [LABELS[0]] * len(negative) + [LABELS[1]] * len(positive)
        sources.append(_in_memory(part, [text.decode("utf-8", "replace") for text in raw], labels))
    return sources


def read_keras_reviews(
    arrays: Path, word_index: Path, screen: Screen
) -> tuple[list[TextSource], list[str]]:
    """Read the reviews of Keras's imdb.npz, and imdb_word_index.json as the words by rank.

    Raises DataError if they are not that.
    """
    try:
        ranks = dict(json.loads(read_regular_file(word_index)))
        words = sorted(ranks, key=ranks.__getitem__)
        if [ranks[word] for word in words] != list(range(1, len(words) + 1)):
            raise ValueError("a rank is missing")  # all words would be shifted
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{word_index}: not Keras's word index: {error}") from None
    with screen.progress("reading the arrays", None, "", aloud=True):
        x_train, y_train, x_test, y_test = load_npz(
            arrays, ["x_train", "y_train", "x_test", "y_test"]
        )

    def to_words(ranks: Sequence[int]) -> list[str]:
        try:
            if min(ranks, default=1) < 1:
                raise ValueError(f"a word of rank {min(ranks)}")
            return [words[rank - 1] if rank <= len(words) else _NO_WORD for rank in ranks]
        except (ValueError, TypeError) as error:
            raise DataError(f"{arrays}: not Keras's reviews: {error}") from None

    sources: list[TextSource] = []
    for part, x, y in (("train", x_train, y_train), ("test", x_test, y_test)):
        if x.ndim == 0 or x.shape[:1] != y.shape or not x.size:
            raise DataError(f"{arrays}: {part} has reviews {x.shape}, labels {y.shape}")
        if y.dtype.kind not in "biuf" or not np.isin(y, (0, 1)).all():
            raise DataError(f"{arrays}: labels in {part} are not 0 and 1")
        labels = [LABELS[label] for label in y.astype(int)]
        sources.append(_in_memory(part, map(to_words, x), labels))
    return sources, words


_GOOD = (
    "wonderful great superb moving brilliant delightful charming gripping funny beautiful fresh "
    "clever honest touching excellent perfect rich warm memorable thrilling"
).split()
_BAD = (
    "awful dull terrible boring weak clumsy tedious flat predictable shallow annoying lifeless "
    "messy silly poor forgettable cheap painful cold pointless"
).split()
_NOUNS = (
    "film movie story plot acting cast script music ending scene director camera dialogue hero "
    "villain pace humour mood city family summer war train winter letter journey"
).split()
_FRAMES = (
    "the {noun} was {word} and i will remember the {other}",
    "i found the {noun} {word} but the {other} went on",
    "it's a {word} {noun} about a {other}",
    "the {noun} and the {other} were {word}",
    "my friends said that this {noun} is {word}",
    "we watched the {noun} with the {other} in mind",
)
_AGREE = 0.66  # share of the words of judgement that agree with the review's label


def generate_reviews(count: int, seed: int) -> tuple[list[str], NDArray[np.int8]]:
    """Return generated reviews of 2 to 40 sentences and their labels, half of them positive.

    Results on them say nothing about the real data, so wherever one is shown it is labelled.
    """
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(count) % 2).astype(np.int8)
    texts = []
    for label in labels:
        sentences = []
        for _ in range(int(random.integers(2, 41))):
            words = _GOOD if bool(label) == (random.random() < _AGREE) else _BAD
            frame = _FRAMES[random.integers(len(_FRAMES))]
            noun, other = random.choice(_NOUNS, 2, replace=False)
            # Squared: a few words are frequent and many are rare, as in a language.
            word = words[int(len(words) * random.random() ** 2)]
            sentences.append(frame.format(noun=noun, other=other, word=word))
        texts.append(". ".join(sentences) + ".")
    return texts, labels


def _files(config: Any, data_dir: Path) -> list[tuple[PublishedFile, Path]]:
    copies = config.data.archive, config.data.word_index
    return [
        (published, copy or data_dir / DATASET.name / published.name)
        for published, copy in zip(PUBLISHED.get(config.data.source, ()), copies, strict=False)
    ]


def _load_all(config: Any, data_dir: Path, screen: Screen) -> str:
    reviews = load_reviews(config.data, data_dir, config.split_seed, screen)
    counts = len(reviews.train.ids), len(reviews.test.ids)
    return f"{counts[0]:,} training and {counts[1]:,} test reviews, {reviews.origin}"


def _show(config: Any, data_dir: Path, screen: Screen, part: str, first: int, count: int) -> None:
    """Print reviews of one part as words, each with its label and length; raise ConfigError."""
    reviews = load_reviews(config.data, data_dir, config.split_seed, screen)
    split = reviews.train if part == "train" else reviews.test
    if first >= len(split.ids):
        raise ConfigError(f"--first {first}: there are {len(split.ids):,} {part} reviews")
    screen.note(f"{reviews.origin}: {len(reviews.vocabulary):,} words have an id")
    for index in range(first, min(first + count, len(split.ids))):
        ids = split.ids.review(index)
        label = reviews.labels[split.labels[index]]
        screen.show(Text(f"{part} {index}, {label}, {len(ids)} ids", style="bold"))
        screen.show(Text(reviews.decode(ids) + "\n"))


DATASET = Dataset("imdb", _files, _load_all, _show)
