"""Notes and tags of runs: given at the start, changed at any time, shown and searched."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests import harness
from tests.cli.run_folders import EXPERIMENT, a_whole_run
from tests.conftest import Dlrun, setting, smoke
from tests.sweeps.use import named, runs, words


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return a_whole_run(tmp_path / "runs" / EXPERIMENT / "20260101T000000Z-a")


def listed(cli: Dlrun, *arguments: str) -> list[dict[str, Any]]:
    return json.loads(cli("runs", "list", "--json", *arguments).is_told(0).stdout)  # type: ignore


def notes(run: Path) -> tuple[str, list[str]]:
    about = json.loads((run / "notes.json").read_text())
    return about["note"], about["tags"]


def test_tags_are_added_and_removed(cli: Dlrun, run: Path) -> None:
    for changes, expected in (
        ("+best +old", "best old"),
        ("+c++ -old +über.1 +x²", "best c++ über.1 x²"),
        ("-old +best -x²", "best c++ über.1"),
        ("-- -best -c++", "über.1"),
        ("--runs-dir runs -über.1 +held", "held"),
    ):
        cli("runs", "tag", "a", *changes.split()).is_told(0)
        assert notes(run) == ("", expected.split())


@pytest.mark.parametrize(
    "changes", [[], ["best"], ["+a b"], ["+" + "n" * 41], ["++a"], ["+a", "--no-such-option"]]
)
def test_what_is_no_tag_changes_nothing(cli: Dlrun, run: Path, changes: list[str]) -> None:
    cli("runs", "tag", "a", *changes).is_told(2)
    cli(*smoke(EXPERIMENT), "--tag=a b").is_told(2)
    assert not (run / "notes.json").exists() and len(list(run.parent.glob("*Z-*"))) == 1


def test_a_note_is_replaced_and_removed(cli: Dlrun, run: Path) -> None:
    for arguments, expected in (
        (["  first "], "first"),
        (["--", "-0.1 is\ntoo low"], "-0.1 is\ntoo low"),
        ([""], ""),
        (["n" * 1000], "n" * 1000),
    ):
        cli("runs", "note", "a", *arguments).is_told(0)
        assert notes(run) == (expected, [])
    assert len(cli("runs", "list").is_told(0).stdout.splitlines()[1]) < 200


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--tag", "best", "--tag", "1"], "b"),
        (["--tag", "gone"], ""),
        (["--where", "tags=best"], "ab"),
        (["--where", "note=x"], "c"),
        (["--tag", "best", "--where", "tag!=1"], "a"),
    ],
)
def test_runs_are_found_by_tags(cli: Dlrun, run: Path, arguments: list[str], expected: str) -> None:
    for place, name in enumerate("bc", start=1):
        a_whole_run(run.with_name(f"20260101T00000{place}Z-{name}"))
    cli("runs", "tag", "a", "+best")
    cli("runs", "tag", "b", "+best", "+1")
    cli("runs", "note", "c", "x")
    assert "".join(sorted(one["name"][-1] for one in listed(cli, *arguments))) == expected
    cli("runs", "list", "--where", "tag>1").is_told(2)


@pytest.mark.parametrize("content", ["{half", '{"format": 2}'])
def test_damaged_notes_are_one_warning(cli: Dlrun, run: Path, content: str) -> None:
    other = a_whole_run(run.with_name("20260101T000001Z-b"))
    cli("runs", "tag", "b", "+best")
    (run / "notes.json").write_text(content)
    for arguments in (["runs", "list"], ["report", run, other]):
        assert cli(*arguments).is_told(0).stderr.count("notes.json") == 1
    assert {one["name"][-1]: one["tags"] for one in listed(cli)} == {"a": [], "b": ["best"]}
    cli("runs", "tag", "a", "+best").is_told(2, "notes.json")
    assert "notes.json" in cli("runs", "check", "a").is_told(1).stdout
    assert (run / "notes.json").read_text() == content
    (run / "notes.json").unlink()
    os.mkfifo(run / "notes.json")  # it would never end
    assert cli("runs", "list").is_told(0).stderr.count("warning: ") == 1


def test_notes_are_not_part_of_the_record(forked: Dlrun, tmp_path: Path) -> None:
    """Given at the start; results.json and its checksums do not change with them."""
    given = ["--note", "why\nnot", "--tag", "baseline", "--tag=a", "--tag", "baseline"]
    forked(*smoke("hitters-dense"), *given, "--name", "mine").is_told(0)
    run = named(tmp_path, "mine", "hitters-dense")
    assert notes(run) == ("why\nnot", ["baseline", "a"])
    forked("runs", "tag", "mine", "-a", "+best").is_told(0)
    forked("runs", "check", "mine").is_told(0)


@pytest.mark.slow
def test_a_sweep_gives_its_own_to_each_point(tmp_path: Path) -> None:
    sweep = words("--seeds", "2", *setting("path.values=4"))
    own = ["--name", "s", "--note", "why <not>", "--tag", "wide"]
    harness.run(tmp_path, *sweep, *own).is_told(0)
    shutil.rmtree(runs(tmp_path)[2])
    harness.run(tmp_path, "sweep", "--resume", "s").is_told(0)
    assert [notes(run) for run in runs(tmp_path).values()] == [("why <not>", ["wide"])] * 2
