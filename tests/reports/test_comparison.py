"""The report compares the configs on the same data, and draws their curves."""

import math
from pathlib import Path
from typing import Any

import pytest

from dlrun.experiments.saved_run import Run
from dlrun.reports.comparison import COLOURED, DataComparison, compare_by_data
from dlrun.reports.groups import group_by_config
from dlrun.reports.page import PageContent, write_report_page
from dlrun.reports.run_data import RunSection
from tests.reports.example_runs import a_classification, config, sections


def compared(found: list[RunSection]) -> list[DataComparison]:
    return compare_by_data(group_by_config(found))


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
    def run(seed: int, lr: float) -> Run:
        about = {"data": "made", "metrics": {"test_accuracy": 1 - lr}, "test_rows": None}
        name = f"{lr}-{seed}"
        return a_classification(tmp_path / "e" / name, seed=seed, config=config(seed, lr), **about)

    repeated = a_classification(tmp_path / "e" / "0", seed=0, config=config(0, 0.1), data="made")
    alike = [repeated, *(run(seed, 0.1) for seed in range(4))]
    ((chart, _),) = (one.charts for one in compared(sections(*alike)))
    (mean,) = chart.lines
    assert mean.name == "mean of 4 runs (validation)"
    assert mean.low == mean.high == mean.y
    several = sections(*(run(9, 0.2 + n / 100) for n in range(COLOURED + 2)), *alike)
    ((chart, _),) = (one.charts for one in compared(several))
    assert chart.lines[0].name == "e lr=0.1, mean of 4 runs (validation)"
    assert [line.end for line in chart.lines[1:]] == [str(n) for n in range(1, COLOURED)]
    assert len({line.look for line in chart.lines}) == COLOURED


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


def test_a_title_has_the_runs_own_name_and_the_settings_that_differ(tmp_path: Path) -> None:
    folder, point = tmp_path / "e", {"id": "1", "name": "s", "point": 3}
    named = a_classification(folder / "20260101T000000Z-lab", config=config(0))
    more = config(0, lr=0.2, data={"fold": 1})
    unnamed = a_classification(folder / "20260101T000001Z-12ab", config=more)
    swept = a_classification(folder / "20260101T000002Z-s-3", seed=1, config=config(1), sweep=point)
    other = a_classification(tmp_path / "f" / "20260101T000000Z-12ab", config=config(5, lr=3))
    found = sections(named, unnamed, swept, other)
    chart = compared(found)[0].charts[0]
    assert [one.title for one in found] == [
        "e, lab, seed 0, lr=0.1",
        "e, seed 0, lr=0.2 fold=1",
        "e, seed 1, lr=0.1",
        "f, seed 0",
    ]
    assert sorted(line.name for line in chart.lines)[1].startswith(f"No. 2 {found[1].title} (")


def test_the_kept_epoch_and_an_early_end_are_in_the_name_of_their_curve(tmp_path: Path) -> None:
    kept = a_classification(tmp_path / "e" / "a", weights_epoch=2, stopped_epoch=3)
    last = a_classification(tmp_path / "e" / "b", seed=1, weights_epoch=3)
    (found,) = compared(sections(kept, last))
    first, second = found.charts[0].lines
    assert first.name.endswith("stopped after epoch 3, kept epoch 2")
    assert second.name.endswith("(validation)")


def test_runs_that_validated_no_epoch_are_compared_by_their_training(tmp_path: Path) -> None:
    found = sections(*(a_classification(tmp_path / "e" / f"r{n}", seed=n) for n in range(2)))
    for one in found:
        one.table = {"epoch": [1, 2], "train_loss": [0.5, 0.4], "valid_loss": [math.nan, math.nan]}
    ((chart,),) = (one.charts for one in compared(found))
    assert [list(line.y) for line in chart.lines] == [[0.5, 0.4], [0.5, 0.4]]


def test_commands_that_repeat_it(tmp_path: Path) -> None:
    values = {"seed": 3, "compare_with": "a b", "data": {"archive": "null", "word_index": "x y"}}
    run = a_classification(tmp_path / "imdb-lasso" / "r", config=values)
    (one,) = sections(run)
    there, anywhere = one.commands().values()
    assert there == f"dlrun imdb-lasso --config {run.folder}/config.yaml"
    assert anywhere == (
        "dlrun imdb-lasso --set seed=3 "
        "--set 'data.archive=\"null\"' --set 'data.word_index=x y' "
        "--set 'compare_with=a b'"
    )
