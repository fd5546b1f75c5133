"""Removing runs."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dlrun.errors import DlrunError
from dlrun.run_folder.find import candidate_folders
from dlrun.run_folder.removal import (
    CHECKPOINTS,
    remove_checkpoints,
    remove_leftovers,
    remove_run,
    repair_latest,
    size_of_checkpoints,
)
from tests.run_folder.making import a_run


def unchanged() -> None:
    """The run is as it was."""


def changed() -> None:
    raise DlrunError("not as it was")


def test_a_run_goes_with_all_that_is_in_it_and_nothing_that_links_point_at(tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    (treasure / "file").write_text("")
    run = a_run(tmp_path / "runs" / "x" / "a")
    (run / "sub").mkdir()
    (run / "sub" / "link").symlink_to(treasure)
    (run / "link").symlink_to(treasure / "file")
    remove_run(run, unchanged)
    assert list((tmp_path / "runs" / "x").iterdir()) == []
    assert (treasure / "file").exists()


@pytest.mark.parametrize("linked", ["x", "x/a"])
def test_what_lies_behind_a_link_stays(tmp_path: Path, linked: str) -> None:
    there = a_run(tmp_path / "elsewhere" / "x" / "a")
    link = tmp_path / "runs" / linked
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "elsewhere" / linked)
    with pytest.raises(DlrunError, match="behind a link"):
        remove_run(tmp_path / "runs" / "x" / "a", unchanged)
    assert there.exists()


def test_a_run_that_changed_stays(tmp_path: Path) -> None:
    run = a_run(tmp_path / "x" / "a")
    (run / "checkpoint").write_bytes(b"state")
    for remove in (remove_run, remove_checkpoints):
        with pytest.raises(DlrunError, match="not as it was"):
            remove(run, changed)
    assert (run / "checkpoint").exists()


def test_the_checkpoints_go_alone(tmp_path: Path) -> None:
    run = a_run(tmp_path / "x" / "a")
    before = {file.name for file in run.iterdir()}
    for name in CHECKPOINTS:
        (run / name).write_bytes(b"state")
    assert size_of_checkpoints(run) == 5 * len(CHECKPOINTS)
    remove_checkpoints(run, unchanged)
    assert size_of_checkpoints(run) == 0
    assert {file.name for file in run.iterdir()} == before | {"run.lock"}


def test_what_a_killed_removal_left_is_no_run_and_goes_with_the_next(tmp_path: Path) -> None:
    left = a_run(tmp_path / "x" / ".removed-0123abcd")
    other = a_run(tmp_path / "x" / ".removed-by-somebody")
    linked = tmp_path / "x" / ".removed-89abcdef"
    linked.symlink_to(other)
    assert candidate_folders(tmp_path) == []
    assert list(remove_leftovers(tmp_path)) == []
    assert not left.exists()
    assert other.exists() and linked.is_symlink()


def test_a_removal_that_fails_says_where_the_rest_is_and_the_next_takes_it(tmp_path: Path) -> None:
    run = a_run(tmp_path / "x" / "a")
    kept = run / "sub" / "kept"
    kept.parent.mkdir()
    kept.write_text("")
    with immutable(kept.parent, kept) as undo:
        with pytest.raises(DlrunError, match=r"x/a: removed only in part: .*kept") as caught:
            remove_run(run, unchanged)
        (left,) = (tmp_path / "x").glob(".removed-*")
        assert str(left) in caught.value.hint
        assert not run.exists()
        assert list(remove_leftovers(tmp_path)) == [left]
        undo(left / "sub", left / "sub" / "kept")
    assert list(remove_leftovers(tmp_path)) == []
    assert not left.exists()


@contextmanager
def immutable(folder: Path, file: Path) -> Iterator[Callable[[Path, Path], None]]:
    """The file cannot be removed, not even by root, where the system can say so."""
    if os.geteuid():
        folder.chmod(0o500)
        yield lambda folder, _: folder.chmod(0o700)
        return
    chattr = shutil.which("chattr")
    if not chattr or subprocess.run([chattr, "+i", file], check=False).returncode:
        pytest.skip("no file system with immutable files")
    yield lambda _, file: subprocess.run([chattr, "-i", file], check=True) and None


@pytest.mark.parametrize("as_link", [True, False])
def test_latest_names_the_newest_that_is_left(tmp_path: Path, as_link: bool) -> None:
    latest = tmp_path / "x" / "latest"
    for name in ("20260101T000000Z-a", "20260102T000000Z-b"):
        a_run(tmp_path / "x" / name)

    def point(name: str) -> None:
        latest.unlink(missing_ok=True)
        latest.symlink_to(name) if as_link else latest.write_text(f"{name}\n")

    point("20260101T000000Z-a")
    repair_latest(tmp_path, "x")
    assert (latest.readlink().name if as_link else latest.read_text().strip())[-1] == "a"
    point("20260103T000000Z-gone")
    repair_latest(tmp_path, "x")
    assert latest.readlink().name == "20260102T000000Z-b"


def test_latest_goes_with_the_last_run_and_a_folder_of_that_name_stays(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "latest").symlink_to("gone")
    (tmp_path / "y" / "latest").mkdir(parents=True)
    for experiment in ("x", "y", "z"):
        repair_latest(tmp_path, experiment)
    assert not (tmp_path / "x" / "latest").is_symlink()
    assert (tmp_path / "y" / "latest").is_dir()


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a\0b", b""])
def test_a_damaged_latest_is_mended(tmp_path: Path, content: bytes) -> None:
    a_run(tmp_path / "x" / "20260101T000000Z-a")
    latest = tmp_path / "x" / "latest"
    latest.write_bytes(content)
    repair_latest(tmp_path, "x")
    assert latest.resolve().name == "20260101T000000Z-a"
