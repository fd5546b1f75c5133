"""The results of a sweep on the screen, as JSON, in the table and on the page."""

import json
from pathlib import Path

from dlrun.sweeps.results import SweepResults
from dlrun.sweeps.results_output import show_sweep_results, write_results
from dlrun.sweeps.sweep_runs import Sweep, SweepState
from dlrun.system.console import Screen
from tests.conftest import Dlrun, Out
from tests.sweeps.use import SAMPLE, SCORES, plan_of_rates, planned, scored_runs, written


def test_a_sweep_whose_runs_have_finished_is_shown_again(cli: Dlrun, tmp_path: Path) -> None:
    """The same on the screen, in the JSON, in the table, and on its page."""
    plan = planned(SAMPLE, seeds="2", grid=["optimizer.lr=0.001,0.002"])
    scored_runs(plan, tmp_path / "runs", {0.001: [0.7, 0.8], 0.002: [0.6, 0.5]})
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
    files = ["table", "figure", "report"]
    assert labels == ["config", "lr=0.002", "lr=0.001", *files, "best", "second", "test"]
    assert "dlrun runs compare s`" in shown.stderr
    cli("report", "s").is_told(0)
    assert "<h1>Sweep s</h1>" in (tmp_path / "report.html").read_text()


def test_a_table_that_cannot_be_written_hides_no_result(tmp_path: Path, capsys: Out) -> None:
    plan = plan_of_rates()
    sweep, state = (
        Sweep(plan, tmp_path / "sweeps" / "s"),
        SweepState(scored_runs(plan, tmp_path, SCORES)),
    )
    (sweep.folder / "table.csv").mkdir(parents=True)
    results = SweepResults(sweep, state)
    files = write_results(results, Screen())
    assert not files and str(sweep.folder) in capsys.readouterr().err
    show_sweep_results(results, files, Screen())
    told = capsys.readouterr().out
    assert f"again  {sweep.resume_command}" in told and "best   lr=0.001" in told
    _, first, *_ = told.splitlines()
    assert first.split()[:4] == ["lr=0.003", "1", "of", "3"]
