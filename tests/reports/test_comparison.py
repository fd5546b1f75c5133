"""The report groups equal configs and compares runs on the same data."""

import math
import statistics
from pathlib import Path
from typing import Any

import pytest

from dlrun.experiments.saved_run import Run
from dlrun.reports.comparison import (
    add_varied_settings_to_titles,
    charts_and_intervals_by_data,
    find_runs_with_equal_config,
)
from dlrun.reports.page import write_report_page
from dlrun.reports.run_data import RunSection
from tests.reports.example_runs import a_classification


def sections(*runs: Run) -> list[RunSection]:
    return [RunSection(place, run, 10_000, 1_000) for place, run in enumerate(runs, start=1)]


def config(seed: int, lr: float = 0.1, **more: Any) -> dict[str, Any]:
    return {"seed": seed, "optimizer": {"lr": lr}, "threads": seed + 1} | more


def test_mean_and_spread_of_configs_that_are_equal_but_for_the_seed(tmp_path: Path) -> None:
    same = [
        a_classification(tmp_path / "e" / f"r{n}", seed=n, config=config(n), rows=100)
        for n in range(3)
    ]
    other = a_classification(tmp_path / "e" / "other", seed=3, config=config(3, lr=0.2))
    stopped = a_classification(tmp_path / "e" / "k", seed=4, config=config(4), status="failed")
    earlier = a_classification(tmp_path / "e" / "again", seed=2, config=config(2), rows=100)
    ((group, _, spreads),) = find_runs_with_equal_config(sections(other, earlier, *same, stopped))
    assert [one.number for one in group] == [5, 3, 4], "each seed once"
    accuracy, loss = spreads
    values = [run.record.metrics["test_accuracy"] for run in (same[2], *same[:2])]
    assert (accuracy.metric, accuracy.values) == ("test_accuracy", values)
    assert accuracy.mean == pytest.approx(statistics.fmean(v for v in values if v))
    assert accuracy.deviation == pytest.approx(statistics.stdev(v for v in values if v))
    assert (loss.metric, loss.deviation) == ("test_loss", 0)


def test_curves_over_each_other_of_runs_on_the_same_data(tmp_path: Path) -> None:
    runs = [
        a_classification(tmp_path / "e" / f"r{n}", seed=n, config=config(n), data=f"made, seed {n}")
        for n in range(2)
    ]
    killed = a_classification(
        tmp_path / "e" / "k", seed=5, config=config(5), status="running", data=""
    )
    apart = a_classification(tmp_path / "f" / "x", config=config(0), data="others")
    ((data, charts, measured, _),) = charts_and_intervals_by_data(sections(*runs, apart, killed))
    assert data == "made"
    assert [one.number for one in measured] == [1, 2]
    assert [one.title for one in charts] == ["loss by epoch", "accuracy by epoch"]
    assert [line.end for line in charts[0].lines] == ["1", "2", "4"]


def test_a_title_has_the_runs_own_name_and_the_settings_that_differ(tmp_path: Path) -> None:
    folder, point = tmp_path / "e", {"id": "1", "name": "s", "point": 3}
    named = a_classification(folder / "20260101T000000Z-lab", config=config(0))
    more = config(0, lr=0.2, data={"fold": 1})
    unnamed = a_classification(folder / "20260101T000001Z-12ab", config=more)
    swept = a_classification(folder / "20260101T000002Z-s-3", seed=1, config=config(1), sweep=point)
    other = a_classification(tmp_path / "f" / "20260101T000000Z-12ab", config=config(5, lr=3))
    found = sections(named, unnamed, swept, other)
    add_varied_settings_to_titles(found)
    assert [one.title for one in found] == [
        "e, lab, seed 0, lr=0.1",
        "e, seed 0, lr=0.2 fold=1",
        "e, seed 1, lr=0.1",
        "f, seed 0",
    ]
    _, (chart, _), _, _ = charts_and_intervals_by_data(found)[0]
    assert chart.lines[1].name.startswith(f"No. 2 {found[1].title} (")


def test_the_kept_epoch_and_an_early_end_are_on_the_curve_of_their_run(tmp_path: Path) -> None:
    kept = a_classification(tmp_path / "e" / "a", weights_epoch=2, stopped_epoch=3)
    last = a_classification(tmp_path / "e" / "b", seed=1, weights_epoch=3)
    page = tmp_path / "page.html"
    write_report_page([kept, last], page)
    ((_, charts, _, _),) = charts_and_intervals_by_data(sections(kept, last))
    for chart in charts:
        first, second = chart.lines
        assert first.name.endswith("stopped after epoch 3, kept epoch 2") and first.kept == 2
        assert second.name.endswith("(validation)") and second.kept is None
        x, y = chart.x.at(2), chart.y.at(first.y[1])
        assert f'<circle cx="{x}" cy="{y}" r="3"/>' in page.read_text()


def test_runs_that_validated_no_epoch_are_compared_by_their_training(tmp_path: Path) -> None:
    found = sections(*(a_classification(tmp_path / "e" / f"r{n}", seed=n) for n in range(2)))
    for one in found:
        one.table = {"epoch": [1, 2], "train_loss": [0.5, 0.4], "valid_loss": [math.nan, math.nan]}
    ((_, (chart,), _, _),) = charts_and_intervals_by_data(found)
    assert [list(line.y) for line in chart.lines] == [[0.5, 0.4], [0.5, 0.4]]


def test_the_books_figure_lies_within_or_not(tmp_path: Path) -> None:
    run = a_classification(tmp_path / "e" / "r", rows=200)
    accuracy = run.record.metrics["test_accuracy"] or 0
    for value, within in ((accuracy + 0.01, True), (accuracy - 0.2, False)):
        record = run.record.model_copy(
            update={"reference": {"book": {"test_accuracy": value}}, "metrics": run.record.metrics}
        )
        (one,) = sections(Run(run.folder, record))
        assert (one.book, one.book_within) == (value, within)
        assert [level.value for chart in one.charts for level in chart.levels].count(value) == 1
    record = run.record.model_copy(
        update={"reference": {"book": {"test_accuracy": 0.9}}, "reference_differs": "other data"}
    )
    (one,) = sections(Run(run.folder, record))
    assert (one.book, one.book_within) == (None, False)


def test_commands_that_repeat_it(tmp_path: Path) -> None:
    values = {"seed": 3, "compare_with": "a b", "data": {"archive": "null", "mirrors": ["x", "y"]}}
    run = a_classification(tmp_path / "imdb-lasso" / "r", config=values)
    (one,) = sections(run)
    there, anywhere = one.commands().values()
    assert there == f"dlrun imdb-lasso --config {run.folder}/config.yaml"
    assert anywhere == (
        "dlrun imdb-lasso --set seed=3 "
        '--set \'data.archive="null"\' --set \'data.mirrors=["x", "y"]\' '
        "--set 'compare_with=a b'"
    )
