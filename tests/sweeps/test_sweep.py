"""`dlrun sweep`, by its command line."""

import json
from pathlib import Path

import pandas as pd
import pytest
import scipy.stats

from dlrun.experiments import registry
from tests.conftest import Dlrun, overlaid, setting
from tests.experiments.test_resume import outcome
from tests.sweeps.use import QUICK, named, runs, status, words

GRID = ["--seeds", "2", "--grid", "path.smallest=0.01,0.1", *setting("path.values=4")]
QUIETLY = setting("compare_with=null")  # no warning that there is no run to compare with


def test_a_sweep(forked: Dlrun, tmp_path: Path) -> None:
    """Its runs, plan, table, figure, page, last lines; and it is not taken for a run."""
    done = forked(*words(*GRID, *QUIETLY, "--name", "s", "--jobs", "2"))
    assert done.returncode == 0, done.stderr
    *lines, _ = (done.stderr + done.stdout).splitlines()  # the last repeats the whole config
    assert [line for line in lines if len(line) > 80] == []
    assert sorted(line for line in lines if " done " in line) != []
    folder = tmp_path / "runs" / "sweeps" / "s"
    there = {path.name for path in folder.iterdir()}
    assert {"sweep.json", "table.csv", "metric.png", "report.html"} <= there
    found = runs(tmp_path)
    assert [status(run) for run in found.values()] == ["finished"] * 4
    assert_the_table_is_right(folder / "table.csv", list(found.values()))
    assert_the_last_lines_repeat_the_best(forked, done.stdout)
    assert_bits_are_those_of_the_run_alone(forked, tmp_path)
    listed = json.loads(forked("runs", "list", "--json").stdout)
    assert [run["state"] for run in listed] == ["finished"] * 5
    again = forked("sweep", "--resume", "s", "--json")
    assert again.returncode == 0 and "to do" not in again.stderr
    about = json.loads(again.stdout)
    assert [point["state"] for point in about["points"]] == ["finished"] * 4
    assert about["best"]["command"] == done.stdout.splitlines()[-1].removeprefix("repeat ")
    taken = forked(*words(*GRID, "--name", "s"))
    assert taken.returncode == 2 and "`dlrun sweep --resume s` continues it" in taken.stderr


def test_equal_draws_are_run_once(forked: Dlrun) -> None:
    """The whole config decides, and the screen says how many there are."""
    draws = ["--random", "6", "--space", "path.smallest=0.01|0.1", *setting("path.values=4")]
    done = forked(*words(*draws, "--dry-run", "--json"))
    assert done.returncode == 0, done.stderr
    found = [point["settings"]["path.smallest"] for point in json.loads(done.stdout)["points"]]
    assert sorted(found) == [0.01, 0.1]
    assert "2 of 6 points" in done.stderr


def assert_the_table_is_right(path: Path, found: list[Path]) -> None:
    """Against pandas and scipy."""
    metrics = [json.loads((run / "results.json").read_text())["metrics"] for run in found]
    rows = [one | {"smallest": (0.01, 0.1)[place // 2]} for place, one in enumerate(metrics)]
    by_config = pd.DataFrame(rows).groupby("smallest")
    expected = by_config["test_accuracy"].agg(["size", "mean", "std", "min", "max"])
    table = pd.read_csv(path)
    table = table[table["metric"] == "test_accuracy"].set_index("path.smallest").sort_index()
    names = {"n": "size", "mean": "mean", "sd": "std", "min": "min", "max": "max"}
    for ours, theirs in names.items():
        assert table[ours].to_numpy() == pytest.approx(expected[theirs].to_numpy(), rel=1e-6)
    for smallest, row in expected.iterrows():
        ends = scipy.stats.t.interval(0.95, 1, loc=row["mean"], scale=row["std"] / 2**0.5)
        assert tuple(table.loc[smallest, ["low", "high"]]) == pytest.approx(ends, rel=1e-6)
    (chosen,) = table.index[table["chosen"] == 1]
    validated = by_config["valid_accuracy"].mean()
    assert validated[chosen] == validated.max()


def assert_the_last_lines_repeat_the_best(forked: Dlrun, stdout: str) -> None:
    *_, best, repeat = stdout.splitlines()
    assert best.startswith("best   smallest=0.") and "valid_accuracy" in best
    command = repeat.removeprefix("repeat ")
    assert command.startswith(f"dlrun sweep {QUICK} --seeds 0-1 --set ")
    shown = json.loads(forked(*command.split()[1:], "--dry-run", "--json").stdout)
    assert [point["settings"] for point in shown["points"]] == [{"seed": 0}, {"seed": 1}]
    assert shown["base"]["path"]["smallest"] == float(best.split("smallest=")[1].split(":")[0])


def assert_bits_are_those_of_the_run_alone(forked: Dlrun, folder: Path) -> None:
    smoke = overlaid(QUICK, *registry.experiment_entry(QUICK).overlays("smoke"))
    alone = setting("seed=1", "path.smallest=0.1", "path.values=4")
    done = forked(*smoke, *alone, *QUIETLY, "--name", "alone")
    assert done.returncode == 0, done.stderr
    (run,) = (folder / "runs" / QUICK).glob("*Z-alone")
    (point,) = named(folder, "s-4")
    assert outcome(run) == outcome(point)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "missing argument EXPERIMENT"),
        ([QUICK], "nothing varies"),
        (["imdb-lasso", "--seeds", "x"], "--seeds x: 'x' is not a seed"),
        ([QUICK, "--seeds", "2", "--set", "lr=1"], "--set lr=1: lr: unknown key"),
        ([QUICK, "--seeds", "2", "--halving"], "this experiment has no epochs"),
        ([QUICK, "--seeds", "2", "--eta", "2"], "--eta 2: only with --halving"),
        (["--resume", "none"], "'none': no such sweep"),
        (["--resume", "s", "--seeds", "2"], "--seeds: --resume continues"),
        ([QUICK, "--seeds", "2", "--name", "a/b"], "not a plain name"),
        ([QUICK, "--seeds", "2", "--jobs", "0"], "--jobs"),
        (["no-such", "--seeds", "2"], "no experiment 'no-such'"),
    ],
)
def test_what_is_said_wrongly(
    forked: Dlrun, tmp_path: Path, arguments: list[str], said: str
) -> None:
    done = forked("sweep", *arguments)
    assert done.returncode == 2
    assert said in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_a_point_that_fails_is_listed_and_the_others_go_on(forked: Dlrun, tmp_path: Path) -> None:
    """A tolerance that nothing meets is no fault of the config; a folder without texts is."""
    for name, texts in {"good": 30, "bad": 0}.items():
        for label in ("neg", "pos"):
            (tmp_path / name / label).mkdir(parents=True)
            for number in range(texts):
                text = f"{label} words {number} of a film"
                (tmp_path / name / label / f"{number}.txt").write_text(text)
    sets = setting("data.source=folder", "data.validation=5", "path.values=3", *QUIETLY[1:])
    points = ["--grid", f"data.path={tmp_path}/bad,{tmp_path}/good", "--seeds", "2"]
    failed = forked("sweep", QUICK, *points, *sets, "--name", "f", "--jobs", "1")
    assert failed.returncode == 1, failed.stderr
    assert "failed point 1" in failed.stdout and "failed point 2" in failed.stdout
    assert "again  dlrun sweep --resume f" in failed.stdout
    assert "best   path=…/good: " in failed.stdout
    done = [number for number, run in runs(tmp_path).items() if status(run) == "finished"]
    assert done == [3, 4]
    fast = forked("sweep", QUICK, *points, *sets, "--fail-fast", "--jobs", "1", "--json")
    assert fast.returncode == 1
    states = [point["state"] for point in json.loads(fast.stdout)["points"]]
    assert states == ["failed", None, None, None]
