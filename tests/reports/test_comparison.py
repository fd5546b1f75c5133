"""The page compares the configs on the same data, and draws their curves."""

import math
from pathlib import Path
from typing import Any

from dlrun.reports.comparison import (
    MAX_CURVES,
    DataSetComparison,
    compare_by_data,
    complete_run_sections,
)
from dlrun.reports.page import PageContent, write_report_page
from dlrun.reports.run_section import RunSection
from dlrun.runs.groups import group_runs
from dlrun.runs.run import Run
from tests.reports.example_runs import a_classification, config, sections


def compared(shown: list[RunSection]) -> list[DataSetComparison]:
    groups = group_runs([section.run for section in shown])
    by_folder = {section.run.folder: section for section in shown}
    complete_run_sections(groups, by_folder)
    return compare_by_data(groups, by_folder)


def run(folder: Path, name: str = "r", experiment: str = "e", seed: int = 0, **more: Any) -> Run:
    return a_classification(folder / experiment / name, seed=seed, **more)


def test_of_repeated_runs_one_counts_and_the_median_stands_for_all(tmp_path: Path) -> None:
    found = []
    for seed, accuracy in enumerate((0.9, 0.7, 0.8)):
        about = {"config": config(seed), "metrics": {"test_accuracy": accuracy}}
        found.append(run(tmp_path, str(seed), seed=seed, **about))
    failed = run(tmp_path, "f", config=config(3), status="failed", seed=3)
    later = {"started": "2026-11-30T12:00:00+00:00", "metrics": {"test_accuracy": 0.9}}
    again = run(tmp_path, "again", config=config(0, data={"archive": "x"}), **later)
    shown = sections(*found, failed, again)
    compared(shown)
    assert [section.representative.number for section in shown] == [3, 3, 3, 4, 3]
    assert [section.repeated_by for section in shown] == [5, None, None, None, None]
    write_report_page(PageContent([*found, again]), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.count('repeated by <a href="#run-4">No. 4</a>') == 1


def test_many_runs_are_means_and_the_best_configs_have_colours(tmp_path: Path) -> None:
    def a_run(seed: int, lr: float) -> Run:
        about = {"data": "made", "metrics": {"test_accuracy": 1 - lr}, "test_rows": None}
        return run(tmp_path, f"{lr}-{seed}", seed=seed, config=config(seed, lr), **about)

    repeated = run(
        tmp_path, "0", config=config(0, 0.1), data="made", started="2026-01-01T00:00+00:00"
    )
    alike = [repeated, *(a_run(seed, 0.1) for seed in range(4))]
    (found,) = compared(sections(*alike))
    (mean,) = found.charts[0].lines
    assert mean.name == "e, mean of 4 runs (validation)"
    assert mean.low == mean.high == mean.y
    several = sections(*(a_run(9, 0.2 + n / 100) for n in range(MAX_CURVES + 2)), *alike)
    (found,) = compared(several)
    lines = found.charts[0].lines
    assert lines[0].name == "e lr=0.1, mean of 4 runs (validation)"
    assert [line.name[:5] for line in lines[1:]] == [f"No. {n}" for n in range(1, MAX_CURVES)]
    for words in zip(*(line.look.split() for line in lines), strict=True):
        assert len({*words}) == MAX_CURVES, "colours, and dashes"


def test_a_title_has_the_runs_own_name_and_the_settings_that_differ(tmp_path: Path) -> None:
    point = {"id": "1", "name": "s", "point": 3}
    named = run(tmp_path, "20260101T000000Z-lab", config=config(0))
    more = config(0, lr=0.2, data={"fold": 1})
    unnamed = run(tmp_path, "20260101T000001Z-12ab", config=more)
    swept = run(tmp_path, "20260101T000002Z-s-3", seed=1, config=config(1), sweep=point)
    other = run(tmp_path, "20260101T000000Z-12ab", "f", config=config(5, lr=3))
    shown = sections(named, unnamed, swept, other)
    compared(shown)
    titles = ["lab, seed 0, lr=0.1", "seed 0, lr=0.2 fold=1", "seed 1, lr=0.1"]
    assert [section.title for section in shown] == [*(f"e, {one}" for one in titles), "f, seed 0"]


def test_runs_that_validated_no_epoch_are_compared_by_their_training(tmp_path: Path) -> None:
    shown = sections(*(run(tmp_path, f"r{n}", seed=n) for n in range(2)))
    for one in shown:
        one.table = {"epoch": [1, 2], "train_loss": [0.5, 0.4], "valid_loss": [math.nan, math.nan]}
    (found,) = compared(shown)
    assert [list(line.y) for line in found.charts[0].lines] == [[0.5, 0.4], [0.5, 0.4]]


def test_a_mean_is_named_by_the_data_of_its_own_runs(tmp_path: Path) -> None:
    finished = [run(tmp_path, str(n), seed=n, config=config(n)) for n in range(3)]
    failed = run(tmp_path, "f", seed=3, config=config(3), status="failed")
    shown = sections(*finished, failed)
    shown[-1].table = {"epoch": [1, 2], "train_loss": [0.5, 0.4], "train_accuracy": [0.5, 0.6]}
    (found,) = compared(shown)
    names = [line.name for line in found.charts[0].lines]
    assert names[0] == "e, mean of 3 runs (validation)" and names[1].endswith("(training)")
