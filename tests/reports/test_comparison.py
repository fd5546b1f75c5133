"""The page compares the configs on the same data, draws their curves, and tags their weaknesses."""

import math
from pathlib import Path
from typing import Any

import pytest

from dlrun.experiments import registry
from dlrun.experiments.saved_run import Run
from dlrun.groups import group_runs
from dlrun.reports.comparison import (
    COLOURED,
    DataOnPage,
    ExperimentOnPage,
    compare_by_data,
    group_by_experiment,
    place_on_page,
)
from dlrun.reports.page import PageContent, write_report_page
from dlrun.reports.run_data import CHOSEN_BY_TEST, DIVERGED, ONE_SEED, OTHER_DATA, RunSection
from tests.reports.example_runs import a_classification, config, sections


def on_page(shown: list[RunSection]) -> tuple[list[ExperimentOnPage], list[DataOnPage]]:
    groups = group_runs([section.run for section in shown])
    by_folder = {section.run.folder: section for section in shown}
    place_on_page(groups, by_folder)
    return group_by_experiment(groups, by_folder), compare_by_data(groups, by_folder)


def run(folder: Path, name: str = "r", experiment: str = "e", seed: int = 0, **more: Any) -> Run:
    return a_classification(folder / experiment / name, seed=seed, **more)


@pytest.mark.parametrize(
    ("tag", "record", "harmless"),
    [
        (OTHER_DATA, {"reference_differs": OTHER_DATA.name}, {"reference_differs": "lr is 1"}),
        (CHOSEN_BY_TEST, {"weights_epoch": 2}, {"weights_epoch": 3}),
    ],
)
def test_a_weakness_is_a_tag(
    tmp_path: Path, tag: str, record: dict[str, Any], harmless: dict[str, Any]
) -> None:
    best = {"metric": "valid_loss", "epoch": 2, "value": 0.5, "on_test": True}
    about = {"reference": {"source": "S"}, "best_epoch": best}
    for place, (values, is_weak) in enumerate(((record, True), (harmless, False))):
        ((found,), _) = on_page(sections(run(tmp_path, str(place), **(about | values))))
        assert (tag in dict(found.tags)) == is_weak


def test_one_seed_and_a_loss_that_grows(tmp_path: Path) -> None:
    two = [run(tmp_path, str(n), seed=n, config={"seed": n}) for n in range(2)]
    ((found,), _) = on_page(sections(*two))
    assert found.tags == []
    other = run(tmp_path, "other", config={"seed": 0, "optimizer": {"lr": 1}})
    ((found,), _) = on_page(sections(*two, other))
    assert dict(found.tags) == {ONE_SEED: [3]}
    shipped = registry.experiment_entry("hitters-linear").shipped.values
    ((found,), _) = on_page(sections(run(tmp_path, "fit", "hitters-linear", config=shipped)))
    assert found.tags == [], "a fit without chance"
    (shown,) = sections(run(tmp_path, "diverged"))
    shown.table = {"epoch": [1, 2], "train_loss": [0.5, 0.6]}
    assert shown.tags == [DIVERGED]


def test_the_best_config_is_first_and_generated_data_stand_apart(tmp_path: Path) -> None:
    """A metric without a direction ranks nothing, and the page says how to declare it."""
    runs = [
        run(tmp_path, f"{lr}", config={"seed": 0, "optimizer": {"lr": lr}}, metrics=metrics)
        for lr, metrics in ((0.1, {"test_mae": 3.0}), (0.2, {"test_mae": 2.0}), (0.3, {}))
    ]
    made = run(tmp_path, "made", source="sample", config={"data": {"source": "sample"}})
    ((first,), _) = on_page(sections(*runs, made))
    assert [group.settings["optimizer.lr"] for group, _ in first.judged] == [0.2, 0.1]
    assert "2 configs, 2 runs: test mae from" in first.verdict
    unknown = [run(tmp_path, f"b{n}", config={"x": n}, metrics={"test_brier": n}) for n in range(2)]
    ((found,), _) = on_page(sections(*unknown))
    assert "metrics={brier: lower}" in found.verdict


def test_of_repeated_runs_one_counts_and_the_median_stands_for_all(tmp_path: Path) -> None:
    found = []
    for seed, accuracy in enumerate((0.9, 0.7, 0.8)):
        about = {"config": config(seed), "metrics": {"test_accuracy": accuracy}}
        found.append(run(tmp_path, str(seed), seed=seed, **about))
    failed = run(tmp_path, "f", config=config(3), status="failed", seed=3)
    later = {"started": "2026-11-30T12:00:00+00:00", "metrics": {"test_accuracy": 0.9}}
    again = run(tmp_path, "again", config=config(0, data={"archive": "x"}), **later)
    shown = sections(*found, failed, again)
    on_page(shown)
    assert [section.representative.number for section in shown] == [3, 3, 3, 4, 3]
    assert [section.repeated_by for section in shown] == [5, None, None, None, None]
    _, said = write_report_page(PageContent([*found, again]), tmp_path / "page.html")
    assert "1 run left out" in said[-1]
    page = (tmp_path / "page.html").read_text()
    assert page.count('repeated by <a href="#run-4">No. 4</a>') == 2, "in the table, in chapters"


def test_many_runs_are_means_and_the_best_configs_have_colours(tmp_path: Path) -> None:
    def a_run(seed: int, lr: float) -> Run:
        about = {"data": "made", "metrics": {"test_accuracy": 1 - lr}, "test_rows": None}
        return run(tmp_path, f"{lr}-{seed}", seed=seed, config=config(seed, lr), **about)

    repeated = run(tmp_path, "0", config=config(0, 0.1), data="made", started="2026-01-01T00:00")
    alike = [repeated, *(a_run(seed, 0.1) for seed in range(4))]
    (_, (found,)) = on_page(sections(*alike))
    (mean,) = found.charts[0].lines
    assert mean.name == "mean of 4 runs (validation)"
    assert mean.low == mean.high == mean.y
    several = sections(*(a_run(9, 0.2 + n / 100) for n in range(COLOURED + 2)), *alike)
    (_, (found,)) = on_page(several)
    lines = found.charts[0].lines
    assert lines[0].name == "e lr=0.1, mean of 4 runs (validation)"
    assert [line.end for line in lines[1:]] == [str(n) for n in range(1, COLOURED)]
    assert len({line.look for line in lines}) == COLOURED


@pytest.mark.parametrize(
    ("seeds", "metric", "reference", "marks"),
    [
        (1, "test_mae", {}, set()),
        (1, "test_accuracy", {}, {"interval_of_test_set"}),
        (1, "test_mae", {"book": {"test_mae": 0.5}}, {"book"}),
        (1, "test_mae", {"book": {"test_loss": 0.5}}, set()),
        (2, "test_mae", {"notebook": {"test_mae": 0.5}}, {"range_of_runs", "notebook"}),
    ],
)
def test_the_legend_and_the_columns_are_those_of_what_is_drawn(
    tmp_path: Path, seeds: int, metric: str, reference: dict[str, Any], marks: set[str]
) -> None:
    runs = [
        run(
            tmp_path,
            f"{lr}-{seed}",
            seed=seed,
            config=config(seed, lr),
            metrics={metric: 0.4 + lr * seed},
            reference=reference,
        )
        for lr in (0.1, 0.2)
        for seed in range(seeds)
    ]
    (_, (one,)) = on_page(sections(*runs))
    intervals = {"range_of_runs", "interval_of_test_set"}
    assert one.marks & {*intervals, "book", "notebook", "reruns"} == marks
    write_report_page(PageContent(runs), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    together = text[text.index('id="together-title"') : text.index('id="runs-title"')]
    assert together.count('<path class="interval" d="M0') == len(marks & intervals)
    assert together.count('"M14 0V10"') == len(marks & {"book", "notebook"})
    assert (">Interval of the mean</th>" in together) == (seeds > 1)


def test_a_title_has_the_runs_own_name_and_the_settings_that_differ(tmp_path: Path) -> None:
    point = {"id": "1", "name": "s", "point": 3}
    named = run(tmp_path, "20260101T000000Z-lab", config=config(0))
    more = config(0, lr=0.2, data={"fold": 1})
    unnamed = run(tmp_path, "20260101T000001Z-12ab", config=more)
    swept = run(tmp_path, "20260101T000002Z-s-3", seed=1, config=config(1), sweep=point)
    other = run(tmp_path, "20260101T000000Z-12ab", "f", config=config(5, lr=3))
    shown = sections(named, unnamed, swept, other)
    on_page(shown)
    assert [one.title for one in shown] == [
        "e, lab, seed 0, lr=0.1",
        "e, seed 0, lr=0.2 fold=1",
        "e, seed 1, lr=0.1",
        "f, seed 0",
    ]


def test_runs_that_validated_no_epoch_are_compared_by_their_training(tmp_path: Path) -> None:
    shown = sections(*(run(tmp_path, f"r{n}", seed=n) for n in range(2)))
    for one in shown:
        one.table = {"epoch": [1, 2], "train_loss": [0.5, 0.4], "valid_loss": [math.nan, math.nan]}
    (_, (found,)) = on_page(shown)
    assert [list(line.y) for line in found.charts[0].lines] == [[0.5, 0.4], [0.5, 0.4]]
