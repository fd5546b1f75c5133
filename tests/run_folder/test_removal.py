"""Removing runs: what `dlrun runs clean`, tested in tests/commands, does with links and folders."""

from pathlib import Path

import pytest

from dlrun.errors import DlrunError
from dlrun.experiments.saved_run import scan_folder
from dlrun.run_folder.removal import remove_checkpoints, remove_run, repair_latest_link
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
    remove_run(run, unchanged)
    assert list((tmp_path / "runs" / "x").iterdir()) == []
    assert (treasure / "file").exists()


def test_a_run_behind_a_link_or_that_changed_stays(tmp_path: Path) -> None:
    run = a_run(tmp_path / "elsewhere" / "x" / "a")
    (run / "checkpoint").write_bytes(b"state")
    (tmp_path / "runs" / "x").mkdir(parents=True)
    (tmp_path / "runs" / "x" / "a").symlink_to(run)
    with pytest.raises(DlrunError, match="behind a link"):
        remove_run(tmp_path / "runs" / "x" / "a", unchanged)
    for remove in (remove_run, remove_checkpoints):
        with pytest.raises(DlrunError, match="not as it was"):
            remove(run, changed)
    assert (run / "checkpoint").exists() and scan_folder(run).state == "finished"


def test_latest_names_the_newest_that_is_left_and_goes_with_the_last(tmp_path: Path) -> None:
    latest = tmp_path / "x" / "latest"
    run = a_run(latest.with_name("20260102T000000Z-b"))
    latest.symlink_to("20260103T000000Z-gone")
    repair_latest_link(tmp_path, "x")
    assert latest.readlink().name == run.name
    remove_run(run, unchanged)
    repair_latest_link(tmp_path, "x")
    assert not latest.is_symlink()
    latest.mkdir()  # a user's own
    repair_latest_link(tmp_path, "x")
    assert latest.is_dir()
