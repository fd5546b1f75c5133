"""Read labelled texts as arrays: IMDB's reviews, synthetic reviews, or a user's texts."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.text import Text
from scipy import sparse

from dlrun.config.data_sections import OwnDataConfig
from dlrun.data import text_encoding, user_data
from dlrun.data.archives import load_npz, read_tar
from dlrun.data.prepared import Prepared, load_or_prepare_arrays
from dlrun.data.sources import FIRST_ROWS, DataOrigin, FoundData
from dlrun.data.splits import ROW_NAMES, LabelledRows, RowNames, show_class_counts
from dlrun.data.user_data import TextSource
from dlrun.errors import DataError
from dlrun.system.console import Screen
from dlrun.system.files import read_regular_file

_MEMBER = re.compile(r"aclImdb/(train|test)/(pos|neg)/\d+_\d+\.txt")
_NO_WORD = "<UNK>"  # `split_words` never returns it


@dataclass(frozen=True)
class ReviewSplit:
    """Holds the training reviews or the test reviews as word ids, bags of words and labels."""

    ids: text_encoding.RaggedWordIds  # all of each review
    bags: sparse.csr_matrix  # binary, shape (n_reviews, width)
    labels: NDArray[np.int8] | NDArray[np.int64]  # class indices (n_reviews,); 1 is positive

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Reviews:
    """Holds training and test reviews, vocabulary, class names, and where the reviews came from."""

    train: ReviewSplit
    test: ReviewSplit
    vocabulary: list[str]
    labels: list[str]
    origin: DataOrigin
    test_names: RowNames

    @property
    def width(self) -> int:
        """Return the number of word ids: the size of the vocabulary plus the special ids."""
        return int(self.train.bags.shape[1])

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text that word ids encode."""
        return text_encoding.decode_word_ids(ids, self.vocabulary)


def make_reviews(found: FoundData) -> Reviews:
    """Return the reviews or texts that were found; prepared ones are cached in the data folder."""
    ids = getattr(found.config, "id", None)
    key = [found.source.name, found.config.num_words, *found.digests, ids]
    arrays, names = load_or_prepare_arrays(found, key, _prepare)
    if isinstance(found.config, OwnDataConfig):
        show_class_counts(arrays, names, "texts", found.screen)
    train, test = (
        ReviewSplit(
            text_encoding.RaggedWordIds(arrays[f"{part}_ids"], arrays[f"{part}_offsets"]),
            text_encoding.make_binary_matrix(
                arrays[f"{part}_bag_ids"], arrays[f"{part}_bag_offsets"], found.config.num_words + 3
            ),
            arrays[f"{part}_labels"],
        )
        for part in ("train", "test")
    )
    test_names = {key: names[key] for key in ROW_NAMES if key in names}
    return Reviews(train, test, names["words"], names["labels"], found.origin, test_names)


def _prepare(found: FoundData) -> Prepared:
    """Encode the texts; the vocabulary is of the training part, unless the source brings one."""
    config, warnings = found.config, found.warnings
    sources, vocabulary = found.source.read(found)
    rows = LabelledRows(warnings)
    texts = text_encoding.NumberedTexts(vocabulary)
    for source in sources:
        rows.begin_part(source.place)
        progress = f"reading {Path(source.place).name}", source.count, "texts"
        with found.screen.progress(*progress) as bar:
            for done, (text, label, where) in enumerate(source.rows):
                words = text_encoding.split_words(text) if isinstance(text, str) else text
                # A text without a word repeats nothing.
                content = hash(" ".join(words)) if words else None
                if not rows.add(label, content, where):
                    continue
                if not words:
                    warnings.add("a text without a word is kept, as an empty text", where)
                texts.append(words)
                if done % 500 == 0:
                    bar.to(done)
    labels, names, is_test = rows.split(config, found.seed)
    if len(names) == 2:
        labels = labels.astype(np.int8)  # torch's loss for more classes needs int64
    arrays, vocabulary = texts.encode(is_test, config.num_words)
    arrays |= {"train_labels": labels[~is_test], "test_labels": labels[is_test]}
    lists = {"words": vocabulary, "labels": names, "warnings": warnings.lines()}
    return arrays, lists | rows.name(is_test, config)


def read_own_texts(found: FoundData) -> tuple[list[TextSource], list[str]]:
    """Open a user's own texts, and return no vocabulary."""
    opened = [
        user_data.open_text_source(found.config, path, found.warnings, found.most_rows)
        for path in found.paths
    ]
    return opened, []


def check_own_texts(found: FoundData) -> None:
    """Raise DlrunError if the first rows of a user's own texts cannot be read."""
    if found.paths[0].is_dir():
        user_data.check_class_folders(found.paths)
        return
    rows, counts = LabelledRows(found.warnings), []
    for source in read_own_texts(found)[0]:
        rows.begin_part(source.place)
        counts.append(sum(rows.add(label, None, where) for _, label, where in source.rows))
    if max(counts) < FIRST_ROWS:  # they are all rows
        rows.split(found.config, found.seed)


def read_generated_reviews(found: FoundData) -> tuple[list[TextSource], list[str]]:
    """Generate reviews, and return no vocabulary."""
    count, seeds = found.config.sample_reviews, {"train": found.seed, "test": found.seed + 1}
    parts = {part: generate_reviews(count, seed) for part, seed in seeds.items()}
    return [_in_memory(found, part, *made) for part, made in parts.items()], []


def _in_memory(
    found: FoundData,
    place: str,
    texts: Iterable[str | list[str]],
    labels: Sequence[int] | NDArray[np.int8],
) -> TextSource:
    names = found.source.labels
    numbered = enumerate(zip(texts, labels, strict=True), start=1)
    rows = ((text, names[label], f"{place} {number}") for number, (text, label) in numbered)
    return TextSource(place, len(labels), rows)


def read_stanford_reviews(found: FoundData) -> tuple[list[TextSource], list[str]]:
    """Read the reviews of Stanford's archive, and return no vocabulary."""
    reviews: dict[str, dict[str, bytes]] = {
        f"aclImdb/{part}/{label}": {} for part in ("train", "test") for label in ("neg", "pos")
    }
    (archive,) = found.paths
    for path, content in read_tar(archive, _MEMBER, found.screen):
        folder, _, name = path.rpartition("/")
        reviews[folder][name] = content
    if empty := [folder for folder, contents in reviews.items() if not contents]:
        layout = "the archive's layout is aclImdb/{train,test}/{pos,neg}/ID_STARS.txt"
        raise DataError(f"{archive}: no reviews in {', '.join(empty)}", layout)
    sources = []
    for part in ("train", "test"):
        classes = reviews[f"aclImdb/{part}/neg"], reviews[f"aclImdb/{part}/pos"]
        ordered = (contents[name] for contents in classes for name in sorted(contents))
        texts = (review.decode("utf-8", "replace") for review in ordered)
        sources.append(_in_memory(found, part, texts, np.repeat([0, 1], [*map(len, classes)])))
    return sources, []


def read_keras_reviews(found: FoundData) -> tuple[list[TextSource], list[str]]:
    """Read the reviews of Keras's imdb.npz, and the ranked words of its imdb_word_index.json."""
    path, word_index = found.paths
    try:
        ranks = dict(json.loads(read_regular_file(word_index)))
        words = sorted(ranks, key=ranks.__getitem__)
        if [ranks[word] for word in words] != list(range(1, len(words) + 1)):
            raise ValueError("a rank is missing")  # all words would be shifted
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{word_index}: not Keras's word index: {error}") from None

    def to_words(ranks: Sequence[int]) -> list[str]:
        return [words[rank - 1] if rank <= len(words) else _NO_WORD for rank in ranks]

    sources: list[TextSource] = []
    arrays = load_npz(path)
    for part in ("train", "test"):
        x, y = arrays.get(f"x_{part}"), arrays.get(f"y_{part}")
        if x is None or y is None or x.shape != y.shape or not np.isin(y, (0, 1)).all():
            raise DataError(f"{path}: {part}: not Keras's reviews, each with a label 0 or 1")
        sources.append(_in_memory(found, part, map(to_words, x), y.astype(int)))
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
    """Return synthetic reviews of 2 to 40 sentences and their labels, half of them positive."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(count) % 2).astype(np.int8)
    texts = []
    for label in labels:
        sentences = []
        for _ in range(int(random.integers(2, 41))):
            words = _GOOD if bool(label) == (random.random() < _AGREE) else _BAD
            frame = _FRAMES[random.integers(len(_FRAMES))]
            noun, other = (_NOUNS[place] for place in random.choice(len(_NOUNS), 2, replace=False))
            # Squared: a few words are frequent and many are rare, as in a language.
            word = words[int(len(words) * random.random() ** 2)]
            sentences.append(frame.format(noun=noun, other=other, word=word))
        texts.append(". ".join(sentences) + ".")
    return texts, labels


def show_reviews(reviews: Reviews, screen: Screen, part: str, first: int, count: int) -> None:
    """Show reviews as the words of their ids."""
    split = reviews.train if part == "train" else reviews.test
    screen.note(f"{reviews.origin.text}: {len(reviews.vocabulary):,} words have an id")
    for index in range(first, min(first + count, len(split.ids))):
        ids = split.ids.review(index)
        label = reviews.labels[split.labels[index]]
        screen.show(Text(f"{part} {index}, {label}, {len(ids)} ids", style="bold"))
        screen.show(Text(reviews.decode(ids) + "\n"))
