"""`dlrun runs list` filters, sorts and prints runs of every state."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dlrun.commands.clean import clean
from dlrun.commands.list_runs import check, format_differences, list_runs
from dlrun.errors import ConfigError
from tests.commands.run_folders import EXPERIMENT, a_whole_run, living, thousand
from tests.conftest import NETWORKS, Dlrun, clean_environment

Out = pytest.CaptureFixture[str]
DAY = "20260101T00000{}Z-{}"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Runs of each state, a damaged one, and things that are no runs."""
    folder = tmp_path / "runs"
    own = folder / EXPERIMENT
    a_whole_run(own / DAY.format(1, "a"), lr=0.1, metrics={"test_accuracy": 0.5})
    failed = {"status": "failed", "error": "no memory", "metrics": {}}
    (a_whole_run(own / DAY.format(2, "b"), seed=2, **failed) / "checkpoint").write_bytes(b"")
    (a_whole_run(own / DAY.format(3, "c"), status="running") / "checkpoint").write_bytes(b"")
    other = folder / NETWORKS[1] / DAY.format(4, "d")
    a_whole_run(other, status="interrupted", reference_differs="x", test_rows=None)
    (a_whole_run(own / DAY.format(5, "e")) / "results.json").write_text("{half")
    (own / "notes").mkdir()
    (own / "latest").symlink_to(DAY.format(1, "a"))
    (own / ".removed-1").mkdir()
    (folder / "file").write_text("")
    return folder


def objects(runs: Path, capsys: Out, **wanted: Any) -> list[dict[str, Any]]:
    list_runs(json=True, **wanted, runs_dir=runs)
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def suffixes(runs: Path, capsys: Out, **wanted: Any) -> str:
    return "".join(one["name"][-1] for one in objects(runs, capsys, **wanted))


def test_a_line_for_each_the_newest_first(runs: Path, capsys: Out) -> None:
    list_runs(runs_dir=runs)
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == "name experiment state accuracy book sec size differs".split()
    words = [line.split() for line in lines]
    names = [DAY.format(5 - i, "edcba"[i]) for i in range(5)]
    assert [line[0] for line in words] == [*names, "notes"]
    states = ["damaged", "interrupted", "killed", "failed", "finished", "foreign"]
    assert [line[2] for line in words] == states
    assert words[0][7].startswith("results.json:")
    assert words[1][3:6] == ["0.5000", "-", "10.5"]  # not compared with the book
    assert words[3][3:5] == ["-", "-"] and words[3][7:] == ["seed=2"]
    assert words[4][3:6] == ["0.5000", "0.4210", "10.5"] and words[4][7:] == ["lr=0.1"]
    assert words[2][7:] == ["-"]


def test_json_has_all_that_a_script_wants(runs: Path, capsys: Out) -> None:
    run = objects(runs, capsys, where=["optimizer.lr>0.05"])[0]
    folder = runs / EXPERIMENT / DAY.format(1, "a")
    size = sum(file.stat().st_size for file in folder.iterdir())
    assert run.pop("config")["optimizer.lr"] == 0.1
    assert run.pop("interval") == pytest.approx([0.4691, 0.5309], abs=1e-4)
    assert run == {
        "name": folder.name,
        "experiment": EXPERIMENT,
        "state": "finished",
        "metric": "test_accuracy",
        "value": 0.5,
        "book": 0.421,
        "seconds": 10.5,
        "size": size,
        "differs": {"optimizer.lr": 0.1},
        "began": "2026-01-01T00:00:00+00:00",
        "folder": str(folder),
        "problem": None,
        "metrics": {"test_accuracy": 0.5},
    }


def test_csv_is_a_table(runs: Path, capsys: Out) -> None:
    list_runs(csv=True, runs_dir=runs)
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [row["state"] for row in rows][:2] == ["damaged", "interrupted"]
    assert json.loads(rows[4]["differs"]) == {"optimizer.lr": 0.1}
    list_runs(csv=True, columns="name, optimizer.lr,metrics.test_accuracy", limit=2, runs_dir=runs)
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert rows[1] == {
        "name": DAY.format(4, "d"),
        "optimizer.lr": "0.001",
        "metrics.test_accuracy": "0.5",
    }


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"status": ["killed", "failed"]}, "cb"),
        ({"experiment": NETWORKS[1]}, "d"),
        ({"limit": 2}, "ed"),
        ({"limit": 0}, ""),
        ({"sort": "optimizer.lr"}, "adcbes"),
        ({"sort": "-optimizer.lr"}, "dcbaes"),
        ({"sort": "state"}, "ebasdc"),
        ({"where": ["seed!=0"]}, "b"),
        ({"where": ["seed=0", "state=finished"]}, "a"),
        ({"where": ["metrics.test_accuracy>=0.5"]}, "dca"),
        ({"where": ["test_rows=1000"]}, "cba"),
        ({"where": ["data.archive=null", "optimizer.lr<=0.001"]}, "dcb"),
        ({"where": ["optimizer.name=1"]}, ""),
        ({"where": ["model.channels=[32,64,128,256]"]}, "cba"),
        ({"where": ["model.channels!=[16]"]}, "cba"),
        ({"where": ["trainer.deterministic=true", "seed=2"]}, "b"),
        ({"where": [f"experiment={NETWORKS[1]}"]}, "d"),
    ],
)
def test_which_and_in_which_order(
    runs: Path, capsys: Out, wanted: dict[str, Any], expected: str
) -> None:
    assert suffixes(runs, capsys, **wanted) == expected


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"where": ["lr=1"]}, "'optimizer.lr'"),
        ({"where": ["seed"]}, "expected a key, one of"),
        ({"where": ["=3"]}, "expected a key, one of"),
        ({"where": ["optimizer.name>1"]}, "'optimizer.name>1': optimizer.name is 'rmsprop' in a"),
        ({"where": ["seconds>1s"]}, "which cannot be compared with '1s'"),
        ({"where": ["seed=true"]}, "which cannot be compared with True"),
        ({"where": ["trainer.deterministic=1"]}, "which cannot be compared with 1"),
        ({"where": ["model.channels=32"]}, "128, 256] in a run, which cannot be compared with 32"),
        ({"where": ["model.channels=32,64"]}, "which cannot be compared with '32,64'"),
        ({"where": ["value>>1"]}, "'value>>1': value is 0.5 in a run"),
        ({"sort": "metrics.test_acuracy"}, "'metrics.test_accuracy'"),
        ({"columns": "nam"}, "'name'"),
        ({"experiment": EXPERIMENT[:-1]}, repr(EXPERIMENT)),
        ({"json": True, "csv": True}, "only one"),
    ],
)
def test_mistakes(runs: Path, wanted: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        list_runs(**wanted, runs_dir=runs)
    assert told in caught.value.message
    assert caught.value.hint


def test_no_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no runs here"):
        list_runs(runs_dir=tmp_path)


def test_nothing_that_controls_reaches_the_terminal(tmp_path: Path, capsys: Out) -> None:
    folder = a_whole_run(tmp_path / EXPERIMENT / "a\x1b[2J\nb", data="\x1b]0;x\x07")
    evil = {"dlrun": "0.2.0", "config": {"seed": "\x1b[31m", "x\ny": ["\x9b"]}}
    (folder / "environment.json").write_text(json.dumps(evil))
    for how in ({}, {"json": True}, {"csv": True}, {"columns": "data,name"}):
        list_runs(**how, runs_dir=tmp_path)
        assert all(line.isprintable() for line in capsys.readouterr().out.split("\n"))
    list_runs(runs_dir=tmp_path)
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_several_metrics_have_their_names(tmp_path: Path, capsys: Out) -> None:
    a_whole_run(tmp_path / EXPERIMENT / "a")
    a_whole_run(tmp_path / EXPERIMENT / "b", metrics={"valid_mae": 1, "test_mae": 43.25})
    list_runs(runs_dir=tmp_path)
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split()[3] == "metric"
    assert {line.split()[3] for line in lines} == {"0.5000", "mae=43.2500"}


def test_an_experiment_that_is_not_installed_is_listed(tmp_path: Path, capsys: Out) -> None:
    run = a_whole_run(tmp_path / EXPERIMENT / "a", experiment="gone")
    assert objects(tmp_path, capsys)[0]["experiment"] == "gone"
    assert run.exists()


def test_a_terminal_of_80_columns_is_not_left(runs: Path) -> None:
    command = [sys.executable, "-m", "dlrun", "runs", "list", "--runs-dir", str(runs)]
    script = (
        "import pty, os, sys, fcntl, termios, struct\n"
        "pid, terminal = pty.fork()\n"
        "if pid == 0: os.execv(sys.argv[1], sys.argv[1:])\n"
        "fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))\n"
        "try:\n"
        "    while part := os.read(terminal, 4096): sys.stdout.write(part.decode())\n"
        "except OSError: pass\n"
    )
    environment = {key: value for key, value in clean_environment().items() if key != "COLUMNS"}
    done = subprocess.run(
        [sys.executable, "-c", script, *command],
        capture_output=True, text=True, check=True, env=environment | {"TERM": "xterm"},
    )  # fmt: skip
    lines = done.stdout.replace("\r", "").splitlines()
    assert len(lines) == 7 and any(line.endswith("…") for line in lines)
    assert max(map(len, lines)) <= 80


def test_columns_that_say_nothing_are_for_pipes(
    tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_whole_run(tmp_path / EXPERIMENT / "a", reference_differs="x")
    list_runs(runs_dir=tmp_path)
    assert "book" in capsys.readouterr().out.splitlines()[0]
    monkeypatch.setenv("FORCE_COLOR", "1")
    list_runs(runs_dir=tmp_path)
    assert "book" not in capsys.readouterr().out.splitlines()[0]


def test_1000_folders(tmp_path: Path, capsys: Out) -> None:
    kinds = thousand(tmp_path)
    with living(*kinds["living"]):
        found = objects(tmp_path, capsys)
    assert len(found) == 1000
    states = {one["folder"]: one["state"] for one in found}
    for kind, state in {
        "whole": "finished", "0.1": "finished", "living": "running", "killed": "killed",
        "damaged": "damaged",
    }.items():  # fmt: skip
        assert {states[str(folder)] for folder in kinds[kind]} == {state}, kind
    problems = {one["problem"] for one in found if one["state"] == "damaged"}
    assert len(problems) > 10 and None not in problems
    list_runs(runs_dir=tmp_path)
    assert len(capsys.readouterr().out.splitlines()) == 1001


@pytest.mark.slow
def test_1000_runs_take_a_second(tmp_path: Path, dlrun: Dlrun) -> None:
    thousand(tmp_path / "runs")
    for options in ((), ("--json",)):
        times = []
        for _ in range(3):
            started = time.process_time() + os.times().children_user
            done = dlrun("runs", "list", *options)
            times.append(time.process_time() + os.times().children_user - started)
            assert done.returncode == 0, done.stderr
        assert min(times) < 1.5, "seconds of CPU; measured 0.6 on an idle machine"


def test_differences_are_short() -> None:
    values = {
        "data.source": "sample",
        "compare_with": "/far/away/run",
        "optimizer.name": "adam",
        "model.name": "x y",
        "model.hidden": [16, 16],
        "note": "n" * 100,
    }
    words = "optimizer.name=adam model.name=x_y hidden=[16,_16] note=" + "n" * 23 + "…"
    assert format_differences(values) == f"{words} compare_with=…/run source=sample"


def test_a_record_that_no_run_wrote_hides_no_other(tmp_path: Path, capsys: Out) -> None:
    a_whole_run(tmp_path / EXPERIMENT / DAY.format(0, "a"))
    odd: list[dict[str, Any]] = [
        {"test_rows": -5, "metrics": {"test_accuracy": 0.4}},
        {"reference": {"book": {"\ud800": 0.5}}},
        {"metrics": {"test_accuracy": 1e400}},
        {"seed": "0"},
        {"files": [1]},
    ]
    for place, values in enumerate(odd, start=1):
        folder = a_whole_run(tmp_path / EXPERIMENT / DAY.format(place, "odd"))
        record = json.loads((folder / "results.json").read_text()) | values
        del record["sha256"]
        (folder / "results.json").write_text(json.dumps(record))
    for sort in (None, "value", "seed", "-metrics.test_accuracy"):
        found = objects(tmp_path, capsys, sort=sort)
        assert sorted(one["state"] for one in found) == ["damaged"] * 3 + ["finished"] * 3
        assert all(one["problem"] for one in found if one["state"] == "damaged")
    for how in ({}, {"csv": True}):
        list_runs(**how, runs_dir=tmp_path)
        assert len(capsys.readouterr().out.splitlines()) == len(odd) + 2
    assert check(None, runs_dir=tmp_path) == 1
    assert "6 runs, 3 damaged" in capsys.readouterr().err
    assert clean(status=["damaged"], yes=True, runs_dir=tmp_path) == 0
    assert len(list((tmp_path / EXPERIMENT).iterdir())) == 3
