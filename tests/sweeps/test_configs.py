"""What the best config of a sweep is worth, against scipy."""

from pathlib import Path
from typing import Any

import pytest
import scipy.stats

from dlrun.experiments.saved_run import Run
from dlrun.run_folder.record import BestEpoch, RunRecord
from dlrun.sweeps.configs import ConfigResults, Selection, judge_selection, warnings_of_selection

BEST, SECOND, WORST = [0.87, 0.86, 0.88], [0.85, 0.87, 0.86], [0.7, 0.5, 0.6]


def result(
    settings: dict[str, object],
    accuracies: dict[int, float],
    *,
    metric: str = "accuracy",
    tested: float | None = None,
    on_test: bool = False,
    **record: Any,
) -> ConfigResults:
    """A config with these validation metrics by seed, and the same test metric for each."""
    best = BestEpoch(metric=f"valid_{metric}", epoch=1, value=0.9, on_test=on_test)
    runs: dict[tuple[int | None, int | None], Run] = {}
    for seed, accuracy in accuracies.items():
        test = accuracy - 0.01 if tested is None else tested
        metrics = {f"valid_{metric}": accuracy, f"test_{metric}": test}
        about = {"seed": seed, "metrics": metrics, "best_epoch": best} | record
        runs[seed, None] = Run(Path(), RunRecord(experiment="e", status="finished", **about))
    return ConfigResults(runs, settings, len(runs))


def selection(*values: list[float], metric: str = "accuracy") -> Selection:
    """Of configs with these values of the metric, best last."""
    configs = [
        result({"lr": place}, dict(enumerate(row)), metric=metric)
        for place, row in enumerate(values)
    ]
    found = judge_selection(configs)
    assert found is not None
    return found


def test_the_best_is_compared_with_the_second_by_seed() -> None:
    """The seeds' order does not matter; of an error the lower value is the better one."""
    ends = scipy.stats.ttest_rel(BEST, SECOND).confidence_interval()
    found = selection(WORST, SECOND, BEST)
    assert found.interval == pytest.approx((ends.low, ends.high))
    assert found.lead == pytest.approx(0.01) and found.verdict == "no reliable difference"
    errors = [[1 - value for value in row] for row in (WORST, SECOND, BEST)]
    assert selection(*errors, metric="mae").interval == pytest.approx(found.interval)
    shuffled = dict(sorted(enumerate(SECOND), reverse=True))
    other = judge_selection([result({"lr": 1}, shuffled), result({"lr": 2}, dict(enumerate(BEST)))])
    assert other is not None and other.interval == pytest.approx(found.interval)
    assert selection(WORST, BEST).verdict == "better"
    assert selection(BEST, BEST).verdict == "no reliable difference"


@pytest.mark.parametrize("metric", ["accuracy", "mae"])
def test_a_lead_by_rounding_is_none(metric: str) -> None:
    sign = -1e-15 if metric == "mae" else 1e-15
    found = selection(BEST, [value + sign for value in BEST], metric=metric)
    assert (found.lead, found.interval) == (0.0, (0.0, 0.0))
    assert found.verdict != "better"


def test_one_run_of_each_config_or_one_config_has_no_verdict() -> None:
    one_run = selection([0.85], [0.86])
    assert one_run.verdict == "no interval" and one_run.as_object()["interval"] is None
    assert "--seeds" in one_run.describe()["second"]
    assert list(selection(WORST, SECOND, BEST).describe()) == ["second", "test"]
    assert list(selection(BEST).describe()) == ["second"] and selection(BEST).verdict is None


def test_optimism_is_the_gap_to_the_test_beyond_that_of_all() -> None:
    rows = ((WORST, 0.58), (SECOND, 0.84), (BEST, 0.83))
    configs = [result({"lr": 1}, dict(enumerate(row)), tested=tested) for row, tested in rows]
    found = judge_selection(configs)
    assert found is not None
    assert (found.optimism, found.optimism_of_all) == pytest.approx((0.04, 0.08 / 3))
    assert "0.01333" in found.describe()["test"]


def test_only_configs_with_the_same_seeds_are_compared() -> None:
    results = [
        result({"lr": 1}, {0: 0.8}),
        result({"lr": 2}, {0: 0.7, 2: 0.8}),
        result({"lr": 3}, {0: 0.6, 1: 0.7}),
        result({"lr": 4}, {1: 0.7, 0: 0.7}),
    ]
    found = judge_selection(results)
    assert found is not None and found.configs == 2
    assert found.lead == pytest.approx(0.05)
    about = found.as_object()
    assert (about["second"], about["n"], about["unit"]) == ("lr=3", 2, "seed")
    only = judge_selection(results[-1:])
    assert only is not None and only.second is None, "the others have no result"
    assert judge_selection([result({}, {0: 0.8, 1: 0.7})]) is None, "nothing was chosen"


def test_validation_rows_that_are_the_test_rows_show_no_optimism() -> None:
    results = [result({"lr": n}, {0: 0.8, 1: 0.8 + n / 10}, on_test=True) for n in range(2)]
    found = judge_selection(results)
    assert found is not None and found.optimism is None
    for number in (1, 2):
        (warning,) = warnings_of_selection(results[:number])
        assert "best config" in warning


def test_of_one_config_the_test_rows_may_still_have_chosen_the_epoch() -> None:
    def warnings(kept: int, *, on_test: bool = True) -> list[str]:
        record = {"weights_epoch": kept, "steps": 3}
        return warnings_of_selection([result({}, {0: 0.8}, on_test=on_test, **record)])

    assert warnings(3) == warnings(2, on_test=False) == []
    (warning,) = warnings(2)
    assert "epoch" in warning
