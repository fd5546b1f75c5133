"""Configs of a sweep over their seeds, the best of them, and what it is worth."""

from pathlib import Path

import pytest
import scipy.stats

from dlrun.runs.compare import compare_groups
from dlrun.runs.groups import Group
from dlrun.sweeps.results import SweepResults
from dlrun.sweeps.selection import (
    NOT_COMPLETE,
    rank_configs,
)
from dlrun.sweeps.sweep_runs import Sweep, SweepState
from tests.sweeps.use import SCORES, plan_of_rates, scored_runs

BEST = [0.87, 0.86, 0.88, 0.875, 0.865]
RUNNER_UP = [0.85, 0.87, 0.86, 0.85, 0.86]
WORST = [0.7, 0.5, 0.6, 0.7, 0.6]


def rate(config: Group | None) -> float:
    assert config is not None
    return float(config.settings["optimizer.lr"])


def test_the_best_has_all_its_seeds_or_none_is_chosen(tmp_path: Path) -> None:
    plan = plan_of_rates()
    ranking = rank_configs(plan, scored_runs(plan, tmp_path, SCORES))
    assert [rate(config) for config in ranking.groups] == [0.003, 0.002, 0.001]
    assert [len(config.counted) for config in ranking.groups] == [1, 3, 3]
    assert rate(ranking.best) == 0.001 and ranking.groups[-1].finished_of_planned == ""
    scores = SCORES | {0.001: [None, 0.7, 0.7], 0.002: [None] * 3}  # no config has all
    ranking = rank_configs(plan, scored_runs(plan, tmp_path / "none", scores))
    assert ranking.best is None and len(ranking.groups) == 2
    assert ranking.warning == NOT_COMPLETE


@pytest.mark.parametrize(("metric", "best"), [("mae", 0.002), ("r2", 0.001), ("ece", None)])
def test_a_regression_by_its_first_metric(tmp_path: Path, metric: str, best: float | None) -> None:
    """Not by the loss, which is 1 in all, unless nothing else has a direction."""
    plan = plan_of_rates()
    found = scored_runs(plan, tmp_path, SCORES | {0.003: [None] * 3}, metric)
    ranking = rank_configs(plan, found)
    if best is None:
        spread = ranking.groups[-1].validation_spread
        assert spread and spread.metric.name == "valid_loss"
    else:
        assert rate(ranking.best) == best


def test_the_best_is_compared_with_the_second_by_seed(tmp_path: Path) -> None:
    plan = plan_of_rates(seeds=5)
    scores: dict[float, list[float | None]] = {0.001: [*WORST], 0.002: [*RUNNER_UP], 0.003: [*BEST]}
    ranking = rank_configs(plan, scored_runs(plan, tmp_path, scores))
    assert ranking.best and ranking.second and rate(ranking.second) == 0.002
    found = compare_groups(ranking.best, ranking.second, "valid_accuracy")
    ends = scipy.stats.ttest_rel(BEST, RUNNER_UP).confidence_interval()
    assert found and found.interval_of_difference == pytest.approx((ends.low, ends.high))
    few = plan_of_rates(rates=2)
    found_runs = scored_runs(few, tmp_path / "few", {0.001: [*BEST], 0.002: [*WORST]})
    results = SweepResults(Sweep(few, tmp_path / "sweeps" / "s"), SweepState(found_runs))
    assert "too few seeds to say (3 of 5)" in str(results.describe_comparison())
    alone = {number: run for number, run in found_runs.items() if number <= 3}
    ranking = rank_configs(few, alone)
    assert ranking.best and ranking.second is None, "the others have no result"


def test_validation_rows_that_are_the_test_rows_are_a_warning(tmp_path: Path) -> None:
    plan = plan_of_rates(rates=2)
    config = {"data": {"validation": "test"}}
    ranking = rank_configs(plan, scored_runs(plan, tmp_path, SCORES, config=config))
    assert ranking.best and "best config" in ranking.warning


def test_configs_without_a_common_seed_are_not_ranked_on_other_rows(tmp_path: Path) -> None:
    """One run of each config has failed, each of another seed, which divides the rows."""
    plan = plan_of_rates(rates=2, seeds=2)
    digests = {"rows_digest": "all", "test_digest": "test", "train_digest": "train"}
    found = {}
    for seed, scores in enumerate(([0.8, None], [None, 0.9])):
        by_rate: dict[float, list[float | None]] = {0.001: [None] * 2, 0.002: [None] * 2}
        by_rate[(0.001, 0.002)[seed]] = [*scores]
        split = digests | {"seed": seed, "validation_digest": f"of seed {seed}"}
        found |= scored_runs(plan, tmp_path, by_rate, split=split)
    ranking = rank_configs(plan, found)
    assert len(ranking.groups) == 2 and ranking.best is None
    assert "different rows" in ranking.warning and not ranking.are_on_same_rows
