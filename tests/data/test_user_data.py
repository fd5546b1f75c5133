"""Classes, parts and oddities of a user's own data."""

from pathlib import Path

import numpy as np
import pytest

from dlrun.data.splits import hold_out
from dlrun.data.text_files import DataWarnings
from dlrun.data.user_data import (
    Classes,
    add_class_warnings,
    class_folders,
    divide,
    files_by_class,
    folder_parts,
    folder_state,
    repeated_rows,
    shorten_list,
    sort_names,
)
from dlrun.errors import ConfigError, DataError


def folders(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).mkdir(parents=True)
    return root


def written(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


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
    assert sort_names(names) == expected


def test_labels_are_numbered_as_they_appear_and_blanks_do_not_count() -> None:
    classes = Classes()
    labels = ["b", " a ", "b ", "a", "c\td", "c d", "", " "]
    assert [classes.number(label, "x") for label in labels] == [0, 1, 0, 1, 2, 2, -1, -1]
    assert classes.names == ["b", "a", "c d"]


@pytest.mark.parametrize("label", ["a\x1b[31m", "a\u202eb", "a\x00", "a\udc80"])
def test_a_label_that_cannot_be_printed_is_refused_with_its_place(label: str) -> None:
    with pytest.raises(DataError, match=r"^f\.csv:7: the label .* cannot be printed") as caught:
        Classes().number(label, "f.csv:7")
    assert caught.value.message.isprintable()


def test_texts_and_numbers_of_rows_are_no_classes() -> None:
    with pytest.raises(DataError, match=r"f\.csv:2: a label of 300 characters"):
        Classes().number("x" * 300, "f.csv:2")
    classes = Classes(most=3)
    for number in range(3):
        classes.number(str(number), "f.csv:3")
    with pytest.raises(DataError, match=r"f\.csv:9: more than 3 different labels"):
        classes.number("3", "f.csv:9")
    assert classes.number("2", "f.csv:9") == 2


def test_a_share_of_each_class_is_held_out_one_at_least_and_never_all() -> None:
    labels = np.array([0] * 50 + [1] * 10 + [2] * 2 + [3])
    test = hold_out(labels, 0.2, seed=0)
    assert [int(test[labels == one].sum()) for one in range(4)] == [10, 2, 1, 0]
    assert [int(hold_out(labels, 0.9, 0)[labels == one].sum()) for one in range(4)] == [45, 9, 1, 0]
    assert np.array_equal(test, hold_out(labels, 0.2, seed=0))
    assert not np.array_equal(test, hold_out(labels, 0.2, seed=1))


@pytest.mark.parametrize(
    ("labels", "first_test", "names", "message"),
    [
        ([], 0, [], "x: nothing in it"),
        ([0, 0], 1, ["a"], "x: only the class 'a' in it"),
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
        divide(np.array(labels, np.int64), names, first_test, 0.2, 0, Path("x"))


def test_rows_that_are_in_both_parts() -> None:
    content, is_test = np.array([1, 2, 3, 2, 4]), np.array([0, 0, 0, 1, 1], bool)
    assert repeated_rows(content, is_test).tolist() == [3]


def test_a_kind_of_oddity_is_one_line() -> None:
    odd = DataWarnings()
    odd.add("hidden", "a")
    odd.add("empty", "b")
    odd.add("hidden", "c", 1200)
    assert odd.lines() == ["a: hidden (and 1,200 more)", "b: empty"]


def test_a_class_that_looks_like_a_typo_is_noted() -> None:
    odd, labels = DataWarnings(), np.array([0] * 50 + [1] * 50 + [2] + [3, 3])
    add_class_warnings(labels, labels >= 0, ["pos", "neg", "pso", "other"], odd)
    assert odd.lines() == ["class 'pso': only 1 of 103: is it 'pos'?"]


def test_spellings_of_one_name_are_noted() -> None:
    names = ["1", "01", "caf\u00e9", "1.0", "cafe\u0301", "2", "\u00e9"]
    odd, labels = DataWarnings(), np.arange(len(names)).repeat(5)
    add_class_warnings(labels, labels >= 0, names, odd)
    composed, number = odd.lines()
    assert composed.startswith(r"'caf\xe9' and 'cafe\u0301': ")
    assert number.startswith("'1' and '01': ") and number.endswith(" (and 1 more)")


def test_names_in_a_message_are_few() -> None:
    assert shorten_list(["a", "b"]) == "a, b"
    assert (
        shorten_list([str(number) for number in range(11)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ..."
    )


def test_parts_of_a_folder(tmp_path: Path) -> None:
    assert folder_parts(folders(tmp_path / "a", "neg", "pos")) == [tmp_path / "a"]
    two = folders(tmp_path / "b", "train/neg", "train/pos", "test/neg")
    assert folder_parts(two) == [two / "train", two / "test"]
    one = folders(tmp_path / "c", "train/neg", "train/pos", "test")
    assert folder_parts(one) == [one / "train"]
    vehicles = written(tmp_path / "d", "bus/1.png", "train/1.png")
    assert folder_parts(vehicles) == [vehicles]
    assert [folder.name for folder in class_folders(vehicles)] == ["bus", "train"]


def test_a_folder_without_classes_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no sub-folders in it"):
        class_folders(written(tmp_path, "1.txt", ".git/x"))


def test_files_are_sorted_and_what_is_left_out_is_noted(tmp_path: Path) -> None:
    names = ["b/2.txt", "b/1.txt", "b/in/3.txt", "b/.hidden", "a/1.txt", "a/x.md", "a/y.md"]
    written(tmp_path, *names, "b/.git/x.txt", "README.txt")
    folders(tmp_path, "c")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "a" / "z.txt").symlink_to(tmp_path / "nothing.txt")
    odd = DataWarnings()
    found = files_by_class(tmp_path, odd, lambda file: file.suffix == ".txt")
    expected = [("a", "a/1.txt"), ("b", "b/1.txt"), ("b", "b/2.txt"), ("b", "b/in/3.txt")]
    assert [(label, file.relative_to(tmp_path).as_posix()) for label, file in found] == expected
    assert odd.lines() == [
        f"{tmp_path / 'a' / 'x.md'}: not of a kind that is read: left out (and 2 more)",
        f"{tmp_path / 'b' / '.hidden'}: a hidden file: left out",
        f"{tmp_path / 'c'}: nothing to read in this class's folder: left out",
    ]


def test_a_changed_file_is_another_state_and_a_moved_folder_is_not(tmp_path: Path) -> None:
    root = written(tmp_path / "a", "n/1.txt", "p/2.txt")

    def now(folder: Path) -> str:
        return folder_state(files_by_class(folder, DataWarnings(), lambda file: True), folder)

    before = now(root)
    moved = root.rename(tmp_path / "b")
    assert now(moved) == before
    (moved / "n" / "1.txt").write_text("n/9.txt")
    assert now(moved) != before
