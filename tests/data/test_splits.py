"""Rows are divided into parts, and labels into classes."""

from collections.abc import Sequence

import numpy as np
import pytest

from dlrun.data.splits import LabelledRowDivider, split_off_validation
from dlrun.data.text_files import DataWarnings
from dlrun.errors import DataError
from dlrun.system.console import Screen
from tests.conftest import Out
from tests.data.use import shipped_data


def division(share: float) -> object:
    return shipped_data("text-dense", test_share=share)


def parts(rows: int, validation: float | None, seed: int = 3) -> list[list[int]]:
    found = split_off_validation(validation, range(rows), range(7), seed, Screen())
    return [part.tolist() for part in found]


def test_the_split_is_seeded_complete_and_ordered() -> None:
    fitted, held = parts(100, 20)
    assert (len(fitted), len(held)) == (80, 20)
    assert sorted([*fitted, *held]) == list(range(100))
    assert (np.diff(fitted) > 0).all() and (np.diff(held) > 0).all()
    assert parts(100, 20) == [fitted, held]
    assert parts(100, 20, seed=4)[1] != held
    assert set(parts(100, 5)[1]) < set(held)


@pytest.mark.parametrize(
    ("rows", "validation", "held"),
    [(25_000, None, 2000), (2008, None, 402), (2008, 2000, 2000), (3, 0.1, 1)],
)
def test_how_many_are_held_out(rows: int, validation: float | None, held: int, capsys: Out) -> None:
    fitted, valid = parts(rows, validation)
    assert (len(fitted), len(valid)) == (rows - held, held)
    said = capsys.readouterr().err
    assert f"{rows - held:,} to fit, {held:,} for validation, 7 for the test" in said


def rows_of(train: Sequence[str], test: Sequence[str] = ()) -> LabelledRowDivider:
    """Rows with these labels; each has a content of its own."""
    rows = LabelledRowDivider(DataWarnings())
    contents = iter(range(len(train) + len(test)))
    for place, labels in (("a.csv", train), ("b.csv", test)):
        if labels or place == "a.csv":
            rows.begin_part(place)
        for line, label in enumerate(labels, start=2):
            rows.add(label, next(contents), f"{place}:{line}")
    return rows


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["pos", "neg"], ["neg", "pos"]),
        (["10", "9", "-1", "2.5"], ["-1", "2.5", "9", "10"]),
        (["10", "9", "x"], ["10", "9", "x"]),
        (["b", " a ", "c\td", "b ", "a", "c d"], ["a", "b", "c d"]),
    ],
)
def test_numbers_are_sorted_by_value_words_by_letter(names: list[str], expected: list[str]) -> None:
    labels, ordered, is_test = rows_of(names, names).split(division(0.2), 0)
    assert ordered == expected
    assert [ordered[label] for label in labels] == [" ".join(name.split()) for name in names] * 2
    assert is_test.tolist() == [False] * len(names) + [True] * len(names)


@pytest.mark.parametrize(("share", "held"), [(0.2, [10, 2, 1, 0]), (0.9, [45, 9, 1, 0])])
def test_a_share_of_each_class_is_held_out_never_all(share: float, held: list[int]) -> None:
    rows = rows_of(["a"] * 50 + ["b"] * 10 + ["c"] * 2 + ["d"])
    labels, _, test = rows.split(division(share), 0)
    again, other = (rows.split(division(share), seed)[2] for seed in (0, 1))
    assert np.bincount(labels[test], minlength=4).tolist() == held
    assert np.array_equal(test, again) and not np.array_equal(test, other)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ("a", "a", "a.csv: all rows are of the class 'a'"),
        ("abc", "", "a.csv: 3 classes in 3 rows"),
        ("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZaa", "", "52 classes in 54 rows"),
        ("aab", "c", "b.csv:2: the label 'c' is in no row of the training part"),
    ],
)
def test_too_few_or_too_many_classes_are_an_error(train: str, test: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        rows_of(train, test).split(division(0.2), 0)


def test_a_few_rows_of_each_of_some_classes_are_enough() -> None:
    _, names, is_test = rows_of("abcdefghij", "abcde").split(division(0.2), 0)
    assert (len(names), is_test.sum()) == (10, 5)
