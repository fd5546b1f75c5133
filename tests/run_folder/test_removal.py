"""Removing runs."""

from pathlib import Path

import pytest

from dlrun.errors import DlrunError
from dlrun.experiments.saved_run import scan_folder
from dlrun.run_folder.folder import LOCK
from dlrun.run_folder.removal import (
    CHECKPOINTS,
    remove_checkpoints,
    remove_run,
    repair_latest,
    size_of_checkpoints,
)
from dlrun.system.files import LockedError, hold_lock
from tests.run_folder.making import a_run


def unchanged() -> None:
    """The run is as it was."""


def changed() -> None:
    raise DlrunError("not as it was")


def test_a_run_goes_with_its_files_and_nothing_that_links_point_at(tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    (treasure / "file").write_text("")
    run = a_run(tmp_path / "runs" / "x" / "a")
    (run / "sub").mkdir()
    (run / "sub" / "link").symlink_to(treasure)
    (run / "link").symlink_to(treasure / "file")
    (run / "folder").symlink_to(treasure)
    remove_run(run, unchanged)
    assert list((tmp_path / "runs" / "x").iterdir()) == []
    assert (treasure / "file").exists()


@pytest.mark.parametrize("linked", ["x", "x/a"])
def test_a_run_behind_a_link_stays(tmp_path: Path, linked: str) -> None:
    there = a_run(tmp_path / "elsewhere" / "x" / "a")
    link = tmp_path / "runs" / linked
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "elsewhere" / linked)
    with pytest.raises(DlrunError, match="behind a link"):
        remove_run(tmp_path / "runs" / "x" / "a", unchanged)
    assert there.exists()


def test_a_run_that_changed_or_is_running_stays(tmp_path: Path) -> None:
    run = a_run(tmp_path / "x" / "a")
    (run / "checkpoint").write_bytes(b"state")
    for remove in (remove_run, remove_checkpoints):
        with pytest.raises(DlrunError, match="not as it was"):
            remove(run, changed)
        with hold_lock(run / LOCK, warn=pytest.fail), pytest.raises(LockedError):
            remove(run, unchanged)
    assert (run / "checkpoint").exists() and scan_folder(run).state == "finished"


def test_an_interrupted_removal_leaves_a_damaged_run_that_the_next_removes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(tmp_path / "x" / "a")
    (run / "sub").mkdir()

    def fail(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch, pytest.raises(PermissionError):
        patch.setattr("shutil.rmtree", fail)
        remove_run(run, unchanged)
    assert scan_folder(run).state == "damaged"
    remove_run(run, unchanged)
    assert not run.exists()


def test_the_checkpoints_go_alone(tmp_path: Path) -> None:
    run = a_run(tmp_path / "x" / "a")
    before = {file.name for file in run.iterdir()}
    for name in CHECKPOINTS:
        (run / name).write_bytes(b"state")
    assert size_of_checkpoints(run) == 5 * len(CHECKPOINTS)
    remove_checkpoints(run, unchanged)
    assert size_of_checkpoints(run) == 0
    assert {file.name for file in run.iterdir()} == before | {LOCK}


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
    for gone in ("20260103T000000Z-gone", "not a name"):
        point(gone)
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
