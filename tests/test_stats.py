"""The interval of a share."""

import pytest

from dlrun.stats import wilson_interval


@pytest.mark.parametrize(
    ("correct", "n", "low", "high"),
    [  # as scipy.stats.binomtest(correct, n).proportion_ci(method="wilson") gives them
        (21_320, 25_000, 0.8483538687740, 0.8571377265496),
        (8, 10, 0.4901624715366, 0.9433178485456),
        (0, 10, 0.0, 0.2775327998629),
        (10, 10, 0.7224672001371, 1.0),
        (1, 1, 0.2065493143772, 1.0),
    ],
)
def test_it_is_wilsons(correct: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(correct, n) == pytest.approx((low, high), abs=1e-12)


def test_it_stays_within_0_and_1() -> None:
    for n in range(1, 200):
        for correct in range(n + 1):
            low, high = wilson_interval(correct, n)
            assert 0 <= low <= correct / n <= high <= 1


@pytest.mark.parametrize(("correct", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_what_is_no_share_is_refused(correct: int, n: int) -> None:
    with pytest.raises(ValueError, match="is not a share"):
        wilson_interval(correct, n)
