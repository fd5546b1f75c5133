"""Run folders: claimed once, written whole."""

import csv
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dlrun.errors import ConfigError
from dlrun.run_folder.folder import (
    MAX_NAME_BYTES,
    RunFolder,
    append,
    check_name,
    check_writable,
    runs_in,
)


def test_many_claims_in_the_same_second_share_no_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(20) as pool:
        folders = list(pool.map(lambda _: RunFolder.claim(tmp_path, "x", "same").path, range(200)))
    assert len(set(folders)) == 200
    assert all(folder.is_dir() for folder in folders)
    assert (tmp_path / "x" / "latest").resolve() in {folder.resolve() for folder in folders}


def test_name_is_the_suffix(tmp_path: Path) -> None:
    assert RunFolder.claim(tmp_path, "x", "mine").path.name.endswith("Z-mine")
    assert RunFolder.claim(tmp_path, "x", "ü_1.5,+-").path.is_dir()


@pytest.mark.parametrize("name", [
    "../x", "a/b", "", ".", "a.", "a\nb", "a b", "a$(b)", "a`b`", "a\\b", "a;b", "it's", "a\u202eb",
])  # fmt: skip
def test_name_that_a_shell_or_a_system_could_misread_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="--name"):
        RunFolder.claim(tmp_path, "x", name)


def test_runs_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(ConfigError, match="runs"):
        RunFolder.claim(tmp_path / "runs", "x")


def test_files_are_written_together_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path)
    folder.write_all({"a.bin": b"old", "b.bin": memoryview(b"old")})
    assert folder.written == {"a.bin", "b.bin"}

    def full_at_the_second(path: Path) -> None:
        if "b.bin" in path.name:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("dlrun.system.files.sync_file", full_at_the_second)
    with pytest.raises(OSError, match=r"No space.*b\.bin"):
        folder.write_all({"a.bin": b"new", "b.bin": b"new"})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "a.bin": b"old",
        "b.bin": b"old",
    }


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_text("a.txt", "whole")
    (tmp_path / ".new-123-weights.pt").write_bytes(b"half")
    folder.remove_temporary()
    assert list(tmp_path.iterdir()) == [tmp_path / "a.txt"]


def test_the_helper_of_a_run_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("")
    folder = RunFolder(tmp_path / "none", writes=False)
    folder.start_metrics(["epoch"], [{"epoch": 1}])
    folder.add_metrics({"epoch": 2})
    folder.write_json("results.json", {})
    folder.write_csv("a.csv", ["a"], [["b"]])
    RunFolder(tmp_path, writes=False).remove("kept")
    assert list(tmp_path.iterdir()) == [tmp_path / "kept"]


def test_text_may_hold_the_name_of_a_file_that_is_no_utf_8(tmp_path: Path) -> None:
    RunFolder(tmp_path).write_text("a.txt", "caf\udce9 \u00e9")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "caf\\udce9 \u00e9"


def test_json_has_no_nan(tmp_path: Path) -> None:
    RunFolder(tmp_path).write_json("a.json", {"loss": float("nan"), "list": [float("inf"), 1]})
    assert json.loads((tmp_path / "a.json").read_text()) == {"loss": None, "list": [None, 1]}


def test_metrics_rows_are_appended_and_a_new_attempt_begins_anew(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for _ in range(2):
        folder.start_metrics(["epoch", "loss"])
        folder.add_metrics({"epoch": 1, "loss": 1 / 3})
        folder.add_metrics({"loss": 0.25, "epoch": 2})
    assert (tmp_path / "metrics.csv").read_text() == "epoch,loss\n1,0.333333333\n2,0.25\n"


def test_csv_cells_start_no_formula_and_break_no_row(tmp_path: Path) -> None:
    RunFolder(tmp_path).write_csv("a.csv", ["a", "b"], [["=1+1", 'x",\ny'], ["\x1b[31m", 0.5]])
    with (tmp_path / "a.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows == [["a", "b"], ["'=1+1", 'x",\N{REPLACEMENT CHARACTER}y'],
                    ["\N{REPLACEMENT CHARACTER}[31m", "0.5"]]  # fmt: skip


def test_metrics_of_a_resumed_run_begin_with_its_rows(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("epoch,loss\n1,0.5\n2,0.25\n3,0.1")
    folder = RunFolder(tmp_path)
    folder.start_metrics(["epoch", "loss"], [{"epoch": 1, "loss": 0.5}])
    folder.add_metrics({"epoch": 2, "loss": 0.125})
    assert (tmp_path / "metrics.csv").read_text() == "epoch,loss\n1,0.5\n2,0.125\n"


def test_what_is_appended_is_there_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"one")
    append(path, b"two")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        append(path, b"three", on_disk=True)
    assert path.read_bytes() == b"onetwo"


def test_latest_is_a_link_to_the_newest(tmp_path: Path) -> None:
    for name in ("one", "two"):
        path = RunFolder.claim(tmp_path, "x", name).path
    assert (tmp_path / "x" / "latest").readlink() == Path(path.name)


def test_where_links_are_refused_latest_is_a_text_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("A required privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    for name in ("one", "two"):
        path = RunFolder.claim(tmp_path, "x", name).path
        assert (tmp_path / "x" / "latest").read_text() == f"{path.name}\n"
    assert len(list((tmp_path / "x").iterdir())) == 3


@pytest.mark.parametrize("full", [True, False])
def test_somebodys_own_folder_called_latest_is_left_as_it_is(tmp_path: Path, full: bool) -> None:
    latest = tmp_path / "x" / "latest"
    latest.mkdir(parents=True)
    if full:
        (latest / "mine").write_text("")
    path = RunFolder.claim(tmp_path, "x").path
    assert sorted((tmp_path / "x").iterdir()) == sorted([latest, path])
    assert [file.name for file in latest.iterdir()] == (["mine"] if full else [])


def test_the_longest_name_and_no_longer(tmp_path: Path) -> None:
    folders = [RunFolder.claim(tmp_path, "x", "n" * MAX_NAME_BYTES).path for _ in range(3)]
    assert len(set(folders)) == 3
    for name in ("n" * (MAX_NAME_BYTES + 1), "\u00e9" * MAX_NAME_BYTES):
        with pytest.raises(ConfigError, match="--name: longer than 200 bytes"):
            check_name(name)


def test_a_runs_folder_is_checked_and_not_made(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "runs")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file is not a folder"):
        check_writable(tmp_path / "file" / "runs")


def test_a_runs_folder_is_one_with_a_config_and_no_link(tmp_path: Path) -> None:
    for name in ("x/a", "x/b", "y/c"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.yaml").write_text("")
    (tmp_path / "x" / "latest").symlink_to("b")
    (tmp_path / "x" / "empty").mkdir()
    assert sorted(path.name for path in runs_in(tmp_path)) == ["a", "b", "c"]
    assert sorted(path.name for path in runs_in(tmp_path, "x")) == ["a", "b"]
    assert list(runs_in(tmp_path / "none")) == []
