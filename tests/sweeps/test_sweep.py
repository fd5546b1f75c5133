"""`dlrun sweep`, by its command line."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pandas as pd
import pytest
import scipy.stats

from tests import harness
from tests.conftest import ROOT, Dlrun, setting, smoke
from tests.experiments.plugins import Plugins, plugin
from tests.experiments.test_resume import outcome
from tests.runs.making import change_record, seal
from tests.sweeps.use import QUICK, named, runs, status, words

NETWORK = "imdb-dense"
GRID = ["--seeds", "2", "path.smallest=0.01,0.1", *setting("path.values=4")]


def test_a_sweep(tmp_path: Path) -> None:
    """Its runs, plan, table, page, last lines; and it is not taken for a run."""
    sweep = words(*GRID, "--name", "s")
    done = harness.run(tmp_path, *sweep, "--jobs", "2").is_told(0)
    assert [line for line in (done.stderr + done.stdout).splitlines() if len(line) > 80] == []
    folder = tmp_path / "runs" / "sweeps" / "s"
    there = {path.name for path in folder.iterdir()}
    assert {"sweep.json", "table.csv", "report.html"} <= there
    found = runs(tmp_path)
    assert [status(run) for run in found.values()] == ["finished"] * 4
    assert_the_table_is_right(folder / "table.csv", list(found.values()))
    (best,) = (line for line in done.stdout.splitlines() if line.startswith("best "))
    assert best.startswith("best   smallest=0.") and "valid_accuracy" in best
    assert_bits_are_those_of_the_run_alone(tmp_path)
    listed = json.loads(harness.run(tmp_path, "runs", "list", "--json").stdout)
    assert [run["state"] for run in listed] == ["finished"] * 5
    again = harness.run(tmp_path, "sweep", "--resume", "s", "--json").is_told(0)
    assert "to do" not in again.stderr
    assert json.loads(again.stdout)["comparison"]["metric"] == "valid_accuracy"
    assert_it_prints_a_command_that_works(tmp_path, harness.run(tmp_path, *sweep).stderr)


def test_commands_that_it_prints_work_for_another_runs_folder(tmp_path: Path) -> None:
    elsewhere = ["--runs-dir", "else where"]
    harness.run(tmp_path, *words("--seeds", "1,", "--name", "s"), *elsewhere).is_told(0)
    (run,) = (tmp_path / "else where" / QUICK).glob("*Z-s-*")
    for command in (
        words("--seeds", "1,", "--name", "s"),  # the name is taken
        ["runs", "show", "s"],  # a sweep
        ["runs", "show", "none"],
        ["runs", "list", "none"],
        ["resume", str(run)],  # finished: the sweep may go on
    ):
        told = harness.run(tmp_path, *command, *elsewhere)
        assert_it_prints_a_command_that_works(tmp_path, told.stderr)


def test_a_sweep_without_validation_rows_says_how_to_compare_its_configs(tmp_path: Path) -> None:
    sweep = ["sweep", "nyse-linear", "data.source=sample", "data.day_of_week=true,false"]
    done = harness.run(tmp_path, *sweep, "--name", "s", "--runs-dir", "else where").is_told(0)
    assert_it_prints_a_command_that_works(tmp_path, done.stderr)


def test_a_renamed_run_of_a_sweep_goes_on(tmp_path: Path) -> None:
    harness.run(tmp_path, *words("--seeds", "2", "--name", "s")).is_told(0)
    before = outcome(runs(tmp_path)[1])
    renamed = runs(tmp_path)[1].rename(tmp_path / "runs" / QUICK / "20260101T000000Z-mine")
    change_record(renamed, status="interrupted")
    harness.run(tmp_path, "sweep", "--resume", "s").is_told(0)
    assert runs(tmp_path)[1] == renamed and status(renamed) == "finished"
    assert outcome(renamed) == before


def test_what_cannot_be_read_of_one_run_ends_no_sweep(tmp_path: Path) -> None:
    harness.run(tmp_path, *words("--seeds", "3", "--name", "s")).is_told(0)
    first, second, _ = runs(tmp_path).values()
    (first / "environment.json").write_text("{")
    change_record(second, format=4)
    resumed = harness.run(tmp_path, "sweep", "--resume", "s", "--force")
    resumed.is_told(0, "environment.json: ", f"left out: {second.name}: results.json: ")
    listed = json.loads(harness.run(tmp_path, "runs", "list", "--json").stdout)
    states = [run["state"] for run in listed]
    assert sorted(states) == ["damaged", "finished", "finished", "other version"]


def assert_the_table_is_right(path: Path, found: list[Path]) -> None:
    """Against pandas and scipy."""
    metrics = [json.loads((run / "results.json").read_text())["metrics"] for run in found]
    rows = [one | {"smallest": (0.01, 0.1)[place // 2]} for place, one in enumerate(metrics)]
    by_config = pd.DataFrame(rows).groupby("smallest")
    expected = by_config["test_accuracy"].agg(["size", "mean", "std", "min", "max"])
    table = pd.read_csv(path)
    table = table[table["metric"] == "test_accuracy"].set_index("path.smallest").sort_index()
    found = table[["count", "mean", "sd", "min", "max"]].to_numpy()
    assert found == pytest.approx(expected.to_numpy(), rel=1e-6)
    ends = scipy.stats.t.interval(0.95, 1, expected["mean"], expected["std"] / 2**0.5)
    for column, end in zip(("interval_of_mean_low", "interval_of_mean_high"), ends, strict=True):
        assert table[column].to_numpy() == pytest.approx(end, rel=1e-6)
    (chosen,) = table.index[table["is_best"]]
    validated = by_config["valid_accuracy"].mean()
    assert validated[chosen] == validated.max()


def assert_bits_are_those_of_the_run_alone(folder: Path) -> None:
    alone = setting("seed=1", "path.smallest=0.1", "path.values=4")
    harness.run(folder, *smoke(QUICK), *alone, "--name", "alone").is_told(0)
    assert outcome(named(folder, "alone")) == outcome(named(folder, "s-4"))


def test_an_edited_record_is_in_no_mean_and_is_named(tmp_path: Path) -> None:
    sweep = words("--seeds", "2", *setting("path.values=4"), "--name", "s")
    harness.run(tmp_path, *sweep).is_told(0)
    edited, _ = runs(tmp_path).values()
    record = json.loads((edited / "results.json").read_text())
    del record["sha256"]
    (edited / "results.json").write_text(json.dumps(record))
    why = f"left out: {edited.name}: results.json: damaged, or edited"
    harness.run(tmp_path, "report", "s").is_told(0, why)
    assert why[1:] in (tmp_path / "report.html").read_text()
    done = harness.run(tmp_path, "sweep", "--resume", "s", "--json").is_told(0)
    found = json.loads(done.stdout)
    assert str(edited) not in [str(tmp_path / point["run"]) for point in found["points"]]
    assert found["warnings"][0].startswith(why)


def test_a_point_that_fails_is_listed_and_the_others_go_on(tmp_path: Path) -> None:
    """Here points of more folds than training rows, which only their runs see."""
    own = [str(ROOT / "examples/own/cars.csv"), "data.target=price", "path.values=3"]
    points = ["cross_validation.folds=90,2", "--seeds", "2"]
    sweep = ["sweep", "table-lasso", *own, *points, "--jobs", "1"]
    failed = harness.run(tmp_path, *sweep, "--name", "f").is_told(1)
    assert "failed point 1" in failed.stdout and "failed point 2" in failed.stdout
    assert "again  dlrun sweep --resume f" in failed.stdout
    assert "best   folds=2: " in failed.stdout
    found = runs(tmp_path, "table-lasso")
    done = [number for number, run in found.items() if status(run) == "finished"]
    assert done == [3, 4] and len(found) == 2  # the others left no folder


def test_points_whose_folders_cannot_be_made_fail(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / QUICK).write_text("a file")
    sweep = words("--seeds", "2", *setting("path.values=4"), "--name", "s", "--jobs", "1")
    failed = harness.run(tmp_path, *sweep).is_told(1)
    assert "failed point 1" in failed.stdout and "failed point 2" in failed.stdout
    (tmp_path / "runs" / QUICK).unlink()
    harness.run(tmp_path, "sweep", "--resume", "s").is_told(0)


def test_runs_that_can_only_be_repeated(forked: Dlrun, tmp_path: Path, plugins: Plugins) -> None:
    """A run that waits is begun all the same; one that has begun is left, and done in another."""
    folder, env = plugins
    plugin(folder, "count-words")
    forked("sweep", "count-words", "words=1,2", "--name", "s", **env).is_told(0)
    killed, _ = runs(tmp_path, "count-words").values()
    change_record(killed, status="running")
    forked("sweep", "--resume", "s", **env).is_told(0)
    found = (tmp_path / "runs" / "count-words").glob("*Z-*")
    assert sorted(status(run) for run in found) == ["finished", "finished", "running"]


@pytest.mark.parametrize(
    ("header", "rows"), [("z,x,y", 60), ("x,z,y", 61)], ids=["columns exchanged", "a new row"]
)
def test_on_other_data_nothing_is_continued(tmp_path: Path, header: str, rows: int) -> None:
    table = tmp_path / "own.csv"
    values = [f"{row},{row * row % 7},{row * 3}" for row in range(61)]
    table.write_text("\n".join(["x,z,y", *values[:60]]) + "\n")
    own = [str(table), *setting("data.target=y")]
    sweep = ["sweep", "table-linear", *own, "--seeds", "2", "--name", "s"]
    harness.run(tmp_path, *sweep).is_told(0)
    run = ["table-dense", *own, *setting("trainer.max_epochs=1")]
    harness.run(tmp_path, *run).is_told(0)
    table.write_text("\n".join([header, *values[:rows]]) + "\n")
    again = ["sweep", "--resume", "s", "--force"]
    harness.run(tmp_path, *again).is_told(2, "own.csv has changed")
    longer = ["resume", "table-dense/latest", "trainer.max_epochs=2"]
    refused = harness.run(tmp_path, *longer)
    refused.is_told(2, "the data have changed since the run began")
    assert_it_prints_a_command_that_works(tmp_path, refused.stderr)


def assert_it_prints_a_command_that_works(folder: Path, text: str) -> None:
    """The first command in backticks, pasted."""
    command = re.findall("`dlrun (.*?)`", text)[0]
    harness.run(folder, *shlex.split(command)).is_told(0)


def test_a_copy_of_a_run_is_in_no_table_of_a_sweep_and_leads_no_list(tmp_path: Path) -> None:
    sweep = words("--seeds", "2", *setting("path.values=4"), "--name", "s")
    harness.run(tmp_path, *sweep).is_told(0)
    first, second = sorted(runs(tmp_path).values())
    point = json.loads((second / "results.json").read_text())["sweep"]
    shutil.rmtree(second)
    copy = Path(shutil.copytree(first, second))
    record = json.loads((copy / "results.json").read_text())
    perfect = dict.fromkeys(record["metrics"], 1.0)
    seal(copy / "results.json", record | {"metrics": perfect, "sweep": point})
    listed = harness.run(tmp_path, "runs", "list", "--sort", "value", "--json").is_told(0)
    assert [row["name"] for row in json.loads(listed.stdout)] == [first.name, copy.name]
    harness.run(tmp_path, "sweep", "--resume", "s").is_told(0)  # the point is run again
    table = pd.read_csv(tmp_path / "runs" / "sweeps" / "s" / "table.csv", index_col="metric")
    assert table.loc["test_accuracy", "count"] == 2 and table.loc["test_accuracy", "max"] < 1
