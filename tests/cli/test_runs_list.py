"""`dlrun runs list` filters, sorts and prints runs of every state."""

import csv
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from dlrun.cli.runs_list import list_runs
from dlrun.errors import ConfigError
from tests.cli.run_folders import EXPERIMENT, a_whole_run, living
from tests.conftest import NETWORKS, Out

LOSS = {"test_accuracy": 0.75, "test_loss": 0.25}
DAY = "20260101T00000{}Z-{}"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Runs of each state that ended, a damaged one, and things that are no runs."""
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
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


def table(runs: Path, capsys: Out, **wanted: Any) -> list[dict[str, str]]:
    list_runs(csv=True, **wanted, runs_dir=runs)
    return list(csv.DictReader(capsys.readouterr().out.splitlines()))


def test_a_line_for_each_the_newest_first(runs: Path, capsys: Out) -> None:
    list_runs(runs_dir=runs)
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == "name experiment state accuracy book sec differs".split()
    words = [line.split() for line in lines]
    names = [DAY.format(5 - i, "edcba"[i]) for i in range(5)]
    assert [line[0] for line in words] == names
    states = ["damaged", "interrupted", "killed", "failed", "finished"]
    assert [line[2] for line in words] == states
    assert words[0][6].startswith("results.json:")
    assert words[1][3:6] == ["0.5000", "-", "10.5"]  # not compared with the book
    assert words[3][3:] == ["-", "-", "10.5", "seed=2"]
    assert words[4][3:] == ["0.5000", "0.4210", "10.5", "lr=0.1"]
    with living(runs / EXPERIMENT / DAY.format(3, "c")):
        assert [one["name"][-1] for one in objects(runs, capsys, status=["running"])] == ["c"]


def test_the_key_of_the_order_is_a_column(runs: Path, capsys: Out) -> None:
    a_whole_run(runs / EXPERIMENT / DAY.format(6, "f"), metrics=LOSS)
    shown = []
    for key in ("metrics.test_loss", "metrics.test_accuracy"):
        list_runs(EXPERIMENT, sort=key, where=["status=finished"], runs_dir=runs)
        header, line, *_ = capsys.readouterr().out.splitlines()
        shown.append((header.split()[2], line.split()[2]))
    assert shown == [("metrics.test_loss", "0.2500"), ("accuracy", "0.7500")]
    assert table(runs, capsys, sort="metrics.test_loss")[0]["metrics.test_loss"] == "0.25"


@pytest.mark.parametrize("key", ["metrics.test_mae", "value"])
def test_of_an_error_the_smallest_is_first(tmp_path: Path, capsys: Out, key: str) -> None:
    for name, mae in (("a", 2), ("b", 1), ("c", 3)):
        a_whole_run(tmp_path / NETWORKS[1] / DAY.format(1, name), metrics={"test_mae": mae})
    assert "".join(row["name"][-1] for row in table(tmp_path, capsys, sort=key)) == "bac"


def test_json_has_all_that_a_script_wants(runs: Path, capsys: Out) -> None:
    run = objects(runs, capsys, where=["optimizer.lr>0.05"])[0]
    folder = runs / EXPERIMENT / DAY.format(1, "a")
    assert run.pop("config")["optimizer.lr"] == 0.1
    assert run.pop("interval_of_test_set") == pytest.approx([0.4691, 0.5309], abs=1e-4)
    about = {"name": folder.name, "experiment": EXPERIMENT, "folder": str(folder)}
    about |= {"state": "finished", "began": "2026-01-01T00:00:00+00:00", "problem": None}
    about |= {"metric": "test_accuracy", "value": 0.5, "book": 0.421, "seconds": 10.5}
    about |= {"differs": {"optimizer.lr": 0.1}, "metrics": {"test_accuracy": 0.5}}
    assert run | about == run


def test_csv_is_a_table(runs: Path, capsys: Out) -> None:
    rows = table(runs, capsys)
    assert [row["state"] for row in rows][:2] == ["damaged", "interrupted"]
    assert json.loads(rows[4]["differs"]) == {"optimizer.lr": 0.1}
    assert len(table(runs, capsys, limit=2)) == 2


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"status": ["killed", "failed"]}, "cb"),
        ({"experiment": NETWORKS[1]}, "d"),
        ({"sort": "optimizer.lr"}, "adcbe"),
        ({"where": ["seed!=0"]}, "b"),
        ({"where": ["metrics.test_accuracy>=0.5"]}, "dca"),
        ({"where": ["data.archive=null", "optimizer.lr<=0.001"]}, "dcb"),
        ({"where": ["model.channels=[32,64,128,256]"]}, "cba"),
    ],
)
def test_which_runs_in_which_order(
    runs: Path, capsys: Out, wanted: dict[str, Any], expected: str
) -> None:
    assert "".join(one["name"][-1] for one in objects(runs, capsys, **wanted)) == expected


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"where": ["lr=1"]}, "'optimizer.lr'"),
        ({"where": ["seed"]}, "expected a key, one of"),
        ({"where": ["optimizer.name>1"]}, "optimizer.name is 'rmsprop' in a run"),
        ({"sort": "metrics.test_acuracy"}, "'metrics.test_accuracy'"),
        ({"experiment": EXPERIMENT[:-1]}, repr(EXPERIMENT)),
        ({"runs_dir": Path("/nowhere")}, "no runs here"),
    ],
)
def test_mistakes_have_a_hint(runs: Path, wanted: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        list_runs(**{"runs_dir": runs} | wanted)
    assert told in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("named", ["mine", "12345678"])
def test_a_sweep_is_named_by_a_condition(runs: Path, capsys: Out, named: str) -> None:
    (runs / "sweeps" / named).mkdir(parents=True)
    (runs / "sweeps" / named / "sweep.json").write_text("{}")
    point = {"id": "x", "name": named, "point": 1}
    name = a_whole_run(runs / EXPERIMENT / "point", sweep=point).name
    with pytest.raises(ConfigError, match="is a sweep") as caught:
        list_runs(named, runs_dir=runs)
    words = shlex.split(caught.value.hint.replace("`", " "))
    condition = words[words.index("--where") + 1]
    assert condition == f"sweep.name={named}"  # digits need no quotes
    assert [row["name"] for row in table(runs, capsys, where=[condition])] == [name]
    others = table(runs, capsys, where=[condition.replace("=", "!=")])
    assert name not in [row["name"] for row in others]
