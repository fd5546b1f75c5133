"""`dlrun runs check` finds every damage, and agrees with `dlrun runs list`."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import dlrun
from dlrun.cli.runs_check import check
from dlrun.runs.record import FORMAT
from tests.cli.run_folders import a_whole_run
from tests.conftest import Dlrun, Done, Out
from tests.experiments.use import contents, flip
from tests.runs.making import change_config, change_environment, change_record

NAME = "imdb-dense"


def test_each_changed_file_of_a_run_is_named(tmp_path: Path, done: Done, capsys: Out) -> None:
    whole, number = done(NAME), 0

    def said(expected: int, change: Callable[[Path], object]) -> str:
        nonlocal number
        number += 1
        copy = shutil.copytree(whole, tmp_path / NAME / str(number))
        change(copy)
        assert check([str(copy)], json=True) == expected
        (row,) = json.loads(capsys.readouterr().out)
        assert row["result"] == ("damaged" if expected else "whole")
        return " ".join(row["problems"])

    assert said(0, lambda copy: None) == ""
    for name in ("metrics.csv", "weights.pt", "learning_curves.png", "checkpoint"):
        assert f"{name}: damaged" in said(1, lambda copy: flip(copy / name, at=100))  # noqa: B023

    def remove_digest(copy: Path) -> None:
        record = json.loads((copy / "results.json").read_text())
        del record["sha256"]
        (copy / "results.json").write_text(json.dumps(record))

    assert "results.json: damaged, or edited" in said(1, remove_digest)
    assert "summary.txt: " in said(1, lambda copy: (copy / "summary.txt").unlink())


def test_an_edited_config_is_damage_everywhere(cli: Dlrun, tmp_path: Path) -> None:
    runs = tmp_path / "runs" / NAME
    a_whole_run(runs / "20260102T000000Z-whole")
    run = a_whole_run(runs / "20260101T000000Z-edited")
    config = run / "config.yaml"
    config.write_text(config.read_text() + "# a remark\n")
    before = contents(run)
    why = "config.yaml: damaged, or edited"
    assert why in cli("runs", "check").is_told(1, "2 runs, 1 damaged").stdout
    assert "damaged" in cli("runs", "list", "--csv").is_told(0).stdout
    for command in (["runs", "show"], ["resume"], ["report"], ["predict", "--test"]):
        cli(*command, "edited").is_told(2, why, f"dlrun {NAME} --config ")
    assert why in cli("verify", "edited").is_told(1).stdout
    assert contents(run) == before


def test_a_copied_folder_is_named_and_counts_once(cli: Dlrun, tmp_path: Path) -> None:
    """Wherever it is, also if its copy has another seed now."""
    runs = tmp_path / "runs" / NAME
    for seed, accuracy in enumerate((0.6, 0.8)):
        name = f"2026010{seed + 1}T000000Z-made"
        about = {"metrics": {"test_accuracy": accuracy}, "run": f"runs/{NAME}/{name}"}
        a_whole_run(runs / name, seed=seed, **about)
    copy = Path(shutil.copytree(runs / name, runs.parent / "another" / "20260101T000000Z-a"))
    change_config(copy, "seed: 1", "seed: 2")
    change_record(copy, seed=2, metrics={"test_accuracy": 1.0})
    why = f"the same run as {NAME}/{name}"
    checked = cli("runs", "check", "--json").is_told(1, "3 runs, 0 damaged, 1 copied")
    problems = {row["run"]: row["problems"] for row in json.loads(checked.stdout)}
    assert problems["another/a"] == [why]
    rows = json.loads(cli("runs", "list", "--json").is_told(0).stdout)
    assert [row["problem"] for row in rows if row["problem"]] == [why]
    cli("report").is_told(0)
    page = (tmp_path / "report.html").read_text()
    assert "0.7000" in page and "0.8000" in page, "the mean of two, not of three"
    assert why in page


@pytest.mark.parametrize("has_version", [True, False])
@pytest.mark.parametrize("number", [FORMAT - 1, FORMAT + 1, None, "x"])
def test_a_run_of_another_format_has_a_state_of_its_own_and_stays(
    cli: Dlrun, tmp_path: Path, number: object, has_version: bool
) -> None:
    """Newer or older; the other runs are shown as ever."""
    runs = tmp_path / "runs" / NAME
    a_whole_run(runs / "20260101T000000Z-ours")
    other = a_whole_run(runs / "20260102T000000Z-theirs")
    change_environment(other, dlrun="0.1.9", **({} if has_version else {"format": 7}))
    change_record(other, format=number)
    before = contents(other)
    told = "written by another version of dlrun"
    version = "; dlrun 0.1.9 made the run" if has_version else told
    rows = json.loads(cli("runs", "list", "--json").is_told(0).stdout)
    assert [row["state"] for row in rows] == ["other version", "finished"]
    assert told in rows[0]["problem"] and version in rows[0]["problem"]
    listed = cli("runs", "list", "--status", "other version", "--csv").is_told(0).stdout
    assert "theirs" in listed and "ours" not in listed
    for command in (["runs", "show"], ["resume"], ["report"], ["predict", "--test"]):
        cli(*command, "theirs").is_told(2, told, version)
    checked = json.loads(cli("runs", "check", "--json").is_told(1).stdout)
    assert [row["result"] for row in checked] == ["whole", "other version"]
    verified = json.loads(cli("verify", "theirs", "--json").is_told(1).stdout)
    assert verified[0]["result"] == "other version" and version in verified[0]["why"]
    cli("report").is_told(0, f"left out: runs/{NAME}/{other.name}/results.json: {told}")
    (unreadable,) = dlrun.list_unreadable_runs(runs_dir=tmp_path / "runs")
    assert unreadable.folder == other and unreadable.state == "other version"
    assert told in unreadable.problem
    (readable,) = dlrun.list_runs(runs_dir=tmp_path / "runs")
    assert readable.folder != other and readable.state == "finished"
    cli("runs", "rm", "theirs", "--yes").is_told(1, "kept", version)
    for state in ("damaged", "finished", "failed", "killed"):
        cli("runs", "rm", "--status", state, "--experiment", NAME, "--yes")
    assert contents(other) == before


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[1"])
def test_an_unreadable_environment_ends_no_command_over_all_runs(
    cli: Dlrun, tmp_path: Path, content: bytes | None
) -> None:
    runs = tmp_path / "runs" / NAME
    a_whole_run(runs / "20260101T000000Z-whole")
    file = a_whole_run(runs / "20260102T000000Z-b") / "environment.json"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    cli("runs", "list").is_told(0)
    assert "environment.json" in cli("runs", "check").is_told(1).stdout
    cli("report", "--out", "all.html").is_told(0, "environment.json")
    page = (tmp_path / "all.html").read_text()
    assert "20260101T000000Z-whole" in page and "20260102T000000Z-b" in page
