"""Configs over their seeds, the best of them, and their table on the screen."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dlrun.experiments.saved_run import Run
from dlrun.run_context import RunSettings
from dlrun.sweeps.configs import ConfigResults, find_best_config, group_runs_by_config
from dlrun.sweeps.plan import Sweep, SweepPlan, SweepState
from dlrun.sweeps.summary import SweepSummary, format_sweep_configs
from dlrun.system.console import Screen
from tests.commands.run_folders import EXPERIMENT, a_whole_run
from tests.conftest import Dlrun, Out
from tests.sweeps.test_configs import result as a_result
from tests.sweeps.use import SAMPLE, planned, written

SCORES = {0.001: [0.7, 0.7, 0.7], 0.002: [0.6, 0.6, 0.6], 0.003: [0.9, None, None]}


@pytest.fixture
def plan() -> SweepPlan:
    """Three configs with three seeds."""
    grid = [f"optimizer.lr={','.join(map(str, SCORES))}"]
    return planned(SAMPLE, "trainer.max_epochs=2", seeds="3", grid=grid)


def runs(
    plan: SweepPlan, folder: Path, scores: dict[float, list[float | None]], metric: str = "accuracy"
) -> dict[int, Run]:
    """The finished runs of the points with a score."""
    found = {}
    for point in plan.points:
        rate, seed = point.settings["optimizer.lr"], point.settings["seed"]
        if (score := scores[rate][seed]) is not None:
            member = plan.run_settings(point, RunSettings()).sweep
            place = folder / EXPERIMENT / f"20260101T00000{point.number}Z-{point.number}"
            metrics = {"valid_loss": 1, f"valid_{metric}": score, f"test_{metric}": score}
            a_whole_run(place, seed=seed, lr=rate, metrics=metrics, sweep=member)
            found[point.number] = Run.in_folder(place)
    return found


def rate(result: ConfigResults | None) -> float:
    assert result is not None
    return float(result.settings["optimizer.lr"])


def test_the_best_has_all_its_seeds_or_says_how_many(plan: SweepPlan, tmp_path: Path) -> None:
    results = group_runs_by_config(plan, runs(plan, tmp_path, SCORES))
    assert [(rate(one), len(one.runs), one.planned) for one in results] == [
        (0.003, 1, 3),
        (0.002, 3, 3),
        (0.001, 3, 3),
    ]
    assert rate(find_best_config(results)) == 0.001 and results[-1].missing == ""
    scores = SCORES | {0.001: [None, 0.7, 0.7], 0.002: [None] * 3}  # no config has all
    best = find_best_config(group_runs_by_config(plan, runs(plan, tmp_path / "none", scores)))
    assert rate(best) == 0.003 and best is not None and best.missing == "1 of 3"


@pytest.mark.parametrize(("metric", "best"), [("mae", 0.002), ("r2", 0.001)])
def test_a_regression_is_selected_by_its_first_metric(
    plan: SweepPlan, tmp_path: Path, metric: str, best: float
) -> None:
    """Of an error the lowest value, of R² the highest; not by the loss, which is 1 in all."""
    scores = SCORES | {0.003: [None] * 3}
    found = runs(plan, tmp_path, scores, metric)
    assert rate(find_best_config(group_runs_by_config(plan, found))) == best


def test_a_sweep_whose_runs_have_finished_is_shown_again(cli: Dlrun, tmp_path: Path) -> None:
    """The same on the screen, in the JSON and in the table."""
    plan = planned(SAMPLE, seeds="2", grid=["optimizer.lr=0.001,0.002"])
    runs(plan, tmp_path / "runs", {0.001: [0.7, 0.8], 0.002: [0.6, 0.5]})
    folder = written(plan, tmp_path / "runs").folder
    about = json.loads(cli("sweep", "--resume", "s", "--json").is_told(0).stdout)
    assert [one["point"] for one in about["points"]] == [1, 2, 3, 4]
    assert {one["state"] for one in about["points"]} == {"finished"}
    scores = [one["metrics"]["valid_accuracy"] for one in about["points"]]
    assert scores == [0.7, 0.8, 0.6, 0.5]
    best = about["best"]
    assert best["settings"] == {"optimizer.lr": 0.001} and best["seeds"] == [0, 1]
    numbers = best["metrics"]["valid_accuracy"]
    assert (numbers["n"], numbers["min"], numbers["max"]) == (2, 0.7, 0.8)
    command = shlex.split(best["command"])
    assert command[:5] == ["dlrun", "sweep", EXPERIMENT, "--seeds", "0-1"]
    assert not any(word.startswith("seed=") for word in command)
    shown = cli("sweep", "--resume", "s").is_told(0)
    assert {"table.csv", "metric.png", "report.html"} < {path.name for path in folder.iterdir()}
    labels = [line.split()[0] for line in shown.stdout.splitlines() if line[0] != " "]
    files = ["table", "figure", "report"]
    judged = ["second", "test"]
    assert labels == ["config", "lr=0.002", "lr=0.001", *files, "best", *judged, "repeat"]
    assert shown.stdout.splitlines()[-1] == f"repeat {best['command']}"
    assert "cross-validation" not in shown.stderr


def test_dlrun_report_of_a_sweep_writes_the_sweeps_own_page(
    cli: Dlrun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one with a missing run."""
    monkeypatch.chdir(tmp_path)
    spaces = [f"optimizer.lr={'|'.join(map(str, SCORES))}", "batch_size=128|256"]
    plan = planned(SAMPLE, seeds="2", spaces=spaces, trials=2)
    sweep = written(plan, Path("runs"))
    cli("report", "s").is_told(2, "has no runs")
    scores: dict[float, list[float | None]] = {0.001: [0.7, 0.8], 0.002: [0.6, None]}
    found = runs(plan, Path("runs"), scores | {0.003: [0.5, 0.5]})
    files = SweepSummary(sweep, SweepState(found)).write_files(Screen(quiet=True))
    cli("report", "s", "--out", "page.html").is_told(0)
    pages = [Path(files["report"]).read_text(), (tmp_path / "page.html").read_text()]
    own, page = (re.sub(r" on \d{4}-\d\d-\d\d \d\d:\d\d UTC", "", text) for text in pages)
    assert page == own
    note = f"{len(found)} of 4 points have finished; dlrun sweep --resume s runs the rest"
    parts = ["The best config by validation", "The configs", "data:image/png;base64,", note]
    assert [text for text in [*parts, "The sweep s: dlrun"] if text not in page] == []
    cli("report", "s", found[1].folder, "--out", "page.html").is_told(0)
    page = (tmp_path / "page.html").read_text()
    assert "The sweep s" not in page and f"<h1>{len(found)} runs</h1>" in page


def test_a_table_that_cannot_be_written_hides_no_result(
    plan: SweepPlan, tmp_path: Path, capsys: Out
) -> None:
    sweep, state = Sweep(plan, tmp_path / "sweeps" / "s"), SweepState(runs(plan, tmp_path, SCORES))
    (sweep.folder / "table.csv").mkdir(parents=True)
    summary = SweepSummary(sweep, state)
    files = summary.write_files(Screen())
    assert not files and str(sweep.folder) in capsys.readouterr().err
    summary.show(files, Screen())
    told = capsys.readouterr().out
    assert f"again  {sweep.resume_command}" in told and "best   lr=0.001" in told


def result(
    settings: dict[str, Any],
    *accuracies: float,
    book: float | None = 0.855,
    planned: int | None = None,
) -> ConfigResults:
    validated = {seed: accuracy + 0.01 for seed, accuracy in enumerate(accuracies)}
    found = a_result(settings, validated, reference={"book": {"test_accuracy": book}})
    return replace(found, planned=planned or found.planned)


def lines(*results: ConfigResults) -> list[str]:
    console = Console(width=80, soft_wrap=True)
    with console.capture() as capture:
        console.print(format_sweep_configs(results))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_the_table_fits_80_columns_and_says_which_seeds_lack() -> None:
    head, row = lines(result({"optimizer.lr": 0.002}, 0.85, 0.86, 0.87))
    assert head.split() == "config n valid acc. test acc. test sd mean's 95 % book".split()
    assert row.split() == "lr=0.002 3 0.8700 0.8600 0.0100 0.8352-0.8848 0.8550".split()
    head, *rows = lines(result({f"key{n}": "x" * 20 for n in range(5)}, 0.85, 0.86))
    assert max(map(len, rows)) <= 80 and "0.8550" in rows[0] and "key4=" in rows[-1]
    _, row = lines(result({"optimizer.lr": 0.002}, 0.85, 0.86, planned=3))
    assert row.split()[:5] == "lr=0.002 2 of 3 0.8650".split()


def test_columns_that_would_be_empty_are_left_out() -> None:
    head, _ = lines(result({"top": 1}, 0.5, book=None))
    assert head.split() == "config n valid acc. test acc.".split()
    head, row = lines(result({}, 0.5, 0.6, book=None))
    assert head.split()[0] == "n" and row.split()[0] == "2"
    assert not any(lines())
