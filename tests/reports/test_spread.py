"""How a metric varies over runs, and where a published number lies."""

import pytest
import scipy.stats

from dlrun.metrics import Metric, describe_metric
from dlrun.reports.spread import MetricSpread, compare_pairs, place_in_range


def known(name: str) -> Metric:
    return describe_metric(name, {})


VALUES = [0.853, 0.8546, 0.8559]


@pytest.mark.parametrize(
    ("values", "published", "expected"),
    [
        (VALUES, 0.855, "yes"),
        (VALUES, 0.845, "below"),
        (VALUES, 0.87, "above"),
        ([0.871, 0.872, 0.873], 0.88, "yes"),  # .88 may be .8751
        ([0.8849] * 3, 0.88, "yes"),
        ([0.8851] * 3, 0.88, "below"),
        (VALUES[:1], 0.855, None),
    ],
)
def test_whether_a_published_number_is_in_the_range(
    values: list[float], published: float, expected: str | None
) -> None:
    interval = MetricSpread(known("test_accuracy"), values).range
    assert place_in_range(published, interval) == expected


def test_a_share_is_between_0_and_1_and_an_error_not_below_0() -> None:
    for metric in ("test_accuracy", "test_macro_f1"):
        high = MetricSpread(known(metric), [0.79, 0.85, 0.99])
        assert high.range and high.range[1] == 1 and high.interval and high.interval[1] == 1
    low = MetricSpread(known("test_mae"), [1.0, 20, 40])
    assert low.range and low.range[0] == 0 and low.interval and low.interval[0] == 0


def test_r2_is_at_most_1_and_may_be_negative() -> None:
    interval = MetricSpread(known("test_r2"), [0.01, 0.5, 0.99]).range
    assert interval and interval[0] < 0 and interval[1] == 1


MAE = [221.8, 250.8, 230.0, 245.5, 212.4]  # mean 232.1, sd 15.897


@pytest.mark.parametrize(
    ("metric", "baseline", "verdict"),
    [
        ("test_mae", 235.68, "no clear difference"),
        ("test_mae", 259.72, "better"),
        ("test_mae", 200.0, "worse"),
        ("test_r2", 259.72, "worse"),
        ("test_r2", 200.0, "better"),
    ],
)
def test_the_paired_interval_is_scipys(metric: str, baseline: float, verdict: str) -> None:
    """A small difference that each pair has is clear, however much the values differ."""
    found = compare_pairs(known(metric), MAE, [baseline] * 5)
    ends = scipy.stats.ttest_1samp(MAE, baseline).confidence_interval()
    assert found.interval == pytest.approx((ends.low - baseline, ends.high - baseline))
    assert (found.verdict, found.pairs) == (verdict, 5)
    others = [value + 1 + place / 10 for place, value in enumerate(MAE)]
    ends = scipy.stats.ttest_rel(MAE, others).confidence_interval()
    paired = compare_pairs(known("test_mae"), MAE, others)
    assert paired.interval == pytest.approx((ends.low, ends.high)) and paired.verdict == "better"


def test_rounding_is_no_difference_and_one_pair_has_no_interval() -> None:
    found = compare_pairs(known("test_mae"), [value * (1 + 1e-13) for value in MAE], MAE)
    assert (found.interval, found.verdict) == ((0.0, 0.0), "no clear difference")
    assert compare_pairs(known("test_mae"), [1.0], [2.0]).verdict == "no interval"


def test_a_metric_whose_direction_is_not_known_is_never_called_better() -> None:
    found = compare_pairs(known("test_brier_score"), MAE, [200.0] * 5)
    assert found.interval and found.interval[0] > 0 and found.verdict == "different"
