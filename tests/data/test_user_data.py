"""Folders of a user's own data: their parts, classes, files and state."""

import os
import shutil
import time
from pathlib import Path

import pytest

from dlrun.data.file_hashes import CLOCK_SECONDS, hash_contents
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


def change_unseen(file: Path, content: str) -> None:
    """Write a content of the same length, and set the file's time back."""
    status = file.stat()
    assert status.st_size == len(content)
    file.write_text(content)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_folder_is_known_by_the_names_and_contents_of_its_files(tmp_path: Path) -> None:
    root = written(tmp_path / "a", "n/1.txt", "p/2.txt", "train/.hidden")

    def now(folder: Path) -> str:
        return fingerprint_user_data(shipped_data("text-dense", path=folder), tmp_path / "data")

    states = [now(root)]
    copy = shutil.copytree(root, tmp_path / "copy", copy_function=shutil.copyfile)
    moved = root.rename(tmp_path / "b")
    os.utime(moved / "n" / "1.txt", ns=(0, 0))
    assert now(copy) == now(moved) == states[0]
    change_unseen(moved / "n" / "1.txt", "n/9.txt")
    states.append(now(moved))
    (moved / "n" / "1.txt").rename(moved / "n" / "3.txt")
    states.append(now(moved))
    assert len({*states}) == 3


def test_a_hash_is_remembered_until_a_file_changes(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    files = [written(tmp_path, name) / name for name in ("a/1.txt", "a/2.txt")]
    first = hash_contents(files, data_dir)
    assert not data_dir.exists()  # so shortly after the files were written a change might not show
    time.sleep(CLOCK_SECONDS + 0.1)
    assert hash_contents(files, data_dir) == first
    (remembered,) = (data_dir / "contents").iterdir()
    remembered.write_text("remembered")
    assert hash_contents(files, data_dir) == "remembered"
    change_unseen(files[0], "a/9.txt")
    second = hash_contents(files, data_dir)
    change_unseen(files[0], "a/8.txt")
    assert len({first, second, hash_contents(files, data_dir), "remembered"}) == 4


def test_a_file_that_cannot_be_read_is_part_of_the_state(tmp_path: Path) -> None:
    files = [written(tmp_path, "1.txt") / "1.txt", tmp_path / "gone.txt"]
    before = hash_contents(files, tmp_path / "data")
    files[1].write_text("")
    assert hash_contents(files, tmp_path / "data") != before


def test_a_class_may_be_a_link_whose_contents_count(tmp_path: Path) -> None:
    written(tmp_path / "real", "a/1.txt", "b/1.txt")
    (tmp_path / "linked").mkdir()
    for name in ("a", "b"):
        (tmp_path / "linked" / name).symlink_to(tmp_path / "real" / name)
    data = shipped_data("text-dense", path=tmp_path / "linked")
    before = fingerprint_user_data(data, tmp_path / "cache")
    assert before == fingerprint_user_data(
        shipped_data("text-dense", path=tmp_path / "real"), tmp_path / "cache"
    )
    (tmp_path / "real" / "a" / "1.txt").write_text("another text")
    assert fingerprint_user_data(data, tmp_path / "cache") != before
