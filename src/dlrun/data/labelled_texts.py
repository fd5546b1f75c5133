"""Read labelled texts as arrays: IMDB's reviews, synthetic reviews, or a user's texts."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from dlrun.config.data_sections import DataConfig, ReviewsDataConfig, UserTextsDataConfig
from dlrun.data import text_encoding, user_data
from dlrun.data.array_cache import Prepared, load_or_prepare_arrays
from dlrun.data.datasets_and_sources import DataOrigin, ReadContext, ShownRow
from dlrun.data.splits import (
    LabelledRowDivider,
    RowContents,
    RowHashes,
    hash_content,
    show_class_counts,
    stored_test_names,
)
from dlrun.data.tar_archives import read_tar_members
from dlrun.data.text_files import DataWarnings, RowNames, RowPlace, open_csv_table, read_text_file
from dlrun.errors import DataError

_MEMBER = re.compile(r"aclImdb/(train|test)/(pos|neg)/\d+_\d+\.txt")

TextsConfig = ReviewsDataConfig | UserTextsDataConfig
LabelledText = tuple[str, str, RowPlace | str]  # text, label and place


@dataclass(frozen=True)
class TextSource:
    """Holds an open source of labelled texts: its name, its number of texts, and their iterator."""

    place: str  # the path of the texts, or `train` or `test`
    count: int | None  # how many texts there are, if that is known
    rows: Iterator[LabelledText]


@dataclass(frozen=True)
class ReviewPart:
    """Holds the training reviews or the test reviews as word ids, bags of words and labels."""

    ids: text_encoding.RaggedWordIds  # every word of each review
    bags: sparse.csr_matrix  # binary, shape (n_reviews, width)
    labels: NDArray[np.int8] | NDArray[np.int64]  # class indices (n_reviews,); 1 is positive
    hashes: RowHashes  # they tell the words of each review, also those outside the vocabulary

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def contents(self) -> RowContents:
        """Tell the reviews apart, however their words are encoded."""
        return RowContents(self.hashes, self.labels)


@dataclass(frozen=True)
class Reviews:
    """Holds training and test reviews, vocabulary, class names, and where the reviews came from."""

    train: ReviewPart
    test: ReviewPart
    vocabulary: list[str]
    labels: list[str]
    origin: DataOrigin
    test_names: RowNames

    @property
    def width(self) -> int:
        """Count the word ids: the vocabulary and the special ids."""
        return int(self.train.bags.shape[1])

    def decode(self, ids: Iterable[int]) -> str:
        """Join the words that word ids encode."""
        return text_encoding.decode_ids(ids, [*text_encoding.SPECIAL, *self.vocabulary])

    def show_row(self, index: int, *, is_test: bool) -> ShownRow:
        part = self.test if is_test else self.train
        ids = part.ids.review(index).tolist()
        unknown = ids.count(text_encoding.UNKNOWN)
        return ShownRow(
            [
                ("label", self.labels[part.labels[index]]),
                ("words", f"{len(ids) - 1:,}, of which {unknown:,} are not in the vocabulary"),
                ("text", self.decode(ids)),
                ("ids", " ".join(map(str, ids))),
            ]
        )


def load_reviews(context: ReadContext[TextsConfig]) -> Reviews:
    """Load the reviews or texts of a source; prepared ones are cached in the data folder."""
    config = context.config
    key = [config.num_words, config.id]
    arrays, lists = load_or_prepare_arrays(context, key, _prepare)
    show_class_counts(context, (arrays, lists), "texts")
    train, test = (
        ReviewPart(
            text_encoding.RaggedWordIds(arrays[f"{part}_ids"], arrays[f"{part}_offsets"]),
            text_encoding.make_binary_matrix(
                arrays[f"{part}_bag_ids"], arrays[f"{part}_bag_offsets"], config.num_words + 3
            ),
            arrays[f"{part}_labels"],
            arrays[f"{part}_hashes"],
        )
        for part in ("train", "test")
    )
    test_names = stored_test_names(lists)
    return Reviews(train, test, lists["words"], lists["labels"], context.origin, test_names)


def _prepare(context: ReadContext[TextsConfig]) -> Prepared:
    """Encode the texts with the vocabulary of the training part."""
    config = context.config
    rows = LabelledRowDivider(context.warnings)
    texts = text_encoding.NumberedTexts()
    for source in context.source.read(context):
        rows.begin_part(source.place)
        name = Path(source.place).name
        with context.screen.progress(f"reading {name}", source.count, "texts") as bar:
            for done, (text, label, place) in enumerate(source.rows):
                words = text_encoding.split_words(text)
                content = " ".join(words) or text  # a text without a word repeats no other
                if rows.add(label, hash_content(content.encode()), place):
                    texts.append(words)
                if done % 500 == 0:
                    bar.to(done)
    labels, classes, is_test = rows.split(config, context.seed)
    if len(classes) == 2:
        labels = labels.astype(np.int8)  # torch's loss for more classes needs int64
    arrays, vocabulary = texts.encode(is_test, config.num_words)
    hashes = rows.content_hashes
    for part, in_part in (("train", ~is_test), ("test", is_test)):
        arrays[f"{part}_labels"] = labels[in_part]
        arrays[f"{part}_hashes"] = hashes[in_part]
    lists = {"words": vocabulary, "labels": classes, "warnings": context.warnings.lines()}
    return arrays, lists | rows.names_of_test_rows(is_test, config)


def read_own_texts(context: ReadContext[UserTextsDataConfig]) -> list[TextSource]:
    """Open a user's own labelled texts: one file or folder, or the training and the test part."""
    config = context.config
    sources = []
    for path in context.paths:
        count = None
        rows: Iterator[LabelledText]
        if path.is_dir():
            files = user_data.list_files_by_class(path, context.warnings)
            count = len(files)
            rows = _read_files(files, context.warnings)
        else:
            _, table = open_csv_table(path, config.columns, context.warnings, config.id)
            rows = (
                (row[config.text_column], row[config.label_column], place) for row, place in table
            )
        sources.append(TextSource(str(path), count, rows))
    return sources


def _read_files(
    files: Sequence[tuple[str, Path]], warnings: DataWarnings
) -> Iterator[LabelledText]:
    """Yield the text of each file with its label; leave out, with a warning, what is no text."""
    for label, file in files:
        try:
            yield read_text_file(file, warnings), label, RowPlace(file)
        except DataError as error:
            warnings.add(f"{error}: left out", file)


def read_generated_reviews(context: ReadContext[ReviewsDataConfig]) -> list[TextSource]:
    sources = []
    for place, seed in (("train", context.seed), ("test", context.seed + 1)):
        texts, labels = generate_reviews(context.config.sample_reviews, seed)
        classes = [context.source.labels[label] for label in labels]
        sources.append(_number_texts(place, [*zip(texts, classes, strict=True)]))
    return sources


def read_stanford_reviews(context: ReadContext[DataConfig]) -> list[TextSource]:
    """Read the training reviews and the test reviews of Stanford's IMDB archive."""
    (archive,) = context.paths
    class_of_folder = dict(zip(("neg", "pos"), context.source.labels, strict=True))
    texts: dict[str, list[tuple[str, str]]] = {"train": [], "test": []}
    for path, content in sorted(read_tar_members(archive, _MEMBER, context.screen)):
        _, part, folder, _ = path.split("/")
        texts[part].append((content.decode("utf-8", "replace"), class_of_folder[folder]))
    if not all(texts.values()):
        layout = "the archive's layout is aclImdb/{train,test}/{pos,neg}/ID_STARS.txt"
        raise DataError(f"{archive}: no reviews, or only training or test reviews", layout)
    return [_number_texts(part, texts[part]) for part in texts]


def _number_texts(part: str, texts: Sequence[tuple[str, str]]) -> TextSource:
    """Make a source of texts with their labels, which are known by their numbers."""
    numbered = enumerate(texts, start=1)
    rows = ((text, label, f"{part} {number}") for number, (text, label) in numbered)
    return TextSource(part, len(texts), rows)


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
    """Generate reviews of 2 to 40 sentences and their labels, half of them positive."""
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
