"""Configs of a sweep over their seeds, the best of them and what it is worth, and their table."""

import json
from pathlib import Path

import pytest
import scipy.stats

from dlrun.experiments.saved_run import Run
from dlrun.groups import Group
from dlrun.paired_comparison import compare_groups
from dlrun.run_context import RunSettings
from dlrun.sweeps.plan_file import SweepPlan
from dlrun.sweeps.results import (
    SweepResults,
    find_best_config,
    find_runner_up,
    group_runs_by_config,
    warnings_of_selection,
)
from dlrun.sweeps.sweep_folder import Sweep, SweepState
from dlrun.system.console import Screen
from tests.commands.run_folders import EXPERIMENT, a_whole_run
from tests.conftest import Dlrun, Out
from tests.sweeps.use import SAMPLE, planned, written

SCORES = {0.001: [0.7, 0.7, 0.7], 0.002: [0.6, 0.6, 0.6], 0.003: [0.9, None, None]}
BEST = [0.87, 0.86, 0.88, 0.875, 0.865]
SECOND = [0.85, 0.87, 0.86, 0.85, 0.86]
WORST = [0.7, 0.5, 0.6, 0.7, 0.6]


def a_plan(rates: int = 3, seeds: int = 3) -> SweepPlan:
    grid = [f"optimizer.lr={','.join(f'0.00{n}' for n in range(1, rates + 1))}"]
    return planned(SAMPLE, "trainer.max_epochs=2", seeds=str(seeds), grid=grid)


def runs(
    plan: SweepPlan,
    folder: Path,
    scores: dict[float, list[float | None]],
    metric: str = "accuracy",
    **record: object,
) -> dict[int, Run]:
    """The finished runs of the points with a score, whose test metric is worse by 0.01."""
    found = {}
    for point in plan.points:
        rate, seed = point.settings["optimizer.lr"], point.settings["seed"]
        if (score := scores[rate][seed]) is not None:
            place = folder / EXPERIMENT / f"20260101T00000{point.number}Z-{point.number}"
            metrics = {"valid_loss": 1, f"valid_{metric}": score, f"test_{metric}": score - 0.01}
            about = {"metrics": metrics, "sweep": plan.run_settings(point, RunSettings()).sweep}
            a_whole_run(place, seed=seed, lr=rate, **(about | record))
            found[point.number] = Run.in_folder(place)
    return found


def rate(config: Group | None) -> float:
    assert config is not None
    return float(config.settings["optimizer.lr"])


def test_the_best_has_all_its_seeds_or_says_how_many(tmp_path: Path) -> None:
    plan = a_plan()
    configs = group_runs_by_config(plan, runs(plan, tmp_path, SCORES))
    assert [rate(config) for config in configs] == [0.003, 0.002, 0.001]
    assert [len(config.counted) for config in configs] == [1, 3, 3]
    assert rate(find_best_config(configs)) == 0.001 and configs[-1].finished_of_planned == ""
    scores = SCORES | {0.001: [None, 0.7, 0.7], 0.002: [None] * 3}  # no config has all
    best = find_best_config(group_runs_by_config(plan, runs(plan, tmp_path / "none", scores)))
    assert rate(best) == 0.003 and best is not None and best.finished_of_planned == "1 of 3"


@pytest.mark.parametrize(("metric", "best"), [("mae", 0.002), ("r2", 0.001), ("brier", None)])
def test_a_regression_by_its_first_metric(tmp_path: Path, metric: str, best: float | None) -> None:
    """Not by the loss, which is 1 in all, unless nothing else has a direction."""
    plan = a_plan()
    found = runs(plan, tmp_path, SCORES | {0.003: [None] * 3}, metric)
    configs = group_runs_by_config(plan, found)
    if best is None:
        assert (
            configs[-1].validation_spread
            and configs[-1].validation_spread.metric.name == "valid_loss"
        )
    else:
        assert rate(find_best_config(configs)) == best


def test_the_best_is_compared_with_the_second_by_seed(tmp_path: Path) -> None:
    plan = a_plan(seeds=5)
    scores: dict[float, list[float | None]] = {0.001: [*WORST], 0.002: [*SECOND], 0.003: [*BEST]}
    configs = group_runs_by_config(plan, runs(plan, tmp_path, scores))
    assert rate(find_runner_up(configs)) == 0.002
    found = compare_groups(configs[-1], configs[-2], "valid_accuracy")
    ends = scipy.stats.ttest_rel(BEST, SECOND).confidence_interval()
    assert found and found.interval_of_mean == pytest.approx((ends.low, ends.high))
    few = a_plan(rates=2)
    found_runs = runs(few, tmp_path / "few", {0.001: [*BEST], 0.002: [*WORST]})
    results = SweepResults(Sweep(few, tmp_path / "sweeps" / "s"), SweepState(found_runs))
    assert "too few seeds to say (3 of 5)" in results.describe_comparison()
    assert find_runner_up(results.groups[-1:]) is None, "the others have no result"


def test_validation_rows_that_are_the_test_rows_are_a_warning(tmp_path: Path) -> None:
    plan = a_plan(rates=2)
    config = {"data": {"validation": "test"}}
    configs = group_runs_by_config(plan, runs(plan, tmp_path, SCORES, config=config))
    (warning,) = warnings_of_selection(configs)
    assert "best config" in warning


def test_a_sweep_whose_runs_have_finished_is_shown_again(cli: Dlrun, tmp_path: Path) -> None:
    """The same on the screen, in the JSON, in the table, and on its page."""
    plan = planned(SAMPLE, seeds="2", grid=["optimizer.lr=0.001,0.002"])
    runs(plan, tmp_path / "runs", {0.001: [0.7, 0.8], 0.002: [0.6, 0.5]})
    folder = written(plan, tmp_path / "runs").folder
    about = json.loads(cli("sweep", "--resume", "s", "--json").is_told(0).stdout)
    assert {one["state"] for one in about["points"]} == {"finished"}
    scores = [one["metrics"]["valid_accuracy"] for one in about["points"]]
    assert scores == [0.7, 0.8, 0.6, 0.5]
    best = about["best"]
    assert best["settings"] == {"optimizer.lr": 0.001}
    (row,) = (r for r in about["rows"] if r["is_best"] and r["metric"] == "valid_accuracy")
    assert (row["count"], row["min"], row["max"]) == (2, 0.7, 0.8)
    shown = cli("sweep", "--resume", "s").is_told(0)
    assert {"table.csv", "report.html"} < {path.name for path in folder.iterdir()}
    labels = [line.split()[0] for line in shown.stdout.splitlines() if line[0] != " "]
    files = ["table", "report"]
    assert labels == ["config", "lr=0.002", "lr=0.001", *files, "best", "second"]
    cli("report", "s").is_told(0)
    assert "<h1>Sweep s</h1>" in (tmp_path / "report.html").read_text()


def test_a_chart_has_the_metric_by_a_key_with_numbers(tmp_path: Path) -> None:
    plan = a_plan(rates=2)
    results = SweepResults(Sweep(plan, tmp_path), SweepState(runs(plan, tmp_path, SCORES)))
    chart = results.chart_of_key("optimizer.lr")
    assert chart is not None
    assert (chart.title, chart.mark and chart.mark.value) == ("accuracy by optimizer.lr", 0.001)
    valid, test = chart.lines
    assert (valid.name, valid.x) == ("validation", [0.001, 0.002])
    assert valid.y == pytest.approx([0.7, 0.6]) and test.y == pytest.approx([0.69, 0.59])
    assert [level.value for level in chart.levels] == [0.421]


def test_a_table_that_cannot_be_written_hides_no_result(tmp_path: Path, capsys: Out) -> None:
    plan = a_plan()
    sweep, state = Sweep(plan, tmp_path / "sweeps" / "s"), SweepState(runs(plan, tmp_path, SCORES))
    (sweep.folder / "table.csv").mkdir(parents=True)
    results = SweepResults(sweep, state)
    files = results.write_files(Screen())
    assert not files and str(sweep.folder) in capsys.readouterr().err
    results.show(files, Screen())
    told = capsys.readouterr().out
    assert f"again  {sweep.resume_command}" in told and "best   lr=0.001" in told
    _, first, *_ = told.splitlines()
    assert first.split()[:4] == ["lr=0.003", "1", "of", "3"]
