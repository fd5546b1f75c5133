"""`dlrun runs rm` removes the chosen runs and no others."""

import io
from pathlib import Path
from typing import Any

import pytest

from dlrun.cli.runs_rm import remove
from dlrun.errors import ConfigError
from dlrun.runs.find import runs_newest_first
from dlrun.runs.folder import update_latest_link
from tests.cli.run_folders import EXPERIMENT, a_whole_run, living
from tests.conftest import NETWORKS, Dlrun, Out, Patch


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """a to f: finished; g: failed; h: interrupted; i: killed; j: damaged; and a folder of
    somebody's own."""
    folder = tmp_path / "runs"
    for place, name in enumerate("abcdef", start=1):
        a_whole_run(folder / EXPERIMENT / f"2026010{place}T000000Z-{name}")
    for name, status in (("g", "failed"), ("h", "interrupted"), ("i", "running")):
        a_whole_run(folder / EXPERIMENT / f"20260107T000000Z-{name}", status=status, metrics={})
    damaged = a_whole_run(folder / EXPERIMENT / "20260108T000000Z-j")
    (damaged / "results.json").write_text("")
    (folder / EXPERIMENT / "notes").mkdir()
    (folder / EXPERIMENT / "notes" / "mine.txt").write_text("")
    return folder


def names(*suffixes: str) -> list[str]:
    days = {"j": 8, **dict.fromkeys("ghi", 7)}
    return [f"2026010{days.get(one, 'abcdef'.find(one) + 1)}T000000Z-{one}" for one in suffixes]


def left(runs: Path) -> str:
    return "".join(sorted(run.name[-1] for run in runs_newest_first(runs, damaged=True)))


@pytest.mark.parametrize(
    ("goes", "expected"),
    [
        ({"status": ["failed", "killed"]}, "abcdefhj"),
        ({"status": ["damaged"]}, "abcdefghi"),
        ({"experiment": EXPERIMENT}, "j"),
        ({"status": ["failed"], "experiment": NETWORKS[1]}, "abcdefghij"),
    ],
)
def test_which_runs_go(runs: Path, goes: dict[str, Any], expected: str) -> None:
    a_whole_run(runs / NETWORKS[1] / "20260101T000000Z-z")
    assert remove(**goes, yes=True, runs_dir=runs) == 0
    assert left(runs) == expected + "z"
    assert (runs / EXPERIMENT / "notes" / "mine.txt").exists()


@pytest.mark.parametrize(
    ("goes", "told"),
    [
        ({}, "name the runs to remove"),
        ({"runs": ["a"], "status": ["failed"]}, "name the runs to remove"),
        ({"status": ["failed"], "experiment": ".."}, "not the name of an experiment"),
        ({"status": ["failed"], "experiment": "nothing"}, "no runs here"),
        ({"status": ["failed"], "experiment": ""}, "no runs here"),
        ({"runs": ["/latest"]}, "no such run"),
    ],
)
def test_mistakes_remove_nothing(runs: Path, goes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        remove(**{"yes": True} | goes, runs_dir=runs)
    assert left(runs) == "abcdefghij"


@pytest.mark.parametrize(("answer", "expected"), [("y\n", "abcdefhij"), ("\n", "abcdefghij")])
def test_only_a_yes_removes(runs: Path, monkeypatch: Patch, answer: str, expected: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    assert remove(status=["failed"], runs_dir=runs) == 0
    assert left(runs) == expected
    with pytest.raises(ConfigError, match="nobody answers"):
        remove(status=["interrupted"], runs_dir=runs)


def test_a_living_run_is_never_touched(runs: Path, cli: Dlrun, capsys: Out) -> None:
    with living(*(runs / EXPERIMENT / name for name in names("a", "i"))):  # one is finished
        cli("runs", "rm", "i", "b", "--yes").is_told(1, "running")
        assert left(runs) == "abcdefghij"
        capsys.readouterr()
        assert remove(experiment=EXPERIMENT, yes=True, runs_dir=runs) == 1
    assert left(runs) == "aij"
    assert capsys.readouterr().err.count("another process is writing to it") == 1


def test_rm_removes_the_named_runs(runs: Path, cli: Dlrun) -> None:
    """By name, by suffix, twice; `latest` then names what is left."""
    update_latest_link(runs / EXPERIMENT, names("i")[0])
    done = cli("runs", "rm", "a", f"{EXPERIMENT}/b", *names("a", "i"), "--yes").is_told(0)
    assert left(runs) == "cdefghj"
    assert [line.split()[-1] for line in done.stdout.splitlines()] == [
        f"{EXPERIMENT}/{name}" for name in names("a", "b", "i")
    ]
    assert (runs / EXPERIMENT / "latest").resolve().name == names("j")[0]
    cli("runs", "rm", "a").is_told(2, "no such run")


WRONG = [(names("j")[0], 1, "--status damaged"), ("mine", 1, "damaged")]
WRONG += [(f"runs/{EXPERIMENT}/notes", 2, "not a run's folder")]


@pytest.mark.parametrize(("wrong", "code", "told"), WRONG)
def test_rm_of_what_is_no_run(runs: Path, cli: Dlrun, wrong: str, code: int, told: str) -> None:
    mine = runs.parent / "mine"  # somebody's own folder, with a file of a run's name
    mine.mkdir()
    (mine / "config.yaml").write_text("a: 1\n")
    cli("runs", "rm", "a", wrong, "--yes").is_told(code, told)
    assert left(runs) == "abcdefghij" and (mine / "config.yaml").exists()
