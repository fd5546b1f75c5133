"""The intervals, against worked examples and those of docs/explanation/statistics.md."""

import doctest
import re
from collections.abc import Callable
from operator import sub
from typing import Any

import pytest
from benchmarks import interval_coverage as coverage

from dlrun.runs.compare import interval_around
from dlrun.stats import (
    mean_interval,
    prediction_interval,
    wilson_interval,
)
from tests.conftest import ROOT

# Hours of sleep gained with two drugs by ten patients (Student 1908, Biometrika 6, page 20). R's
# t.test(SECOND) and t.test(FIRST, SECOND, paired = TRUE) print the intervals below.
FIRST = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SECOND = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


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


def test_it_stays_within_0_and_1_and_refuses_what_is_no_share() -> None:
    for n in range(1, 200):
        for correct in range(n + 1):
            low, high = wilson_interval(correct, n)
            assert 0 <= low <= correct / n <= high <= 1
    for correct, n in ((0, 0), (-1, 5), (6, 5)):
        with pytest.raises(ValueError, match="is not a share"):
            wilson_interval(correct, n)


def test_two_values_are_enough_for_an_interval_and_one_is_not() -> None:
    assert mean_interval([1, 3]) == pytest.approx((2 - 12.7062, 2 + 12.7062), abs=5e-5)
    for compute in (mean_interval, prediction_interval):
        assert compute([1]) is compute([]) is None


def test_the_interval_of_a_mean_and_of_a_mean_difference_is_students() -> None:
    assert mean_interval(SECOND) == pytest.approx((0.8976775, 3.7623225), abs=5e-8)
    found = mean_interval([*map(sub, FIRST, SECOND)])
    assert found == pytest.approx((-2.4598858, -0.7001142), abs=5e-8)


PAGE = ROOT / "docs" / "explanation" / "statistics.md"


INTERVALS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "The accuracy": lambda of: wilson_interval(of["correct"], of["rows"]),
    "The mean over": lambda of: mean_interval(of["slow"]),
    "One more run": lambda of: prediction_interval(of["slow"]),
    "Two fits": lambda of: interval_around(
        float((of["errors"] - of["other_errors"]).mean()), of["errors"] - of["other_errors"]
    ),
    "Two configs": lambda of: mean_interval([*map(sub, of["fast"], of["slow"])]),
}


def test_the_examples_of_the_page_print_what_it_says_and_dlrun_computes() -> None:
    variables: dict[str, Any] = {}
    compared = []
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        heading = section.partition("\n")[0]
        for code in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
            test = doctest.DocTestParser().get_doctest(code, variables, heading, str(PAGE), 0)
            printed: list[str] = []
            runner = doctest.DocTestRunner()
            runner.run(test, out=printed.append, clear_globs=False)
            assert runner.failures == 0, "".join(printed)
            variables.update(test.globs)
        for start, compute in INTERVALS.items():
            if heading.startswith(start):
                ends = variables["low"], variables["high"]
                assert compute(variables) == pytest.approx(ends, rel=1e-9), heading
                compared.append(start)
    assert {*compared} == {*INTERVALS}


@pytest.mark.parametrize(
    ("draws", "tolerance"),
    [(200, 0.08), pytest.param(coverage.DRAWS, 0.01, marks=pytest.mark.slow)],
)
def test_intervals_are_right_as_often_as_theory_says(draws: int, tolerance: float) -> None:
    """Of 200 draws the share is within .08: five standard errors; of 10,000 94 to 96 percent."""
    rows = coverage.measure_all(draws)
    promised = [row for row in rows if row.promised is not None]
    assert [row for row in promised if abs(row.share - row.promised) > tolerance] == []
    assert len(promised) >= 5


def test_the_page_says_how_often_wilsons_interval_is_right() -> None:
    exact = coverage.exact_wilson_coverage
    rows = (1_000, 10_000, 25_000)
    shares = [exact(share, n) for n in rows for share in (0.5, 0.8, 0.9, 0.95)]
    assert all(coverage.LOW <= share <= coverage.HIGH for share in shares)
    worst = f"{exact(0.999, 1_000):.3f}".removeprefix("0")
    assert f"{worst} for 1,000 rows and .999" in PAGE.read_text(encoding="utf-8")
