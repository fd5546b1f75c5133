"""Finding runs and sweeps by name."""

import os
import shlex
from pathlib import Path

import pytest

from dlrun.errors import ConfigError
from dlrun.runs.find import (
    find_run,
    find_sweep,
    repair_latest_link,
    run_name_without_time,
    runs_newest_first,
)
from dlrun.runs.folder import remove_run
from tests.conftest import Patch
from tests.runs.making import a_run


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: Patch) -> Path:
    """Runs of two experiments on five days, in every state; and folders that are no runs."""
    folder = tmp_path / "runs"
    states = [("x", "1", "finished"), ("x", "3", "failed"), ("x", "5", "running")]
    states += [("y", "2", "finished"), ("y", "4", "interrupted")]
    for experiment, day, status in states:
        a_run(folder / experiment / f"2026010{day}T000000Z-n{day}", status=status)
    (folder / "x" / "20260109T000000Z-empty").mkdir()
    (folder / "x" / "latest").symlink_to("20260101T000000Z-n1")  # what it points at says nothing
    (folder / "notes.txt").write_text("")
    monkeypatch.chdir(tmp_path)
    return folder


def test_the_newest_come_first_in_any_state(runs: Path) -> None:
    (runs / "sweeps" / "s").mkdir(parents=True)
    (runs / "y" / "20260104T000000Z-n4" / "results.json").write_text("{half")

    def found(*of: str, damaged: bool = False) -> list[str]:
        return [run_name_without_time(run) for run in runs_newest_first(runs, *of, damaged=damaged)]

    assert found() == ["n5", "n4", "n3", "n2", "n1"] and found("y") == ["n4", "n2"]
    assert found("x", damaged=True) == ["empty", "n5", "n3", "n1"]  # `latest` is a link
    assert found(damaged=True) == ["empty", *found()]
    assert found("z") == runs_newest_first(runs / "none") == []


@pytest.mark.parametrize(
    ("run", "name"),
    [
        ("latest", "n5"),  # the run that began last
        ("y/latest", "n4"),
        ("runs/x/latest", "n1"),  # a folder
        ("20260103T000000Z-n3", "n3"),
        ("n3", "n3"),
        ("x/n3", "n3"),
    ],
)
def test_a_run_by_its_name_suffix_folder_or_latest(runs: Path, run: str, name: str) -> None:
    found = find_run(run, runs)
    assert found.is_absolute() and not found.is_symlink()
    assert run_name_without_time(found) == name


def test_of_several_runs_of_one_suffix_none_is_guessed(runs: Path) -> None:
    newest = a_run(runs / "y" / "20260106T000000Z-n3")
    with pytest.raises(ConfigError, match="2 runs are named 'n3'") as caught:
        find_run("n3", runs)
    words = shlex.split(caught.value.hint)
    assert newest in [find_run(word, runs) for word in words if word.endswith("n3")]
    other = a_run(runs / "z" / newest.name)  # in the same second
    with pytest.raises(ConfigError) as caught:
        find_run(newest.name, runs)
    words = shlex.split(caught.value.hint)
    found = {find_run(word, runs) for word in words if word.endswith("n3")}
    assert found == {newest, other}
    assert find_run("y/n3", runs) == newest


@pytest.mark.parametrize(
    ("run", "why"),
    [
        ("n33", "did you mean 'n3'"),
        ("y/n1", "no such run"),  # it is x's
        ("z/latest", "no runs here"),
        ("20260109T000000Z-empty", "no such run|not a run's folder"),
        ("runs/x", "not a run's folder"),
        ("n" * 5000, "no such run"),
        ("/some/long/path/that/is/gone", "no such run"),
        ("/some/long/path/that/is/latest", "no runs here"),
        ("/latest", "no such run"),
        ("../latest", "no runs here"),
        ("runs/notes.txt/latest", "no runs here"),
        ("~nobody-of-that-name/runs/latest", "no such run"),
    ],
)
def test_no_such_run(runs: Path, run: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        find_run(run, runs)


def test_a_sweep_by_its_name_folder_or_latest(tmp_path: Path) -> None:
    folders = [tmp_path / "sweeps" / name for name in ("a", "b")]
    for number, folder in enumerate(folders):
        folder.mkdir(parents=True)
        (folder / "sweep.json").write_text("{}")
        os.utime(folder / "sweep.json", (number, number))
    assert find_sweep("latest", tmp_path) == find_sweep("b", tmp_path) == folders[1]
    assert find_sweep(str(folders[0]), tmp_path / "elsewhere") == folders[0]
    for run in ("a", str(folders[0])):
        with pytest.raises(ConfigError, match="is a sweep") as caught:
            find_run(run, tmp_path)
        assert "--where sweep.name=a" in caught.value.hint
    for name in ("", "c", "n" * 5000):
        with pytest.raises(ConfigError, match="no such sweep") as caught:
            find_sweep(name, tmp_path)
        assert "b, a" in caught.value.hint


def test_latest_names_the_newest_that_is_left_and_goes_with_the_last(tmp_path: Path) -> None:
    latest = tmp_path / "x" / "latest"

    def repaired() -> str | None:
        repair_latest_link(tmp_path, "x")
        return latest.readlink().name if latest.is_symlink() else None

    run = a_run(latest.with_name("20260102T000000Z-b"))
    latest.symlink_to("20260103T000000Z-gone")
    assert repaired() == run.name
    failed = a_run(latest.with_name("20260104T000000Z-c"), status="failed", steps=0)
    assert repaired() == find_run("latest", tmp_path).name == failed.name
    remove_run(failed)
    remove_run(run)
    assert repaired() is None
    latest.mkdir()  # a user's own
    assert repaired() is None and latest.is_dir()
