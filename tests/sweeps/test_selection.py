"""What the best config of a sweep is worth, against scipy and by counting all samples."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import scipy.stats

from dlrun.experiments.saved_run import Run
from dlrun.run_folder.record import BestEpoch, RunRecord
from dlrun.sweeps.selection import ComparedConfig, Selection
from dlrun.sweeps.summary import ConfigResults, judge_selection, warnings_of_selection

BEST, SECOND, WORST = [0.87, 0.86, 0.88], [0.85, 0.87, 0.86], [0.7, 0.5, 0.6]


def selection(
    *values: list[float], metric: str = "valid_accuracy", tested: float | None = None
) -> Selection:
    """Of configs with these values of the metric, best last."""
    configs = [
        ComparedConfig(f"lr={place}", dict(enumerate(one)), tested)
        for place, one in enumerate(values)
    ]
    return Selection(metric, configs, "seed")


def test_the_best_is_compared_with_the_second_by_seed() -> None:
    """The seeds' order does not matter; of an error the lower value is the better one."""
    ends = scipy.stats.ttest_rel(BEST, SECOND).confidence_interval()
    found = selection(WORST, SECOND, BEST)
    assert found.interval == pytest.approx((ends.low, ends.high))
    assert found.lead == pytest.approx(0.01) and found.verdict == "no reliable difference"
    errors = [[1 - one for one in values] for values in (WORST, SECOND, BEST)]
    assert selection(*errors, metric="valid_mae").interval == pytest.approx(found.interval)
    shuffled = ComparedConfig("", dict(sorted(enumerate(SECOND), reverse=True)), None)
    other = Selection("valid_accuracy", [shuffled, found.configs[-1]], "seed")
    assert other.interval == pytest.approx(found.interval)
    assert selection(WORST, BEST).verdict == "better"
    assert selection(BEST, BEST).verdict == "no reliable difference"


@pytest.mark.parametrize("metric", ["valid_accuracy", "valid_mae"])
def test_a_lead_by_rounding_is_none(metric: str) -> None:
    sign = -1e-15 if metric == "valid_mae" else 1e-15
    found = selection(BEST, [one + sign for one in BEST], metric=metric)
    assert (found.leads, found.lead, found.interval) == ([0.0] * 3, 0.0, (0.0, 0.0))
    assert found.verdict == "no reliable difference" and not found.is_reliable
    assert "as good" in found.describe()["second"]


def test_a_bootstrap_over_seeds_counts_wins() -> None:
    """Against all 27 samples of three seeds; a tie is half a win."""
    won = 0.0
    for sample in itertools.product(range(3), repeat=3):
        lead = sum(round(100 * (BEST[one] - SECOND[one])) for one in sample)
        won += (lead > 0) + (lead == 0) / 2
    share, by_chance = selection(WORST, SECOND, BEST).wins
    assert share == pytest.approx(won / 27, abs=0.015)
    assert 1 / 3 < by_chance < 1
    assert selection(WORST, BEST).wins[0] == 1
    assert selection(BEST, BEST).wins[0] == 0.5


def test_the_best_of_many_equal_configs_wins_more_often_than_its_share() -> None:
    by_chance = [selection(*[BEST] * configs).wins[1] for configs in (2, 5, 20)]
    assert by_chance == sorted(by_chance, reverse=True) and by_chance[-1] > 3 / 20


def test_words_say_what_the_numbers_say() -> None:
    one_run = selection([0.85], [0.86])
    assert one_run.verdict == "no interval" and list(one_run.describe()) == ["second"]
    assert "--seeds" in one_run.describe()["second"]
    assert one_run.as_object()["lead"] == pytest.approx(0.01)
    assert {one_run.as_object()[key] for key in ("interval", "detectable", "wins")} == {None}
    found = selection(WORST, SECOND, BEST, tested=0.85)
    assert list(found.describe()) == ["second", "power", "chance", "test"]
    assert "contains 0" in found.describe()["second"]
    assert "reliably" in selection(WORST, BEST).describe()["second"]
    alike = selection([0.5, 0.6], [0.6, 0.7]).describe()
    assert list(alike) == ["second"]  # neither power nor chance without spread
    assert list(selection(BEST).describe()) == ["second"]
    found = selection(WORST, BEST), selection(SECOND, BEST), selection(BEST)
    assert [one.is_reliable for one in found] == [True, False, False]


def test_optimism_is_the_gap_to_the_test_beyond_that_of_all() -> None:
    values = [dict(enumerate(one)) for one in (WORST, SECOND, BEST)]
    configs = [ComparedConfig("", *one) for one in zip(values, (0.58, 0.84, 0.83), strict=True)]
    found = Selection("valid_accuracy", configs, "seed")
    assert found.optimism == pytest.approx((0.04, 0.08 / 3))
    assert "0.01333" in found.describe()["test"]
    assert Selection("valid_accuracy", configs, "seed", is_tested=False).optimism is None
    assert selection(SECOND, BEST).optimism is None


def result(
    settings: dict[str, object],
    accuracies: dict[int, float],
    *,
    planned: int = 2,
    epochs: int = 0,
    on_test: bool = False,
    **record: Any,
) -> ConfigResults:
    best = BestEpoch(metric="valid_accuracy", epoch=1, value=0.9, on_test=on_test)
    runs = [
        Run(
            Path(),
            RunRecord(
                experiment="e",
                status="finished",
                seed=seed,
                metrics={"valid_accuracy": accuracy + 0.01, "test_accuracy": accuracy},
                best_epoch=best,
                **record,
            ),
        )
        for seed, accuracy in accuracies.items()
    ]
    return ConfigResults(runs, settings, planned, epochs=epochs)


def test_only_configs_with_the_same_seeds_and_epochs_are_compared() -> None:
    results = [
        result({"lr": 1}, {0: 0.8}),
        result({"lr": 2}, {0: 0.7, 1: 0.8}, epochs=2),
        result({"lr": 3}, {0: 0.6, 1: 0.7}, epochs=4),
        result({"lr": 4}, {1: 0.7, 0: 0.7}, epochs=4),
    ]
    found = judge_selection(results)
    assert found is not None and (found.left_out, found.n) == (2, 2)
    assert [one.name for one in found.configs] == ["lr=3", "lr=4"]
    assert found.leads == pytest.approx([0.0, 0.1]) and found.optimism is not None
    about = found.as_object()
    assert list(about) == [
        *("metric", "configs", "left_out", "unit", "n", "second", "lead", "interval"),
        *("verdict", "detectable", "wins", "wins_if_equal", "optimism", "optimism_of_all"),
    ]
    assert (about["wins"], about["wins_if_equal"]) == found.wins
    assert (about["optimism"], about["optimism_of_all"]) == found.optimism
    alone = judge_selection(results[:2])
    assert alone is not None and alone.as_object()["second"] is None
    only = judge_selection(results[-1:])
    assert only is not None and only.as_object()["second"] is None, "the others have no result"
    assert judge_selection([result({}, {0: 0.8, 1: 0.7})]) is None, "nothing was chosen"


def test_validation_rows_that_are_the_test_rows_show_no_optimism() -> None:
    results = [result({"lr": n}, {0: 0.8, 1: 0.8 + n / 10}, on_test=True) for n in range(2)]
    found = judge_selection(results)
    assert found is not None and found.optimism is None and found.configs[-1].tested
    for number in (1, 2):
        (warning,) = warnings_of_selection(results[:number])
        assert "best config" in warning


def test_of_one_config_the_test_rows_may_still_have_chosen_the_epoch() -> None:

    def warnings(kept: int, *, on_test: bool = True) -> list[str]:
        record = {"weights_epoch": kept, "result_steps": 3}
        return warnings_of_selection([result({}, {0: 0.8}, on_test=on_test, **record)])

    assert warnings(3) == warnings(2, on_test=False) == []
    (warning,) = warnings(2)
    assert "epoch" in warning
