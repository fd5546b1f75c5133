"""A user's own texts become the arrays that the published reviews become."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dlrun.data import dataset_catalog, labelled_texts
from dlrun.data.splits import LabelledRowDivider
from dlrun.data.text_files import DataWarnings
from dlrun.data.user_data import check_own_data
from dlrun.system.console import Screen
from tests.conftest import Out
from tests.data.test_text_encoding import by_keras_rules
from tests.data.use import shipped_data, without_locks

Rows = Sequence[tuple[str, str]]


def written(path: Path, rows: Rows, header: tuple[str, str] = ("text", "label")) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([header, *rows])
    return path


def two_files(folder: Path, train: Rows, test: Rows) -> dict[str, Path]:
    """The config's keys for a file of each part."""
    return {"path": written(folder / "a.csv", train), "test": written(folder / "b.csv", test)}


def foldered(root: Path, rows: Rows) -> Path:
    for number, (text, label) in enumerate(rows):
        (root / label).mkdir(parents=True, exist_ok=True)
        (root / label / f"{number:05}.txt").write_text(text, encoding="utf-8")
    return root


def generated(count: int, seed: int) -> list[tuple[str, str]]:
    texts, labels = labelled_texts.generate_reviews(count, seed)
    return [(text, ("neg", "pos")[label]) for text, label in zip(texts, labels, strict=True)]


def load(folder: Path, seed: int = 0, **changes: Any) -> labelled_texts.Reviews:
    checked = shipped_data("text-dense", **{"num_words": 100} | changes)
    check_own_data(checked)
    return dataset_catalog.TEXTS.load(checked, folder / "data", seed, Screen())


def assert_encoded(
    reviews: labelled_texts.Reviews, train: Rows, test: Rows, num_words: int = 100
) -> None:
    """The arrays are those that texts at once become."""
    texts = [[text for text, _ in rows] for rows in (train, test)]
    words, *parts = by_keras_rules(*texts, num_words)
    assert reviews.vocabulary == words
    for split, ids, rows in zip((reviews.train, reviews.test), parts, (train, test), strict=True):
        assert split.ids.ids.dtype == np.uint16
        assert np.array_equal(split.ids.ids, ids.ids)
        assert np.array_equal(split.ids.offsets, ids.offsets)
        assert (split.bags != ids.bag_of_words(num_words + 3)).nnz == 0
        assert [reviews.labels[label] for label in split.labels] == [label for _, label in rows]


def test_two_files_are_encoded_as_the_published_reviews(tmp_path: Path) -> None:
    train, test = generated(30, 0), [*generated(20, 1), ("unseen words", "pos"), ("", "neg")]
    reviews = load(tmp_path, **two_files(tmp_path, train, test), num_words=40)
    assert_encoded(reviews, train, test, num_words=40)
    assert reviews.labels == ["neg", "pos"]
    assert reviews.train.labels.dtype == np.int8
    assert not reviews.origin.is_book


def test_words_are_ranked_by_the_training_part_alone(tmp_path: Path) -> None:
    texts = [f"{'late' if row % 2 else 'early'} w{row} w{row // 3}" for row in range(40)]
    rows = [*zip(texts, "ab" * 20, strict=True)]
    reviews = load(tmp_path, path=written(tmp_path / "a.csv", rows), test_share=0.4)
    labelled = LabelledRowDivider(DataWarnings())
    labelled.begin_part("x")
    for text, label in rows:
        labelled.add(label, hash(text), text)
    _, _, test = labelled.split(shipped_data("text-dense", test_share=0.4), 0)
    parts = [[row for row, held in zip(rows, test, strict=True) if held == part] for part in (0, 1)]
    assert_encoded(reviews, *parts)
    other = load(tmp_path, path=tmp_path / "a.csv", test_share=0.4, seed=1)
    assert not np.array_equal(other.test.ids.ids, reviews.test.ids.ids)
    assert len(without_locks(tmp_path / "data" / "texts")) == 2


def test_what_is_odd_is_one_warning_each_at_every_start(tmp_path: Path, capsys: Out) -> None:
    train = [("good", "a"), ("bad", "b"), ("...", "a"), ("bad", "c"), ("lost", ""), ("lost", " ")]
    test = [("fine", "a"), ("bad", "b"), ("good", "b"), ("...", "a")]
    places = two_files(tmp_path, train, test)
    a, b = places.values()
    for _ in range(2):
        load(tmp_path, **places)
        said = capsys.readouterr().err.splitlines()
        unlabelled, missing, repeated = (line for line in said if "warning: " in line)
        assert f"{a}:6: " in unlabelled and "class 'c': " in missing
        assert f"{b}: 3 of the test part" in repeated
        assert said[-1] == "8 texts of 3 classes: a, b, c"


def test_ids_hide_no_repeated_text(tmp_path: Path, capsys: Out) -> None:
    for name in "ab":
        rows = [f"{name}{row},some word{row},{'pn'[row % 2]}\n" for row in range(6)]
        (tmp_path / f"{name}.csv").write_text("key,text,label\n" + "".join(rows))
    load(tmp_path, path=tmp_path / "a.csv", test=tmp_path / "b.csv", id="key")
    assert "6 of the test part are in the training part too" in capsys.readouterr().err


def test_files_in_another_encoding_are_read_others_left_out(tmp_path: Path, capsys: Out) -> None:
    root = foldered(tmp_path / "texts", generated(20, 0))
    (root / "neg" / "x.png").write_bytes(b"\x89PNG\0\0")
    (root / "pos" / "y.txt").write_bytes(b"good\nna\xefve")
    reviews = load(tmp_path, path=root)
    said = capsys.readouterr().err
    assert said.count("warning: ") == 2
    assert f"warning: {root / 'neg' / 'x.png'}: not a text" in said
    assert f"warning: {root / 'pos' / 'y.txt'}:2: not UTF-8: read as Latin-1\n" in said
    assert len(reviews.train.labels) + len(reviews.test.labels) == 21


def test_test_texts_are_named_by_line_and_id_or_by_path(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    rows = [f'k{row},"word{row}\nfilm",{"ab"[row % 2]}\n' for row in range(40)]
    file.write_text("key,text,label\n" + "".join([*rows[:5], "x,left out,\n", *rows[5:]]))
    load(tmp_path, path=file)  # the cache of the same texts without ids is not used
    reviews = load(tmp_path, path=file, id="key")
    assert len(reviews.test) == len(reviews.test_names["id"]) == 8
    lines = file.read_text().split("\n")
    for row, (line, name) in enumerate(zip(*reviews.test_names.values(), strict=True)):
        assert lines[int(line) - 1] == f'{name},"word{name[1:]}'
        assert reviews.labels[reviews.test.labels[row]] == "ab"[int(name[1:]) % 2]
    root = foldered(tmp_path / "texts", [(f"word{row} film", "ab"[row % 2]) for row in range(10)])
    names = load(tmp_path, path=root).test_names
    assert [*names] == ["path"] and all((root / name).is_file() for name in names["path"])
