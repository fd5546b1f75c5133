"""`dlrun runs show` shows everything about one run, `dlrun runs compare` what differs."""

import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from dlrun.cli.runs_compare import compare
from dlrun.cli.runs_show import show
from dlrun.errors import ConfigError
from tests import harness
from tests.cli.run_folders import EXPERIMENT, a_whole_run, living
from tests.conftest import NETWORKS, Dlrun, Out, smoke

NAME = "20260101T000000Z-a"


def test_a_run_that_is_not_finished_shows_its_newest_step(tmp_path: Path, capsys: Out) -> None:
    own = {"status": "running", "metrics": {}, "ended": None, "error": "no [red]memory"}
    folder = a_whole_run(tmp_path / EXPERIMENT / NAME, **own)
    with living(folder):
        show("latest", runs_dir=tmp_path)
    lines = capsys.readouterr().out.splitlines()
    shown = {line.split()[0]: line.split(maxsplit=1)[-1].strip() for line in lines}
    assert shown["state"].startswith("running") and "resume" not in shown
    assert shown["valid_loss"] == "0.5000" and shown["error"] == "no [red]memory"


def test_json_has_all_of_it(tmp_path: Path, capsys: Out) -> None:
    folder = a_whole_run(tmp_path / EXPERIMENT / NAME, seed=3)
    show("a", json=True, runs_dir=tmp_path)
    found = json.loads(capsys.readouterr().out)
    assert found["state"] == "finished" and found["differs"] == {"seed": 3}
    assert found["record"]["metrics"] == {"test_loss": 0.5, "test_accuracy": 0.5}
    assert found["published"] == {"book": {"test_accuracy": 0.421}}
    assert found["environment"]["packages"] == {"torch": "2.9.0"}
    assert found["files"]["config.yaml"] == (folder / "config.yaml").stat().st_size
    assert found["size"] == sum(found["files"].values())
    assert found["resume"] is None  # no checkpoint


@pytest.mark.slow
def test_the_commands_that_it_shows_work(forked: Dlrun, tmp_path: Path) -> None:
    elsewhere = ["--runs-dir", "else where"]
    assert forked(*smoke(EXPERIMENT), "--name", "mine", *elsewhere).returncode == 0
    (run,) = (tmp_path / "else where" / EXPERIMENT).glob("*Z-mine")
    run = run.rename(run.with_name(run.name.replace("mine", "it's mine")))
    about = json.loads(forked("runs", "show", run, "--json").stdout)
    for key in ("resume", "repeat"):
        _, *words = shlex.split(about[key])
        forked(*words).is_told(0)
    assert len(list(run.parent.glob("*Z-*"))) == 3  # the resume is a new run
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    better = {"test_loss": 0.4, "test_accuracy": 0.5, "nonzero": 3, "valid_accuracy": 0.9}
    a_whole_run(folder / EXPERIMENT / "a", seed=1, metrics=better)
    a_whole_run(folder / EXPERIMENT / "b", lr=0.1)
    worse = {"test_loss": 0.6, "test_accuracy": 0.4}
    a_whole_run(folder / NETWORKS[1] / "c", lr=0.1, metrics=worse, status="failed")
    a_whole_run(folder / EXPERIMENT / "d", data="other\x1b[31m reviews of a very long name")
    (folder / EXPERIMENT / "d" / "metrics.csv").unlink()
    return folder


def rows(capsys: Out, runs: Path, *names: str) -> dict[str, list[str]]:
    compare(names, runs_dir=runs)
    found: dict[str, list[str]] = {}  # the table may be in parts
    for line in capsys.readouterr().out.splitlines():
        key, *cells = line.split()
        if not key.startswith(EXPERIMENT):  # a sentence that compares two configs
            found.setdefault(key, []).extend(cells)
    return found


def test_only_what_differs_and_the_best_is_marked(runs: Path, capsys: Out) -> None:
    found = rows(capsys, runs, "a", "b")
    assert found == {
        "run": ["a", "b"],
        "seed": ["1", "0"],
        "optimizer.lr": ["0.001", "0.1"],
        "test_loss": ["0.4000*", "0.5000"],
        "test_accuracy": ["0.5000", "0.5000"],
        "nonzero": ["3", "-"],
        "valid_accuracy": ["0.9000", "-"],
        "seconds": ["10.5", "10.5"],
    }


def test_several_runs_of_several_configs_are_shown_by_their_means(runs: Path, capsys: Out) -> None:
    worse = {"test_loss": 0.8, "test_accuracy": 0.2}
    a_whole_run(runs / EXPERIMENT / "e", lr=0.1, seed=1, metrics=worse)
    a_whole_run(runs / EXPERIMENT / "f", seed=2, status="failed")
    found = rows(capsys, runs, "b", "a", "e", "f")
    assert found["mean"] == ["of", EXPERIMENT, "lr=0.1", EXPERIMENT, "lr=0.001"]
    assert found["runs"] == ["2", "1", "of", "2"]
    assert found["seed"] == ["varies", "1"]
    assert found["optimizer.lr"] == ["0.1", "0.001"]
    assert found["test_loss"] == ["0.6500", "0.4000*"]
    assert found["test_accuracy"] == ["0.3500", "0.5000*"]


def test_a_value_that_is_better_by_rounding_alone_has_no_mark(tmp_path: Path, capsys: Out) -> None:
    for name, mae in (("a", 259.7153), ("b", 259.7153 - 1e-10), ("c", 260.0)):
        metrics = {"test_mae": mae, "test_loss": 1.0, "test_r2": None}
        a_whole_run(tmp_path / EXPERIMENT / name, metrics=metrics)
    found = rows(capsys, tmp_path, "a", "b")
    assert found["test_mae"] == ["259.7153", "259.7153"]
    found = rows(capsys, tmp_path, "a", "b", "c")
    assert found["test_mae"] == ["259.7153*", "259.7153*", "260.0000"]
    assert found["test_loss"] == ["1.0000"] * 3 and found["test_r2"] == ["-"] * 3


def test_on_other_data_none_is_the_best(runs: Path, capsys: Out) -> None:
    compare(["a", "d"], runs_dir=runs)
    said = capsys.readouterr()
    assert "*" not in said.out and "not on the same test rows" in said.err
    assert "\x1b" not in said.out
    assert "other\N{REPLACEMENT CHARACTER}[31m reviews of a very …" in said.out


def test_a_run_is_not_compared_with_itself(runs: Path) -> None:
    with pytest.raises(ConfigError, match="two different runs"):
        compare(["a", "a"], runs_dir=runs)


def compared(folder: Path, capsys: Out, *runs: str) -> list[dict[str, Any]]:
    compare(runs, json=True, runs_dir=folder / "runs")
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["comparisons"]
    return found


def test_fits_with_other_columns_are_compared_row_by_row(tmp_path: Path, capsys: Out) -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(300, 3))
    table = pd.DataFrame(values, columns=["a", "b", "c"])
    table["y"] = values.sum(1) + random.normal(size=300)
    table.to_csv(tmp_path / "t.csv", index=False)
    for name, *settings in (
        ("all",),
        ("fewer", "data.ignore=[a]"),
        ("other", "data.split_seed=9"),
    ):
        words = ["table-linear", "t.csv", "data.target=y", *settings, "--name", name]
        harness.run(tmp_path, *words).is_told(0)
    fewer, other = compared(
        tmp_path, capsys, *(f"table-linear/{n}" for n in ("all", "fewer", "other"))
    )
    assert "test rows" in other["why_not"] and "difference" not in other
    errors = []
    for name in ("fewer", "all"):
        (file,) = tmp_path.glob(f"runs/table-linear/*-{name}/predictions.csv")
        predicted = pd.read_csv(file)
        errors.append((predicted["target"] - predicted["predicted"]).abs())
    ends = scipy.stats.ttest_rel(*errors).confidence_interval()
    assert fewer["interval_of_difference"] == pytest.approx([ends.low, ends.high])
    assert (fewer["unit"], fewer["verdict"]) == ("test row", "worse")
    assert fewer["count"] == len(errors[0]) and f"{len(errors[0])} test rows" in fewer["rows"]


def test_days_are_compared_in_blocks(tmp_path: Path, capsys: Out) -> None:
    for name, setting in (("a", "data.lags=5"), ("b", "data.lags=3")):
        words = ["nyse-linear", "data.source=sample", setting, "--name", name]
        harness.run(tmp_path, *words).is_told(0)
    (found,) = compared(tmp_path, capsys, "nyse-linear/a", "nyse-linear/b")
    assert found["unit"] == "block"
    assert found["verdict"] == f"too few blocks to say ({found['count']} of 5)"
