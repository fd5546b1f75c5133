import io
import json
import random
import re
import string
import subprocess
import tarfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlrun.config.sections import ReviewsData
from dlrun.data import archives as archive_module
from dlrun.data import imdb, sample, text_sources
from dlrun.data.cache import SUMS
from dlrun.errors import ConfigError, DataError, DownloadError
from dlrun.system.console import Screen
from tests.data.left import without_locks
from tests.data.test_encoding import by_keras_rules
from tests.data.test_pickles import creating, objects

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
    folder: Path,
    reviews: dict[str, str] | None = None,
    mode: str = "w:gz",
    prefix: str = "aclImdb/",
    more: list[tarfile.TarInfo] | None = None,
) -> Path:
    path = folder / "reviews.tar.gz"
    with tarfile.open(path, mode) as archive:
        for member in more or []:
            archive.addfile(member, io.BytesIO(b"x" * member.size) if member.size else None)
        for name, text in (REVIEWS if reviews is None else reviews).items():
            member = tarfile.TarInfo(prefix + name)
            raw = text.encode()
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    return path


def config(**changes: Any) -> ReviewsData:
    values = {
        "source": "stanford",
        "path": None,
        "train": None,
        "test": None,
        "test_share": 0.2,
        "text_column": "text",
        "label_column": "label",
        "archive": None,
        "word_index": None,
        "mirrors": [],
        "num_words": 100,
        "validation": 1,
        "split_seed": None,
        "sample_reviews": 20,
    }
    return ReviewsData.model_validate(values | changes)


def load(folder: Path, seed: int = 0, **changes: Any) -> imdb.Reviews:
    return imdb.load(config(**changes), folder / "data", seed, Screen(quiet=True))


def caches(folder: Path) -> list[Path]:
    return without_locks(folder / "data" / "imdb")


def texts(reviews: imdb.Reviews, part: str) -> list[str]:
    split: imdb.Split = getattr(reviews, part)
    return [reviews.decode(split.ids.review(index)) for index in range(len(split.labels))]


def test_counts_labels_order_and_words(tmp_path: Path) -> None:
    reviews = load(tmp_path, archive=archive_of(tmp_path))
    assert reviews.vocabulary == WORDS
    assert reviews.train.labels.tolist() == [0, 0, 1, 1]
    assert reviews.test.labels.tolist() == [0, 0, 1]
    assert texts(reviews, "train") == [
        "<START> bad film the worst",
        "<START> it's bad",
        "<START> it's good it's good",
        "<START> a good film br br good",
    ]
    assert texts(reviews, "test") == [
        "<START> bad it's the <UNK>",  # 'worst' keeps its quotes: another word
        "<START>",
        "<START> good <UNK> film",
    ]
    assert reviews.train.ids.review(2).tolist() == [1, 5, 4, 5, 4]
    assert reviews.origin == "IMDB reviews (stanford, reviews.tar.gz)"
    assert reviews.differs == "reviews.tar.gz is not the published file"


def test_bags_hold_the_ids_of_the_reviews(tmp_path: Path) -> None:
    reviews = load(tmp_path, archive=archive_of(tmp_path))
    for split in (reviews.train, reviews.test):
        assert split.bags.shape == (len(split.labels), 103)
        for index in range(len(split.labels)):
            row = split.bags[index].toarray()[0]
            assert np.flatnonzero(row).tolist() == sorted(set(split.ids.review(index).tolist()))
            assert set(row.tolist()) == {0, 1}
    assert reviews.width == 103


def test_ids_at_or_above_num_words_are_unknown(tmp_path: Path) -> None:
    alphabet = " ".join(letter * (27 - rank) for rank, letter in enumerate("abcdefghijklm"))
    counted = " ".join(" ".join([word] * (20 - rank)) for rank, word in enumerate(alphabet.split()))
    reviews = load(
        tmp_path,
        archive=archive_of(tmp_path, REVIEWS | {"train/pos/5_8.txt": counted}),
        num_words=10,
    )
    known = {int(id_) for id_ in reviews.train.ids.ids}
    assert known == {1, 2, *range(4, 10)}
    assert reviews.width == 13


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("prefix", ["aclImdb/", "./aclImdb/"])
def test_an_archive_is_known_by_its_contents(tmp_path: Path, mode: str, prefix: str) -> None:
    reviews = load(tmp_path, archive=archive_of(tmp_path, mode=mode, prefix=prefix))
    assert reviews.vocabulary == WORDS


def test_what_is_no_review_is_ignored(tmp_path: Path) -> None:
    names = [
        "README",
        "imdb.vocab",
        "train/urls_pos.txt",
        "train/unsup/0_0.txt",
        "train/labeled.txt",
    ]
    names += [
        "train/pos/notes.txt",
        "train/pos/1_2.txt.bak",
        "train/pos/x_1.txt",
        "valid/pos/1_1.txt",
    ]
    names += ["train/pos/../neg/9_9.txt", "test/pos/sub/1_1.txt"]
    others = dict.fromkeys(names, "strange words")
    archive = archive_of(tmp_path, REVIEWS | others)
    assert load(tmp_path, archive=archive).vocabulary == WORDS


def test_a_name_that_only_ends_like_a_review_is_ignored(tmp_path: Path) -> None:
    strange = {"train/pos/8_8.txt": "strange words"}
    with pytest.raises(DataError, match="no reviews in"):
        load(tmp_path, archive=archive_of(tmp_path, strange, prefix="../aclImdb/"))
    with pytest.raises(DataError, match="no reviews in"):
        load(tmp_path, archive=archive_of(tmp_path, strange, prefix="/aclImdb/"))


def test_links_and_pipes_in_the_archive_are_ignored(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    more = []
    for number, kind in enumerate([tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE]):
        member = tarfile.TarInfo(f"aclImdb/train/pos/{number + 50}_8.txt")
        member.type, member.linkname = kind, str(secret)
        more.append(member)
    folder = tarfile.TarInfo("aclImdb/train/pos/70_7.txt")
    folder.type = tarfile.DIRTYPE
    reviews = load(tmp_path, archive=archive_of(tmp_path, more=[*more, folder]))
    assert reviews.vocabulary == WORDS
    assert len(reviews.train.labels) == 4


def test_bytes_that_are_no_text_do_not_end_it(tmp_path: Path) -> None:
    path = tmp_path / "reviews.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in REVIEWS.items():
            raw = b"caf\xe9 good" if name.startswith("train/pos/10") else text.encode()
            member = tarfile.TarInfo(f"aclImdb/{name}")
            member.size = len(raw)
            archive.addfile(member, io.BytesIO(raw))
    assert texts(load(tmp_path, archive=path), "train")[2] == "<START> caf\ufffd good"


@pytest.mark.parametrize("missing", ["train/pos", "train/neg", "test/pos", "test/neg"])
def test_a_missing_folder_is_named(tmp_path: Path, missing: str) -> None:
    left = {name: text for name, text in REVIEWS.items() if not name.startswith(missing)}
    with pytest.raises(DataError, match=f"no reviews in aclImdb/{missing}$") as caught:
        load(tmp_path, archive=archive_of(tmp_path, left))
    assert "aclImdb/{train,test}/{pos,neg}/ID_STARS.txt" in caught.value.hint


def contents(archive: Path) -> list[list[Any]]:
    return [list(part.rows()) for part in text_sources.read_stanford(archive, Screen(quiet=True))]


@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_a_truncated_archive_is_refused_wherever_it_ends(tmp_path: Path, mode: str) -> None:
    letters = random.Random(0)
    many = {
        f"{part}/{label}/{number}_5.txt": "".join(letters.choices(string.ascii_letters, k=300))
        for part in ("train", "test")
        for label in ("pos", "neg")
        for number in range(4)
    }
    archive = archive_of(tmp_path, many, mode)
    raw = archive.read_bytes()
    whole = contents(archive)
    refused = 0
    for end in range(0, len(raw), 3 if mode == "w:gz" else 97):
        archive.write_bytes(raw[:end])
        try:
            found = contents(archive)
        except DataError as error:
            assert str(archive) in error.message
            refused += 1
        else:  # only the padding behind the last review is gone
            assert found == whole
    assert refused > 0.75 * len(range(0, len(raw), 3 if mode == "w:gz" else 97))


@pytest.mark.parametrize(
    "content", [b"", b"\x1f\x8b\x08", b"no archive", b"\0" * 99, b"PK\x03\x04"]
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "reviews.tar.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"reviews\.tar\.gz: damaged, or not a tar archive"):
        load(tmp_path, archive=path)


def test_a_flipped_bit_in_a_header_is_no_end(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, mode="w")
    raw = bytearray(archive.read_bytes())
    raw[raw.rindex(b"aclImdb/test/neg/3_4.txt")] ^= 1
    archive.write_bytes(raw)
    with pytest.raises(DataError, match="damaged"):
        load(tmp_path, archive=archive)


def test_a_missing_file_and_a_folder_are_data_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.tar\.gz: no such file"):
        load(tmp_path, archive=tmp_path / "none.tar.gz")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        load(tmp_path, archive=tmp_path)


def test_a_review_of_a_megabyte_is_refused(tmp_path: Path) -> None:
    large = tarfile.TarInfo("aclImdb/train/pos/99_9.txt")
    large.size = text_sources.MAX_REVIEW_BYTES + 1
    with pytest.raises(DataError, match=r"train/pos/99_9\.txt has 1,048,577 bytes: refused"):
        load(tmp_path, archive=archive_of(tmp_path, more=[large]))


def test_an_archive_of_untold_size_is_refused_by_its_first_header(tmp_path: Path) -> None:
    member = tarfile.TarInfo("aclImdb/huge")
    member.size = archive_module.MAX_TOTAL_BYTES + 1
    path = tmp_path / "reviews.tar"
    path.write_bytes(member.tobuf())
    with pytest.raises(DataError, match="far larger than the published archive: refused"):
        load(tmp_path, archive=path)


def test_the_second_load_reads_the_cache(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = archive_of(tmp_path)
    prepare = [imdb.load(config(archive=archive), tmp_path / "data", 0, Screen()) for _ in range(2)]
    assert capsys.readouterr().err.count("preparing the reviews of") == 1
    first, second = prepare
    assert first.vocabulary == second.vocabulary
    assert np.array_equal(first.train.ids.ids, second.train.ids.ids)
    assert len(caches(tmp_path)) == 1


def test_what_takes_long_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In plain lines; on a terminal by a bar with the share that is done."""
    stanford, keras = {"archive": archive_of(tmp_path)}, keras_files(tmp_path)
    for files, said in ((stanford, "reading the archive"), (keras, "reading the arrays")):
        source = config(**files)
        imdb.load(source, tmp_path / "plain", 0, Screen())
        preparing, *lines = capsys.readouterr().err.splitlines()
        assert preparing == f"preparing the reviews of {source.archive} (once)"
        assert lines == [said]
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    imdb.load(config(**stanford), tmp_path / "terminal", 0, Screen())
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert re.search("reading the archive [━╸╺ ]+100 % elapsed ", shown)


def test_the_cache_has_what_was_prepared(tmp_path: Path) -> None:
    archive = archive_of(tmp_path)
    train, test = ([text for text, *_ in rows] for rows in contents(archive))
    words, *expected = by_keras_rules(train, test, 100)
    reviews = load(tmp_path, archive=archive)
    assert reviews.vocabulary == words
    for split, ids in zip((reviews.train, reviews.test), expected, strict=True):
        assert np.array_equal(split.ids.ids, ids.ids)
        assert np.array_equal(split.ids.offsets, ids.offsets)
        assert (split.bags != ids.bag_of_words(103)).nnz == 0
        assert (split.bags.dtype, split.labels.dtype) == (np.float32, np.int8)


def test_another_parameter_or_source_makes_another_cache(tmp_path: Path) -> None:
    archive = archive_of(tmp_path)
    load(tmp_path, archive=archive)
    assert load(tmp_path, archive=archive, num_words=50).width == 53
    assert len(caches(tmp_path)) == 2
    load(tmp_path, archive=archive, validation=2, seed=5)  # no part of what is prepared
    assert len(caches(tmp_path)) == 2
    changed = archive_of(tmp_path, REVIEWS | {"test/pos/1_9.txt": "more"})
    assert len(load(tmp_path, archive=changed).test.labels) == 4
    assert len(caches(tmp_path)) == 3


def test_a_renamed_archive_keeps_its_cache(tmp_path: Path) -> None:
    archive = archive_of(tmp_path)
    load(tmp_path, archive=archive)
    assert load(tmp_path, archive=archive.rename(tmp_path / "other.bin")).origin.endswith(
        "other.bin)"
    )
    assert len(caches(tmp_path)) == 1


FILES = ["about.json"] + [
    f"{part}_{name}.npy"
    for part in ("train", "test")
    for name in ("ids", "offsets", "bag_ids", "bag_offsets", "labels")
]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("content", [None, b"", b"{}", b"\x93NUMPY\x01\x00v\x00{'descr'"])
def test_a_damaged_cache_is_made_again(
    tmp_path: Path, file: str, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = archive_of(tmp_path)
    load(tmp_path, archive=archive)
    (cache,) = caches(tmp_path)
    if content is None:
        (cache / file).unlink()
    else:
        (cache / file).write_bytes(content)
    assert load(tmp_path, archive=archive).vocabulary == WORDS
    assert re.search(f"{cache}: damaged, made again: .*{file}", capsys.readouterr().err)
    assert load(tmp_path, archive=archive).vocabulary == WORDS
    assert capsys.readouterr().err == ""


def test_a_cache_of_version_0_1_has_no_checksums_and_is_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = archive_of(tmp_path)
    load(tmp_path, archive=archive)
    (cache,) = caches(tmp_path)
    (cache / SUMS).unlink()
    assert load(tmp_path, archive=archive).vocabulary == WORDS
    assert "damaged, made again: no SHA256SUMS" in capsys.readouterr().err


def test_coreutils_read_the_sums(tmp_path: Path) -> None:
    load(tmp_path, archive=archive_of(tmp_path))
    (cache,) = caches(tmp_path)
    command = ["sha256sum", "--check", "--strict", SUMS]
    done = subprocess.run(command, cwd=cache, capture_output=True, text=True, check=True)
    assert done.stdout.count(": OK") == len(FILES)


def test_a_failed_preparation_leaves_no_cache(tmp_path: Path) -> None:
    archive = archive_of(tmp_path, {})
    with pytest.raises(DataError):
        load(tmp_path, archive=archive)
    assert caches(tmp_path) == []


def test_many_may_prepare_at_once(tmp_path: Path) -> None:
    archive = archive_of(tmp_path)
    found: list[list[str]] = []
    together = threading.Barrier(6)

    def prepare() -> None:
        together.wait(timeout=10)
        found.append(load(tmp_path, archive=archive).vocabulary)

    threads = [threading.Thread(target=prepare) for _ in range(together.parties)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [WORDS] * 6
    assert len(caches(tmp_path)) == 1


def test_a_data_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(DataError, match=r"data folder .*: Not a directory") as caught:
        load(tmp_path, archive=archive_of(tmp_path))
    assert "DLRUN_DATA_DIR" in caught.value.hint


def test_no_data_and_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLRUN_OFFLINE", "1")
    with pytest.raises(DownloadError, match=r"aclImdb_v1\.tar\.gz is not in") as caught:
        load(tmp_path)
    assert f"put aclImdb_v1.tar.gz into {tmp_path / 'data' / 'imdb'}" in caught.value.hint
    assert "data.source=sample" in caught.value.hint
    (tmp_path / "data" / "imdb").mkdir(parents=True)
    archive_of(tmp_path).rename(tmp_path / "data" / "imdb" / "aclImdb_v1.tar.gz")
    assert load(tmp_path).vocabulary == WORDS


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"source": "stanford", "archive": "none"}, r"^data\.archive: .*none: no such file$"),
        ({"source": "stanford", "archive": "zip"}, "zip: not a tar archive$"),
        ({"source": "keras", "archive": "tar"}, "tar: not a zip archive$"),
        ({"source": "keras", "word_index": "none"}, r"^data\.word_index: .*none: no such file$"),
        ({"source": "sample", "validation": 20}, "^data.validation: 20 .* held out of 20$"),
    ],
)
def test_what_is_wrong_is_known_before_a_run(
    tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    (tmp_path / "zip").write_bytes(b"PK\x03\x04")
    (tmp_path / "tar").write_bytes(b"\x1f\x8b\x08")
    paths = {key: tmp_path / changes[key] for key in ("archive", "word_index") if key in changes}
    with pytest.raises(ConfigError, match=problem):
        imdb.check(config(**changes | paths))


def test_what_can_be_read_passes_the_check(tmp_path: Path) -> None:
    imdb.check(config(archive=archive_of(tmp_path)))
    imdb.check(config())
    imdb.check(config(source="sample", archive=tmp_path / "none", validation=19))
    imdb.check(config(**keras_files(tmp_path)))


def test_the_vocabulary_is_of_the_words_that_have_an_id(tmp_path: Path) -> None:
    reviews = load(tmp_path, archive=archive_of(tmp_path), num_words=10)
    highest = max(int(split.ids.ids.max()) for split in (reviews.train, reviews.test))
    assert highest == 3 + len(reviews.vocabulary)
    assert reviews.vocabulary == WORDS[:6]
    assert reviews.decode([4, 9]) == f"{reviews.vocabulary[0]} {reviews.vocabulary[5]}"


def test_sample_reviews_are_labelled_as_generated_and_seeded(tmp_path: Path) -> None:
    reviews, again = (load(tmp_path, seed=4, source="sample") for _ in range(2))
    assert reviews.differs == "the data are generated"
    assert reviews.origin == "generated sample reviews (2 x 20, seed 4)"
    assert np.array_equal(reviews.train.ids.ids, again.train.ids.ids)
    assert (
        load(tmp_path, seed=6, source="sample").train.ids.ids.tolist()
        != again.train.ids.ids.tolist()
    )
    assert reviews.train.labels.tolist() == sample.reviews(20, 4)[1].tolist()
    assert reviews.test.labels.tolist() == sample.reviews(20, 5)[1].tolist()
    assert not (tmp_path / "data").exists()


RANKS = {"the": 1, "and": 2, "it's": 3, "rare": 4}
KERAS = {
    "x_train": objects([1, 2, 200], [3]),
    "y_train": np.array([0, 1]),
    "x_test": objects([2], [1, 1], []),
    "y_test": np.array([1, 0, 1]),
}


def keras_files(folder: Path, index: object = RANKS, **changes: Any) -> dict[str, Any]:
    """Files as numpy and json write them; the config's keys that name them."""
    arrays, words = folder / "imdb.npz", folder / "imdb_word_index.json"
    kept = {name: array for name, array in (KERAS | changes).items() if array is not None}
    np.savez(arrays, **kept)
    words.write_text(index if isinstance(index, str) else json.dumps(index), encoding="utf-8")
    return {"source": "keras", "archive": arrays, "word_index": words}


def test_keras_arrays_become_the_same_ids_as_in_keras(tmp_path: Path) -> None:
    files = keras_files(tmp_path)
    reviews = load(tmp_path, **files)
    assert [reviews.train.ids.review(row).tolist() for row in range(2)] == [[1, 4, 5, 2], [1, 6]]
    assert texts(reviews, "train") == ["<START> the and <UNK>", "<START> it's"]
    assert texts(reviews, "test") == ["<START> and", "<START> the the", "<START>"]
    assert reviews.train.labels.tolist() == [0, 1]
    assert reviews.test.labels.tolist() == [1, 0, 1]
    assert reviews.vocabulary == ["the", "and", "it's", "rare"]
    assert reviews.origin == "IMDB reviews (keras, imdb.npz)"


def test_keras_reviews_of_one_length_make_a_square_array(tmp_path: Path) -> None:
    files = keras_files(tmp_path, x_train=np.array([[1, 2], [3, 1]], dtype=object))
    assert texts(load(tmp_path, **files), "train") == ["<START> the and", "<START> it's the"]


def test_keras_reviews_in_fortran_order(tmp_path: Path) -> None:
    files = keras_files(tmp_path, x_train=np.asfortranarray([[1, 2], [3, 1]]))
    assert texts(load(tmp_path, **files), "train") == ["<START> the and", "<START> it's the"]


def test_keras_cache_depends_on_both_files(tmp_path: Path) -> None:
    load(tmp_path, **keras_files(tmp_path))
    other = load(tmp_path, **keras_files(tmp_path, index=RANKS | {"new": 5}))
    assert "new" in other.vocabulary
    assert len(caches(tmp_path)) == 2


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"y_test": None}, "no item named 'y_test.npy'"),
        ({"y_train": np.array([0])}, "train has reviews"),
        ({"x_train": objects(), "y_train": np.array([])}, "train has reviews"),
        ({"y_train": np.array([0, 7])}, "labels in train are not 0 and 1"),
        ({"y_test": objects("a", "b", "c")}, "labels in test are not 0 and 1"),
        ({"y_test": np.zeros(3, "V8")}, "labels in test are not 0 and 1"),
        ({"y_test": np.zeros(3, complex)}, "labels in test are not 0 and 1"),
        ({"y_test": objects([0], [1], [0])}, "labels in test are not 0 and 1"),
        ({"x_train": objects([1.5], [1])}, "not Keras's reviews"),
        ({"y_train": np.array([[0], [1]])}, "train has reviews"),
        ({"x_train": np.array(5), "y_train": np.array(1)}, "imdb.npz"),
        ({"x_train": np.array([1, 2])}, "not Keras's reviews"),
        ({"x_train": objects([-9], [1])}, "a word of rank -9"),
        ({"x_train": objects("words", "words")}, "not Keras's reviews"),
        ({"x_train": objects(None, [1])}, "not Keras's reviews"),
        ({"index": "[1, 2]"}, "not Keras's word index"),
        ({"index": '{"a": Infinity}'}, "not Keras's word index"),
        ({"index": '{"a": null}'}, "not Keras's word index"),
        ({"index": '{"a"'}, "not Keras's word index"),
        ({"index": "[" * 100_000}, "not Keras's word index"),
        ({"index": {"the": 1, "it's": 3}}, "of 2 words none has the rank 2"),
        ({"index": {"the": 1, "and": 1}}, "of 2 words none has the rank 2"),
        ({"index": {"the": True, "and": 2}}, "of 2 words none has the rank 1"),
    ],
)
def test_what_is_not_keras_is_a_data_error(
    tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(DataError, match=problem):
        load(tmp_path, **keras_files(tmp_path, **changes))
    assert caches(tmp_path) == []


@pytest.mark.parametrize("name", KERAS)
def test_a_hostile_npz_runs_nothing(tmp_path: Path, name: str) -> None:
    created = tmp_path / "created"
    files = keras_files(tmp_path, **{name: objects(creating(created), [1], [1])})
    with pytest.raises(DataError, match=r"refused: it asks for subprocess\.call"):
        load(tmp_path, **files)
    assert not created.exists()
    with np.load(files["archive"], allow_pickle=True) as arrays:
        assert len(arrays[name]) == 3
    assert created.exists(), "the payload is a real one"
