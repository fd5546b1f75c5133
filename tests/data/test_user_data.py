"""Folders of a user's own data: their parts, classes, files and state."""

import os
from pathlib import Path

import pytest

from dlrun.data.text_files import DataWarnings
from dlrun.data.user_data import fingerprint_user_data, list_files_by_class, user_data_paths
from dlrun.errors import ConfigError
from tests.data.use import shipped_data


def written(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


@pytest.mark.parametrize(
    ("files", "parts"),
    [
        (["neg/1", "pos/1"], ["."]),
        (["train/neg/1", "train/pos/1", "test/neg/1"], ["train", "test"]),
        (["train/neg/1", "train/pos/1", "test/1"], ["train"]),
        (["bus/1.png", "train/1.png"], ["."]),
    ],
)
def test_a_folder_may_have_both_parts(tmp_path: Path, files: list[str], parts: list[str]) -> None:
    data = shipped_data("text-dense", path=written(tmp_path, *files))
    assert user_data_paths(data) == [tmp_path / part for part in parts]


def test_files_are_sorted_and_what_is_left_out_is_noted(tmp_path: Path) -> None:
    names = ["b/2.txt", "b/1.txt", "b/in/3.txt", "b/.hidden", "a/1.txt", "a/x.md", "a/y.md"]
    written(tmp_path, *names, "b/.git/x.txt", "README.txt")
    (tmp_path / "c").mkdir()
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "a" / "z.txt").symlink_to(tmp_path / "nothing.txt")
    warnings = DataWarnings()
    found = list_files_by_class(tmp_path, warnings, [".txt"])
    expected = [("a", "a/1.txt"), ("b", "b/1.txt"), ("b", "b/2.txt"), ("b", "b/in/3.txt")]
    assert [(label, file.relative_to(tmp_path).as_posix()) for label, file in found] == expected
    assert warnings.lines() == [f"{tmp_path / 'a' / 'x.md'}: not of a kind that is read: left out"]
    with pytest.raises(ConfigError, match="without sub-folders"):
        list_files_by_class(tmp_path / "c", warnings)


def test_a_changed_file_is_another_state_and_a_moved_folder_is_not(tmp_path: Path) -> None:
    root = written(tmp_path / "a", "n/1.txt", "p/2.txt")

    def now(folder: Path) -> str:
        return fingerprint_user_data(shipped_data("text-dense", path=folder))

    states = [now(root)]
    moved = root.rename(tmp_path / "b")
    assert now(moved) == states[0]
    (moved / "n" / "1.txt").write_text("n/9.txt")
    states.append(now(moved))
    os.utime(moved / "n" / "1.txt", ns=(0, 0))
    states.append(now(moved))
    (moved / "n" / "1.txt").rename(moved / "n" / "3.txt")
    states.append(now(moved))
    assert len({*states}) == 4
