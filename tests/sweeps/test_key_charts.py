"""The chart of a sweep's metric by the values of one of its keys."""

from pathlib import Path

import pytest

from dlrun.sweeps.key_charts import chart_of_key
from dlrun.sweeps.selection import rank_configs
from tests.sweeps.use import SCORES, plan_of_rates, scored_runs


def test_a_chart_has_the_metric_by_a_key_with_numbers(tmp_path: Path) -> None:
    plan = plan_of_rates(rates=2)
    ranking = rank_configs(plan, scored_runs(plan, tmp_path, SCORES))
    chart = chart_of_key(ranking.groups, ranking.best, "optimizer.lr")
    assert chart is not None
    assert (chart.title, chart.mark and chart.mark.value) == ("accuracy by optimizer.lr", 0.001)
    valid, test = chart.lines
    assert (valid.name, valid.x) == ("validation", [0.001, 0.002])
    assert valid.y == pytest.approx([0.7, 0.6]) and test.y == pytest.approx([0.69, 0.59])
    assert [level.value for level in chart.levels] == [0.421]


def test_a_config_that_diverged_hides_no_chart(tmp_path: Path) -> None:
    plan = plan_of_rates()
    none = {"metrics": {"valid_accuracy": None, "test_accuracy": None}}
    diverged = scored_runs(
        plan, tmp_path, dict.fromkeys(SCORES, [None] * 3) | {0.003: [0] * 3}, **none
    )
    runs = scored_runs(plan, tmp_path, SCORES | {0.003: [None] * 3}) | diverged
    ranking = rank_configs(plan, runs)
    diverging = ranking.groups[0]
    assert diverging.settings == {"optimizer.lr": 0.003} and not diverging.spreads
    chart = chart_of_key(ranking.groups, ranking.best, "optimizer.lr")
    assert chart and [line.x for line in chart.lines] == [[0.001, 0.002]] * 2
