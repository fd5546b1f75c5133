"""Rows are divided into parts, and labels into classes."""

import numpy as np
import pytest

from dlrun.data import splits
from dlrun.data.splits import ClassNumbers, choose_test_rows, sort_classes, split_off_validation
from dlrun.data.text_files import DataWarnings
from dlrun.errors import ConfigError, DataError
from dlrun.system.console import Screen
from tests.data.test_imdb import config


def parts(rows: int, validation: float | None, seed: int = 3) -> list[list[int]]:
    data = config(validation=validation)
    found = split_off_validation(data, range(rows), range(7), seed, Screen())
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
    [
        (25_000, None, 2000),
        (2008, None, 402),
        (10_001, None, 2000),
        (2, None, 1),
        (2008, 2000, 2000),
        (50_000, 0.2, 10_000),
        (3, 0.1, 1),
    ],
)
def test_how_many_are_held_out(
    rows: int, validation: float | None, held: int, capsys: pytest.CaptureFixture[str]
) -> None:
    fitted, valid = parts(rows, validation)
    assert (len(fitted), len(valid)) == (rows - held, held)
    said = capsys.readouterr().err
    assert f"{rows - held:,} to fit, {held:,} for validation, 7 for the test" in said
    assert ("warning: " in said) == (held > rows - held)


@pytest.mark.parametrize(("rows", "validation"), [(20, 20), (20, 2000), (1, None), (1, 0.5)])
def test_all_held_out_is_an_error(rows: int, validation: float | None) -> None:
    with pytest.raises(ConfigError, match=rf"^data\.validation: .* held out of {rows}$"):
        parts(rows, validation)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["pos", "neg"], ["neg", "pos"]),
        (["10", "9", "-1", "2.5"], ["-1", "2.5", "9", "10"]),
        (["10", "9", "x"], ["10", "9", "x"]),
        (["nan", "inf", "1"], ["1", "inf", "nan"]),
        (["\u00e4", "b", "=1+1"], ["=1+1", "b", "\u00e4"]),
    ],
)
def test_numbers_are_sorted_by_value_and_words_by_letters(
    names: list[str], expected: list[str]
) -> None:
    labels, ordered = sort_classes(np.arange(len(names)), names)
    assert ordered == expected
    assert [ordered[label] for label in labels] == names


def test_labels_are_numbered_as_they_appear_and_blanks_do_not_count() -> None:
    classes = ClassNumbers()
    labels = ["b", " a ", "b ", "a", "c\td", "c d", "", " "]
    assert [classes.number(label, "x") for label in labels] == [0, 1, 0, 1, 2, 2, -1, -1]
    assert classes.names == ["b", "a", "c d"]
    with pytest.raises(DataError, match="t.csv:3: the label 'c d' is in no row of the training"):
        classes.number("c d", "t.csv:3", known=2)


@pytest.mark.parametrize(
    "label", ["a\x1b[31m", "a\u202eb", "a\x00", "a\udc80", "x" * 300, "one too many"]
)
def test_a_label_that_is_no_class_is_refused_with_its_place(
    label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splits, "MAX_CLASSES", 1 if label == "one too many" else 9)
    classes = ClassNumbers()
    classes.number("a", "f.csv:2")
    with pytest.raises(DataError, match=r"^f\.csv:7: the label ") as caught:
        classes.number(label, "f.csv:7")
    assert caught.value.message.isprintable()


def test_a_share_of_each_class_is_held_out_one_at_least_and_never_all() -> None:
    labels = np.array([0] * 50 + [1] * 10 + [2] * 2 + [3])

    def held(share: float, seed: int) -> list[int]:
        test = choose_test_rows(labels, list("abcd"), None, share, seed, "x")
        assert np.array_equal(test, choose_test_rows(labels, list("abcd"), None, share, seed, "x"))
        assert not np.array_equal(
            test, choose_test_rows(labels, list("abcd"), None, share, seed + 1, "x")
        )
        return np.bincount(labels[test], minlength=4).tolist()

    assert held(0.2, 0) == [10, 2, 1, 0]
    assert held(0.9, 0) == [45, 9, 1, 0]


@pytest.mark.parametrize(
    ("labels", "first_test", "names", "message"),
    [
        ([], 0, [], "x: classes: 0"),
        ([0, 0], 1, ["a"], "x: classes: 1"),
        ([0, 1, 0], 3, ["a", "b"], "x: 3 for the training and 0 for the test: too few"),
        ([0, 1], 1, ["a", "b"], "x: 1 for the training and 1 for the test: too few"),
        ([0, 1], None, ["a", "b"], "x: 2 for the training and 0 for the test: too few"),
        ([0, 0, 1], 2, ["a", "b"], "x: nothing to train on of the class 'b'"),
    ],
)
def test_too_little(
    labels: list[int], first_test: int | None, names: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        choose_test_rows(np.array(labels, np.int64), names, first_test, 0.2, 0, "x")


def warnings_of(labels: list[int], names: list[str], hashes: list[int], test: int) -> list[str]:
    warnings, is_test = DataWarnings(), np.arange(len(labels)) >= test
    splits.add_part_warnings(np.array(labels), names, np.array(hashes), is_test, "f.csv", warnings)
    return warnings.lines()


def test_rows_in_both_parts_and_missing_classes_are_noted() -> None:
    repeated, missing = sorted(warnings_of([0, 1, 1, 1, 1], ["a", "b"], [1, 2, 3, 2, 4], 3))[::-1]
    assert repeated.startswith("f.csv: 1 of the test part")
    assert missing.startswith("class 'a': ")


def test_a_class_that_looks_like_another_is_noted() -> None:
    labels = [0] * 50 + [1] * 50 + [2] + [3, 3]
    (typo,) = warnings_of(labels, ["pos", "neg", "pso", "other"], labels, 0)
    assert typo == "class 'pso': only 1 of 103: is it 'pos'?"
    names = ["1", "01", "caf\u00e9", "1.0", "cafe\u0301", "2", "\u00e9"]
    labels = np.arange(len(names)).repeat(5).tolist()
    composed, number = warnings_of(labels, names, labels, 0)
    assert composed.startswith(r"'caf\xe9' and 'cafe\u0301': ")
    assert number.startswith("'1' and '01': ") and number.endswith(" (and 1 more)")
