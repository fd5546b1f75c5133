"""Run folders: claimed once, written whole."""

import csv
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dlrun.errors import ConfigError, DlrunError
from dlrun.run_folder import RunFolder, finished_runs, read_results


def test_many_claims_in_the_same_second_share_no_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(20) as pool:
        folders = list(pool.map(lambda _: RunFolder.claim(tmp_path, "x", "same").path, range(200)))
    assert len(set(folders)) == 200
    assert all(folder.is_dir() for folder in folders)
    assert (tmp_path / "x" / "latest").resolve() in {folder.resolve() for folder in folders}


def test_name_is_the_suffix(tmp_path: Path) -> None:
    assert RunFolder.claim(tmp_path, "x", "mine").path.name.endswith("Z-mine")


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "a\nb"])
def test_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="--name"):
        RunFolder.claim(tmp_path, "x", name)


def test_runs_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(ConfigError, match="runs"):
        RunFolder.claim(tmp_path / "runs", "x")


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_text("a.txt", "old")
    with pytest.raises(ZeroDivisionError), folder.replacing("a.txt") as path:
        path.write_text("half")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == [tmp_path / "a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


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


def test_environment_says_what_is_needed_to_repeat(tmp_path: Path) -> None:
    RunFolder(tmp_path).write_environment(device="cpu")
    environment = json.loads((tmp_path / "environment.json").read_text())
    assert environment["packages"]["torch"]
    assert environment["threads"] >= 1
    assert environment["device"] == "cpu"
    assert {"python", "dlrun", "git_commit", "platform", "command"} <= environment.keys()


def test_finished_runs_are_the_newest_first_and_only_finished(tmp_path: Path) -> None:
    for stamp, status in (("1", "finished"), ("2", "failed"), ("3", "finished")):
        folder = tmp_path / "x" / f"2026010{stamp}T000000Z-a"
        folder.mkdir(parents=True)
        (folder / "results.json").write_text(json.dumps({"status": status}))
    (tmp_path / "x" / "20260109T000000Z-a").mkdir()
    (tmp_path / "x" / "20260109T000000Z-a" / "results.json").write_text("{half")
    names = [folder.name for folder in finished_runs(tmp_path, "x")]
    assert names == ["20260103T000000Z-a", "20260101T000000Z-a"]


def test_reading_results_of_no_run(tmp_path: Path) -> None:
    with pytest.raises(DlrunError, match="not a finished run"):
        read_results(tmp_path)
