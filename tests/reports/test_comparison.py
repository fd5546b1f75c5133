"""The report groups equal configs and compares runs on the same data."""

import json
import math
import statistics
from pathlib import Path
from typing import Any

import pytest

from dlrun.experiments.saved_run import Run
from dlrun.reports.comparison import (
    COLOURED,
    DataComparison,
    add_varied_settings_to_titles,
    choose_representatives,
    compare_by_data,
    group_by_config,
)
from dlrun.reports.page import PageContent, write_report_page
from dlrun.reports.run_data import RunSection
from tests.reports.example_runs import a_classification


def sections(*runs: Run) -> list[RunSection]:
    return [RunSection(place, run, 10_000, 1_000) for place, run in enumerate(runs, start=1)]


def compared(found: list[RunSection]) -> list[DataComparison]:
    return compare_by_data(group_by_config(found))


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
    alone, group = group_by_config(sections(other, earlier, *same, stopped))
    assert [one.number for one in alone.counted] == [1]
    assert [one.number for one in group.counted] == [3, 4, 5], "each seed once"
    assert [one.repeated_by for one in group.sections] == [5, None, None, None, None]
    assert [one.number for one in group.sections] == [2, 3, 4, 5, 6]
    accuracy, loss = group.spreads
    values = [run.record.metrics["test_accuracy"] for run in same]
    assert (accuracy.metric, accuracy.values) == ("test_accuracy", values)
    assert accuracy.mean == pytest.approx(statistics.fmean(v for v in values if v))
    assert accuracy.deviation == pytest.approx(statistics.stdev(v for v in values if v))
    assert (loss.metric, loss.deviation) == ("test_loss", 0)


def test_whether_the_seed_changes_a_number_is_seen_in_the_runs(tmp_path: Path) -> None:
    """Also in those of a fit without chance, whose data the seed splits."""
    book = {"book": {"test_mae": 260.0}}

    def place(name: str, values: list[float], split_seed: int | None) -> str | None:
        found = []
        for seed, value in enumerate(values):
            folder = tmp_path / "hitters-linear" / f"{name}{seed}"
            config = {"seed": seed, "data": {"split_seed": split_seed}}
            about = {"metrics": {"test_mae": value}, "reference": book, "seed": seed}
            run = a_classification(folder, config=config, **about)
            (folder / "config.yaml").write_text(json.dumps(config))
            found.append(run)
        (group,) = group_by_config(sections(*found))
        return group.place(group.spreads[0], "book")

    assert place("split", [240.0, 250.0, 300.0], None) == "yes"
    assert place("same", [260.0, 260.0], None) == place("one", [260.0], 1) == "equal"
    assert place("other", [250.0], 1) == "above"
    assert place("alone", [250.0], None) is None, "one run of one split"


def test_of_repeated_runs_the_one_that_began_last_counts(tmp_path: Path) -> None:
    """Wherever the data lie; other data are another config."""

    def run(name: str, day: int, **more: Any) -> Run:
        values = config(0, data={"archive": name})
        started = f"2026-11-0{day}T12:00:00+00:00"
        return a_classification(tmp_path / "e" / name, config=values, started=started, **more)

    found = run("a", 2), run("b", 3), run("c", 1), run("d", 4, data="others")
    group, other = group_by_config(sections(*found))
    assert [one.number for one in group.counted] == [2]
    assert [one.repeated_by for one in (*group.sections, *other.sections)] == [2, None, 2, None]
    _, said = write_report_page(PageContent(found), tmp_path / "page.html")
    assert "2 finished runs" in said[-1] and "(a, c)" in said[-1]
    page = (tmp_path / "page.html").read_text()
    assert "(No. 1, No. 3)" in page
    assert page.count('repeated by <a href="#run-2">No. 2</a>') == 4, "in the table, in chapters"


def test_where_own_data_lie_tells_only_runs_apart_that_have_not_read_them(tmp_path: Path) -> None:
    def run(name: str, folder: str, **more: Any) -> Run:
        values = config(0, data={"source": "folder", "path": folder})
        return a_classification(tmp_path / "e" / name, config=values, **more)

    read = sections(run("a", "/a/birds"), run("b", "/b/birds"))
    add_varied_settings_to_titles(read)
    assert [(len(one.sections), one.title) for one in group_by_config(read)] == [(2, "")]
    unread = {"status": "failed", "data": ""}
    failed = sections(run("c", "/a/birds", **unread), run("d", "/b/cats", **unread))
    assert len(group_by_config(failed)) == 2


def test_curves_over_each_other_of_runs_on_the_same_data(tmp_path: Path) -> None:
    runs = [
        a_classification(tmp_path / "e" / f"r{n}", seed=n, config=config(n), data=f"made, seed {n}")
        for n in range(2)
    ]
    killed = a_classification(
        tmp_path / "e" / "k", seed=5, config=config(5), status="running", data=""
    )
    apart = a_classification(tmp_path / "f" / "x", config=config(0), data="others")
    (found,) = compared(sections(*runs, apart, killed))
    assert found.data == "made"
    (group,) = found.groups
    assert [one.number for one in group.counted] == [1, 2]
    assert [one.title for one in found.charts] == ["loss by epoch", "accuracy by epoch"]
    assert [line.end for line in found.charts[0].lines] == ["1", "2", "4"]


def test_many_runs_are_means_and_the_best_configs_have_colours(tmp_path: Path) -> None:
    """A chart of one config has its runs behind the mean, one of many configs only some."""

    def run(seed: int, lr: float) -> Run:
        about = {"data": "made", "metrics": {"test_accuracy": 1 - lr}, "test_rows": None}
        name = f"{lr}-{seed}"
        return a_classification(tmp_path / "e" / name, seed=seed, config=config(seed, lr), **about)

    repeated = a_classification(tmp_path / "e" / "0", seed=0, config=config(0, 0.1), data="made")
    alike = [repeated, *(run(seed, 0.1) for seed in range(4))]
    ((chart, _),) = (one.charts for one in compared(sections(*alike)))
    (mean,), (band,) = chart.lines, chart.bands
    assert mean.name == "mean of 4 runs (validation)" and len(chart.faint) == 4
    assert band.low == band.high == mean.y == chart.faint[0].y
    several = sections(*(run(9, 0.2 + n / 100) for n in range(COLOURED + 2)), *alike)
    add_varied_settings_to_titles(several)
    ((chart, _),) = (one.charts for one in compared(several))
    assert chart.lines[0].name == "e lr=0.1, mean of 4 runs (validation)"
    assert [line.end for line in chart.lines[1:]] == [str(n) for n in range(1, COLOURED)]
    assert len(chart.faint) == 3 and len({line.look for line in chart.lines}) == COLOURED


@pytest.mark.parametrize(
    ("seeds", "metric", "reference", "marks"),
    [
        (1, "test_mae", {}, set()),
        (1, "test_accuracy", {}, {"interval"}),
        (1, "test_mae", {"book": {"test_mae": 0.5}}, {"book"}),
        (1, "test_mae", {"book": {"test_loss": 0.5}}, set()),
        (2, "test_mae", {"notebook": {"test_mae": 0.5}}, {"range", "notebook"}),
    ],
)
def test_the_legend_and_the_columns_are_those_of_what_is_drawn(
    tmp_path: Path, seeds: int, metric: str, reference: dict[str, Any], marks: set[str]
) -> None:
    found = [
        a_classification(
            tmp_path / "e" / f"{lr}-{seed}",
            seed=seed,
            config=config(seed, lr),
            metrics={metric: 0.4 + lr * seed},
            reference=reference,
        )
        for lr in (0.1, 0.2)
        for seed in range(seeds)
    ]
    (one,) = compared(sections(*found))
    assert one.marks == marks
    assert one.editions == sorted(marks & {"book", "notebook"})
    write_report_page(PageContent(found), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    together = text[text.index('id="together-title"') : text.index('id="runs-title"')]
    assert together.count('<path class="interval" d="M0') == len(marks & {"range", "interval"})
    assert together.count('"M14 0V10"') == len(marks & {"book", "notebook"})
    assert ("interval</th>" in together) == (seeds > 1 or "interval" in marks)
    assert ("inside our range?" in together) == (marks > {"range"})


def test_the_median_run_stands_for_its_config(tmp_path: Path) -> None:
    found = [
        a_classification(
            tmp_path / "e" / str(seed), seed=seed, config=config(seed), metrics=metrics
        )
        for seed, metrics in enumerate({"test_accuracy": one} for one in (0.9, 0.7, 0.8))
    ]
    failed = a_classification(tmp_path / "e" / "f", config=config(3), status="failed")
    shown = sections(*found, failed)
    choose_representatives(group_by_config(shown))
    assert [one.representative.number for one in shown] == [3, 3, 3, 4]


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
    chart = compared(found)[0].charts[0]
    assert sorted(line.name for line in chart.lines)[1].startswith(f"No. 2 {found[1].title} (")


def test_a_title_has_no_setting_that_differs_between_data_alone(tmp_path: Path) -> None:
    def run(name: str, data: str, lr: float, target: str, **metrics: float) -> Run:
        values = config(0, lr, data={"target": target})
        about = {"metrics": metrics, "config": values, "data": data}
        return a_classification(tmp_path / "e" / name, **about)

    runs = (
        run("a", "players", 0.1, "Salary", test_mae=3.0),
        run("b", "players", 0.2, "Salary", test_mae=2.0),
        run("c", "own table", 0.1, "y", test_accuracy=0.5),
    )
    found = sections(*runs)
    add_varied_settings_to_titles(found)
    assert [one.varied for one in found] == ["lr=0.1", "lr=0.2", ""]
    write_report_page(PageContent(runs), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "2 configs, 2 runs: test mae" in page and "(lr=0.2) to" in page
    write_report_page(
        PageContent([*runs, run("d", "other table", 0.1, "z", test_mae=9.0)]),
        tmp_path / "page.html",
    )
    page = (tmp_path / "page.html").read_text()
    assert "(lr=0.2 on players) to" in page and "(other table)" in page


def test_the_kept_epoch_and_an_early_end_are_on_the_curve_of_their_run(tmp_path: Path) -> None:
    kept = a_classification(tmp_path / "e" / "a", weights_epoch=2, stopped_epoch=3)
    last = a_classification(tmp_path / "e" / "b", seed=1, weights_epoch=3)
    page = tmp_path / "page.html"
    write_report_page(PageContent([kept, last]), page)
    (found,) = compared(sections(kept, last))
    for chart in found.charts:
        first, second = chart.lines
        assert first.name.endswith("stopped after epoch 3, kept epoch 2") and first.kept == 2
        assert second.name.endswith("(validation)") and second.kept is None
        x, y = chart.x.at(2), chart.y.at(first.y[1])
        assert f'<circle cx="{x}" cy="{y}" r="3"/>' in page.read_text()


def test_runs_that_validated_no_epoch_are_compared_by_their_training(tmp_path: Path) -> None:
    found = sections(*(a_classification(tmp_path / "e" / f"r{n}", seed=n) for n in range(2)))
    for one in found:
        one.table = {"epoch": [1, 2], "train_loss": [0.5, 0.4], "valid_loss": [math.nan, math.nan]}
    ((chart,),) = (one.charts for one in compared(found))
    assert [list(line.y) for line in chart.lines] == [[0.5, 0.4], [0.5, 0.4]]


def test_whether_the_books_figure_is_in_the_interval(tmp_path: Path) -> None:
    run = a_classification(tmp_path / "e" / "r", rows=200)
    accuracy = run.record.metrics["test_accuracy"] or 0
    for value, place in ((accuracy + 0.01, "yes"), (accuracy - 0.2, "below")):
        record = run.record.model_copy(
            update={"reference": {"book": {"test_accuracy": value}}, "metrics": run.record.metrics}
        )
        (one,) = sections(Run(run.folder, record))
        assert (one.book, one.book_in_interval) == (value, place)
        assert [level.value for chart in one.charts for level in chart.levels].count(value) == 1
    record = run.record.model_copy(
        update={"reference": {"book": {"test_accuracy": 0.9}}, "reference_differs": "other data"}
    )
    (one,) = sections(Run(run.folder, record))
    assert (one.book, one.book_in_interval) == (None, None)


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
