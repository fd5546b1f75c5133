"""Runs of one config over seeds and folds, their spread, and two such groups compared."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from dlrun.experiments import registry
from dlrun.metrics import describe_metric
from dlrun.reports.page import report_rows
from dlrun.reports.result_rows import MetricComparisonRow, place_beside_interval
from dlrun.runs.compare import (
    Comparison,
    average_in_blocks,
    compare_groups,
    interval_around,
    why_not_comparable,
)
from dlrun.runs.groups import Group, Spread, group_runs
from dlrun.runs.run import Run
from dlrun.runs.same_rows import rank_on_same_test_rows
from tests.runs.making import a_run, change_record

MAE = [221.8, 250.8, 230.0, 245.5, 212.4]  # mean 232.1, sd 15.897
BOOK = {"book": {"test_mae": 235.0}}


def spread(metric: str, *values: float) -> Spread:
    return Spread(describe_metric(metric, {}), [*values])


def run(folder: Path, seed: int = 0, *, name: str = "", **record: Any) -> Run:
    """A finished run of an experiment that is not installed, so that it depends on the seed."""
    config = {"seed": seed, "threads": seed + 1} | record.pop("config", {})
    about = {"metrics": {"test_mae": 1.0}, "data": "made up", "data_digest": "d"} | record
    return Run.open(a_run(folder / "e" / (name or f"r{seed}"), config=config, seed=seed, **about))


def a_split(seed: int, fold: int | None = None) -> dict[str, Any]:
    """As rows are divided anew by each seed, or by each fold."""
    digests = {f"{part}_digest": f"{part} {seed} {fold}" for part in ("test", "train")}
    return {"seed": seed, "fold": fold, "folds": fold and 2, "rows_digest": "all", **digests}


def a_group(folder: Path, values: list[float], metric: str = "test_mae", **record: Any) -> Group:
    about = {"reference": BOOK} | record
    runs = [run(folder, n, metrics={metric: value}, **about) for n, value in enumerate(values)]
    (group,) = group_runs(runs)
    return group


def a_fit(folder: Path, mae: float, **values: Any) -> Group:
    """Of a fit that depends on no seed."""
    shipped = registry.shipped_config("hitters-linear").layer.values
    about = {"reference": BOOK, "metrics": {"test_mae": mae}, "data": "made up"}
    path = a_run(folder / "hitters-linear" / "r", config=shipped | values, seed=0, **about)
    return group_runs([Run.open(path)])[0]


def test_runs_differ_in_seed_threads_and_paths_alone(tmp_path: Path) -> None:
    """Of repeated runs the one that began last counts; other data are another group."""
    started = {"started": "2026-11-30T12:00:00+00:00"}
    runs = [
        run(tmp_path, 0),
        run(tmp_path, 1, config={"data": {"path": "/there"}}, metrics={"test_mae": 3.0}),
        run(tmp_path, 1, name="again", metrics={"test_mae": 2.0}, **started),
        run(tmp_path, 2, status="failed", data="", data_digest=None),
        run(tmp_path, 3, name="rate", config={"optimizer": {"lr": 0.2}}),
        run(tmp_path, 4, name="digest", data_digest="other"),
        run(tmp_path, 5, name="described", data="others"),
    ]
    group, *others = group_runs(runs)
    assert group.values("test_mae") == {0: 1.0, 1: 2.0} and len(group.runs) == 4
    assert [len(other.runs) for other in others] == [1, 1, 1]
    assert [other.settings for other in others] == [{"optimizer.lr": 0.2}, {}, {}]
    (lacking,) = group_runs([run(tmp_path, 6, metrics={}), run(tmp_path, 7)])
    assert not lacking.spreads


def test_a_seed_that_divides_the_rows_makes_no_other_data(tmp_path: Path) -> None:
    config = {"data": {"split_seed": None}}
    runs = [run(tmp_path, n, config=config, split=a_split(n)) for n in (0, 1)]
    folds = []
    for fold, seed in itertools.product((1, 2), (0, 1)):
        more = {"config": {"data": {"fold": fold}}, "split": a_split(7, fold)}
        folds.append(run(tmp_path, seed, name=f"f{fold}{seed}", **more))
    group, cross_validated = group_runs([*runs, *folds])
    assert (group.unit, len(group.counted)) == ("seed", 2)
    assert (cross_validated.unit, cross_validated.fold_count) == ("fold", 2)
    assert len(cross_validated.counted) == len(folds) and not cross_validated.settings
    assert [len(group.values("test_mae")) for group in group_runs(folds[:2])] == [2]
    for change in ({"test_digest": "x"}, {"rows_digest": "x"}):
        replaced = run(tmp_path, 1, name="n", config=config, split=a_split(1) | change)
        assert len(group_runs([*runs, replaced])) == 2


def test_groups_are_ranked_over_the_rows_that_all_have_tested(tmp_path: Path) -> None:
    """A seed divides the rows, and those of seed 1 are easy; the last config has other rows."""
    data = {"split_seed": None}
    runs = []
    for rate, maes in ((0.1, [3.0, 1.0]), (0.2, [2.0])):
        for seed, mae in enumerate(maes):
            config = {"data": data, "optimizer": {"lr": rate}}
            made = {"split": a_split(seed), "metrics": {"test_mae": mae}, "config": config}
            runs.append(run(tmp_path, seed, name=f"{rate}-{seed}", **made))
    config = {"data": data | {"test_share": 0.5}, "optimizer": {"lr": 0.3}}
    other = {"split": a_split(0) | {"test_digest": "half"}, "metrics": {"test_mae": 0.5}}
    runs.append(run(tmp_path, name="half", config=config, **other))
    ranked = rank_on_same_test_rows(group_runs(runs))
    assert [[group.settings["optimizer.lr"] for group in of] for of in ranked] == [
        [0.2, 0.1],
        [0.3],
    ]
    assert ranked[1][0].settings == {"data.test_share": 0.5, "optimizer.lr": 0.3}
    rows = [(row.settings["optimizer.lr"], row.mean) for row in report_rows(runs)]
    assert rows == [(0.2, 2.0), (0.1, 2.0), (0.3, 0.5)]


def test_intervals_end_where_possible_values_end() -> None:
    for metric in ("test_accuracy", "test_macro_f1"):
        high = spread(metric, 0.79, 0.85, 0.99)
        assert high.range_of_runs and high.range_of_runs[1] == 1
        assert high.interval_of_mean and high.interval_of_mean[1] == 1
    low = spread("test_mae", 1.0, 20, 40)
    assert low.range_of_runs and low.range_of_runs[0] == 0
    assert low.interval_of_mean and low.interval_of_mean[0] == 0
    r2 = spread("test_r2", 0.01, 0.5, 0.99).range_of_runs
    assert r2 and r2[0] < 0 and r2[1] == 1
    free = spread("test_ece", 1.0, 20, 40).range_of_runs
    assert free and free[0] < 0


@pytest.mark.parametrize(
    ("published", "expected"), [(235.0, "within"), (300.0, "above"), (150.0, "below")]
)
def test_the_books_place_needs_five_seeds(tmp_path: Path, published: float, expected: str) -> None:
    reference = {"book": {"test_mae": published}}
    group = a_group(tmp_path, MAE, reference=reference)
    row = MetricComparisonRow.of_group(group, group.spreads["test_mae"])
    assert (row.positions["book"], row.note) == (expected, "")
    few = a_group(tmp_path / "few", MAE[:3], reference=reference)
    row = MetricComparisonRow.of_group(few, few.spreads["test_mae"])
    assert (row.positions["book"], row.note) == (None, "too few seeds to say (3 of 5)")
    other = a_group(tmp_path / "other", MAE, reference=reference, reference_differs="x")
    assert MetricComparisonRow.of_group(other, other.spreads["test_mae"]).published == {}


def test_a_published_number_is_rounded() -> None:
    assert place_beside_interval(0.88, (0.85, 0.8751)) == "within"
    assert place_beside_interval(0.88, (0.8849, 0.9)) == "within"
    assert place_beside_interval(0.88, (0.8851, 0.9)) == "below"


def test_a_fit_without_chance_equals_the_published_number_or_not(tmp_path: Path) -> None:
    for value, place in ((235.04, "equal"), (235.06, "below"), (234.9, "above")):
        group = a_fit(tmp_path / place, value)
        row = MetricComparisonRow.of_group(group, group.spreads["test_mae"])
        assert (row.positions["book"], row.note) == (place, "")
    data = registry.shipped_config("hitters-linear").layer.values["data"]
    split = a_fit(tmp_path, 235.0, data=data | {"split_seed": None})
    row = MetricComparisonRow.of_group(split, split.spreads["test_mae"])
    assert row.note == "too few seeds to say (1 of 5)"


@pytest.mark.parametrize(
    ("metric", "other", "verdict"),
    [
        ("test_mae", 235.68, "no clear difference"),
        ("test_mae", 259.72, "better"),
        ("test_mae", 200.0, "worse"),
        ("test_r2", 259.72, "worse"),
        ("test_brier_score", 200.0, "different"),
    ],
)
def test_the_paired_interval_is_scipys(
    tmp_path: Path, metric: str, other: float, verdict: str
) -> None:
    """A small difference that each pair has is clear, however much the values differ."""

    def compared(values: list[float], others: list[float]) -> Comparison:
        sides = zip(("ours", "theirs"), (values, others), strict=True)
        groups = [a_group(tmp_path / f"{len(values)}{n}", rows, metric) for n, rows in sides]
        found = compare_groups(*groups, metric)
        assert found
        return found

    found = compared(MAE, [other] * 5)
    ends = scipy.stats.ttest_1samp(MAE, other).confidence_interval()
    assert found.interval_of_difference == pytest.approx((ends.low - other, ends.high - other))
    assert (found.verdict, found.count) == (verdict, 5)
    assert compared(MAE[:3], [1000.0] * 3).verdict == "too few seeds to say (3 of 5)"


def test_folds_are_paired_whatever_their_seeds_and_only_on_the_same_rows(tmp_path: Path) -> None:
    """The folds of two configs: of one seed, of another one, and of two that divide the rows."""

    def folds(name: str, mae: float, divided_by: dict[int, int]) -> Group:
        runs = [
            run(
                tmp_path,
                seed,
                name=f"{name}{seed}{fold}",
                config={"data": {"fold": fold}, "optimizer": {"lr": mae}},
                split=a_split(rows, fold),
                metrics={"test_mae": mae + seed * fold},
            )
            for seed, rows in divided_by.items()
            for fold in range(1, 6)
        ]
        (group,) = group_runs(runs)
        return group

    one, same_rows = folds("a", 1.0, {0: 7}), folds("b", 2.0, {7: 7})
    found = compare_groups(one, same_rows, "test_mae")
    assert found and (found.unit, found.count, found.verdict) == ("fold", 5, "better")
    two = folds("c", 3.0, {0: 7, 1: 8})
    assert compare_groups(two, one, "test_mae") is None
    assert "rows" in why_not_comparable(two, one, "test_mae")


def test_groups_are_paired_by_seed(tmp_path: Path) -> None:
    group = a_group(tmp_path / "a", MAE)
    others = [value + 1 + place / 10 for place, value in enumerate(MAE)]
    other = a_group(tmp_path / "b", [*others, 7.0])
    found = compare_groups(group, other, "test_mae")
    assert found and (found.count, found.verdict, found.unit) == (5, "better", "seed")
    ends = scipy.stats.ttest_rel(MAE, others).confidence_interval()
    assert found.interval_of_difference == pytest.approx((ends.low, ends.high))
    assert found.mean == pytest.approx(232.1)
    fits = [a_fit(tmp_path / f"{mae}", mae) for mae in (300.0, 301.0)]
    found = compare_groups(group, fits[0], "test_mae")
    assert found and (found.count, found.verdict, found.other_mean) == (5, "better", 300.0)
    found = compare_groups(*fits, "test_mae")
    assert found and found.difference == -1 and "not judged" in found.verdict, "no predictions"
    assert compare_groups(group, other, "test_r2") is None
    assert why_not_comparable(group, other, "test_r2")


def test_only_the_same_rows_are_compared(tmp_path: Path) -> None:
    for kind, changed, why in (
        ("test", "test_digest", "test rows"),
        ("valid", "validation_digest", "validation rows"),
    ):
        metric = f"{kind}_mae"
        split = a_split(0) | {"validation_digest": "v"}
        other = split | {changed: "other"}
        groups = [
            a_group(tmp_path / f"{kind}{n}", MAE, metric, split=one, config={"data": {"lags": n}})
            for n, one in enumerate((split, split | {"train_digest": "shorter"}, other))
        ]
        found = compare_groups(groups[0], groups[1], metric)
        assert found and (found.count, found.verdict) == (5, "equal")
        assert compare_groups(groups[0], groups[2], metric) is None
        assert why in why_not_comparable(groups[0], groups[2], metric)


def test_a_rows_errors_are_paired_where_no_seed_matters() -> None:
    random = np.random.default_rng(0)
    differences = random.normal(0.1, 1, 2_000)
    ends = scipy.stats.ttest_1samp(differences, 0).confidence_interval()
    assert interval_around(differences.mean(), differences) == pytest.approx((ends.low, ends.high))
    blocks = average_in_blocks(differences)
    assert len(blocks) == 2_000 // 21 and blocks[0] == differences[:22].mean()
    assert average_in_blocks(differences[:8]) == [differences[:8].mean()]


def test_runs_that_depend_on_no_seed_count_once(tmp_path: Path) -> None:
    shipped = registry.shipped_config("hitters-linear").layer.values
    shipped = shipped | {"data": shipped["data"] | {"split_seed": 0}}
    runs = [
        Run.open(
            a_run(
                tmp_path / "hitters-linear" / f"r{seed}",
                config=shipped | {"seed": seed},
                seed=seed,
                metrics={"test_mae": 0.1},
            )
        )
        for seed in range(7)
    ]
    (group,) = group_runs(runs)
    row = MetricComparisonRow.of_group(group, group.spreads["test_mae"])
    assert (row.count, row.mean, row.sd, row.interval_of_mean) == (1, 0.1, None, None)
    assert len(row.runs) == 7 and not row.note
    change_record(runs[3].folder, metrics={})
    (group,) = group_runs([Run.open(run.folder) for run in runs])
    assert not group.spreads and group.median_run is not None
