"""What a notebook shows of a run and of a sweep: escaped HTML with SVG, without scripts."""

import re
from pathlib import Path

from dlrun.api import Run, SweepResults
from dlrun.sweeps.sweep_runs import Sweep, SweepState
from tests.reports.example_runs import a_classification, config
from tests.runs.making import change_record
from tests.sweeps.use import SCORES, plan_of_rates, scored_runs

HOSTILE = "<img src=x onerror=alert(1)></div></style><script>alert(2)</script>"


def html(shown: Run | SweepResults) -> str:
    text = shown._repr_html_()
    assert [word for word in ("<script", "onerror=alert(1)>", " onclick") if word in text] == []
    assert text.count("<div") == text.count("</div>") and text.count("<style") == 1
    return text


def test_metrics_stand_beside_the_books_above_the_curves(tmp_path: Path) -> None:
    about = {"epochs": 3000, "reference": {"book": {"test_accuracy": 0.8765}}}
    run = a_classification(tmp_path / "imdb-dense" / "a", config=config(0), **about)
    shown = html(Run.of(run))
    value = f"{run.record.metrics['test_accuracy']:.4f}"
    row = re.search(r"<tr><th[^>]*>test_accuracy</th>.*?</tr>", shown)
    assert row and re.findall(r">([\d.]+)</td>", row[0]) == [value, "0.8765"]
    assert re.findall("<figcaption>(.*?)</figcaption>", shown) == ["loss", "accuracy"]
    assert shown.count("<polyline") == 4 and "data-x" not in shown
    assert len(shown) < 20_000, "small, however long the run was"


def test_a_run_that_is_not_as_it_should_be(tmp_path: Path) -> None:
    run = a_classification(tmp_path / "imdb-dense" / "a", config=config(0))
    change_record(run.folder, status="failed", error=HOSTILE, metrics={})
    (run.folder / "metrics.csv").write_text("epoch,train_loss\n1\n")
    shown = html(Run.in_folder(run.folder))
    assert "&lt;img" in shown and "metrics.csv" in shown
    (run.folder / "metrics.csv").unlink()
    assert "<polyline" not in html(Run.in_folder(run.folder))


def test_a_sweep_shows_its_configs_and_the_best(tmp_path: Path) -> None:
    plan = plan_of_rates()
    runs = {number: Run.of(run) for number, run in scored_runs(plan, tmp_path, SCORES).items()}
    state = SweepState(dict(runs), {8: HOSTILE})
    results = SweepResults(Sweep(plan, tmp_path / "sweeps" / "s"), state)
    shown = html(results)
    table, *_ = shown.split("</table>")
    assert re.findall(r"lr=[\d.]+", table) == ["lr=0.003", "lr=0.002", "lr=0.001"]
    assert "test_accuracy 0.6900" in shown and "&lt;img" in shown
    (plot,) = re.findall(r'<figure class="dots">.*?</svg>', shown, re.DOTALL)
    assert plot.count("<circle") == 2 * 7, "of validation and test"
