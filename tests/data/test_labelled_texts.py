"""The published reviews become a vocabulary, ids and bags of words."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dlrun.data import dataset_catalog, labelled_texts
from dlrun.data.datasets_and_sources import DataOrigin
from dlrun.system.console import Screen
from tests.data.use import shipped_data, without_locks

REVIEWS = {
    "train/pos/2_7.txt": "A good film.<br /><br />Good",
    "train/pos/10_9.txt": "It's GOOD, it's good!",
    "train/neg/0_3.txt": "Bad film; the worst",
    "train/neg/1_1.txt": "It's bad",
    "test/pos/0_10.txt": "good unseen film",
    "test/neg/0_2.txt": "bad: it's the 'worst'",
    "test/neg/3_4.txt": "",
}
# Training words in reading order: neg/0_3, neg/1_1, pos/10_9, pos/2_7.
WORDS = ["good", "it's", "bad", "film", "br", "the", "worst", "a"]


def archive_of(
    folder: Path, reviews: Mapping[str, str | bytes] = REVIEWS, *links: tarfile.TarInfo
) -> Path:
    path = folder / "reviews.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for link in links:
            archive.addfile(link)
        for name, text in reviews.items():
            member = tarfile.TarInfo(f"aclImdb/{name}")
            raw = text.encode() if isinstance(text, str) else text
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return path


def config(**changes: Any) -> Any:
    sizes = {"num_words": 100, "validation": 1, "sample_reviews": 20}
    return shipped_data("imdb-dense", **sizes | changes)


def load(folder: Path, seed: int = 0, **changes: Any) -> labelled_texts.Reviews:
    return dataset_catalog.IMDB.load(config(**changes), folder / "data", seed, Screen(quiet=True))


def caches(folder: Path) -> list[Path]:
    return without_locks(folder / "data" / "imdb")


def texts(reviews: labelled_texts.Reviews, part: str) -> list[str]:
    split: labelled_texts.ReviewPart = getattr(reviews, part)
    return [reviews.decode(split.ids.review(index)) for index in range(len(split.labels))]


def test_an_archive_becomes_labelled_texts_and_a_ranked_vocabulary(tmp_path: Path) -> None:
    reviews = load(tmp_path, archive=archive_of(tmp_path))
    assert reviews.vocabulary == WORDS
    assert reviews.train.labels.tolist() == [0, 0, 1, 1]
    assert reviews.test.labels.tolist() == [0, 0, 1]
    train = ["bad film the worst", "it's bad", "it's good it's good", "a good film br br good"]
    assert texts(reviews, "train") == [f"<START> {text}" for text in train]
    test = [" bad it's the <UNK>", "", " good <UNK> film"]  # 'worst' in quotes is another word
    assert texts(reviews, "test") == [f"<START>{text}" for text in test]
    assert reviews.train.ids.review(2).tolist() == [1, 5, 4, 5, 4]
    assert reviews.origin.text.startswith("IMDB reviews (not as published, ")
    assert not reviews.origin.is_book


def test_what_is_no_review_is_ignored(tmp_path: Path) -> None:
    names = (
        "README train/urls_pos.txt train/unsup/0_0.txt train/pos/notes.txt train/pos/1_2.txt.bak"
    )
    names += " train/pos/x_1.txt valid/pos/1_1.txt train/pos/../neg/9_9.txt test/pos/sub/1_1.txt"
    link = tarfile.TarInfo("aclImdb/train/pos/50_8.txt")
    link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
    others = dict.fromkeys(names.split(), "strange words")
    reviews = load(tmp_path, archive=archive_of(tmp_path, REVIEWS | others, link))
    assert reviews.vocabulary == WORDS
    assert len(reviews.train.labels) == 4
    latin1 = archive_of(tmp_path, {**REVIEWS, "train/pos/10_9.txt": b"caf\xe9 good"})
    assert texts(load(tmp_path, archive=latin1), "train")[2] == "<START> caf\ufffd good"


def test_another_parameter_or_source_makes_another_cache(tmp_path: Path) -> None:
    archive = archive_of(tmp_path)
    origin = load(tmp_path, archive=archive).origin
    renamed = archive.rename(tmp_path / "other.bin")
    assert load(tmp_path, archive=renamed).origin == origin, "the same data"
    load(tmp_path, archive=renamed, validation=2, seed=5)  # no part of what is prepared
    assert len(caches(tmp_path)) == 1
    assert load(tmp_path, archive=renamed, num_words=50).width == 53
    changed = archive_of(tmp_path, REVIEWS | {"test/pos/1_9.txt": "more"})
    assert len(load(tmp_path, archive=changed).test.labels) == 4
    assert len(caches(tmp_path)) == 3


def test_sample_reviews_are_labelled_as_generated_and_seeded(tmp_path: Path) -> None:
    reviews, again, other = (load(tmp_path, seed=seed, source="sample") for seed in (4, 4, 6))
    assert reviews.origin == DataOrigin("generated sample reviews (20)", is_generated=True)
    assert np.array_equal(reviews.train.ids.ids, again.train.ids.ids)
    assert not np.array_equal(reviews.train.ids.ids, other.train.ids.ids)
    assert reviews.train.labels.tolist() == labelled_texts.generate_reviews(20, 4)[1].tolist()
    assert reviews.test.labels.tolist() == labelled_texts.generate_reviews(20, 5)[1].tolist()
    assert not (tmp_path / "data").exists()
