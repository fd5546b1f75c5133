"""How often the intervals are right: benchmarks/interval_coverage.py, and its tables in docs."""

import pytest
from benchmarks import interval_coverage as coverage

from tests.conftest import ROOT

PAGE = ROOT / "docs" / "explanation" / "statistics.md"


def check(rows: list[coverage.Measured], tolerance: float) -> None:
    """That each promised share is kept."""
    wrong = [one for one in rows if one.promised and abs(one.share - one.promised) > tolerance]
    assert wrong == [] and sum(one.promised is not None for one in rows) >= 5


def test_intervals_are_right_as_often_as_theory_says() -> None:
    """Of 200 draws the share is within .08: five standard errors."""
    check(coverage.measure_all(200), 0.08)


@pytest.mark.slow
def test_intervals_are_right_in_94_to_96_percent_of_10_000_draws() -> None:
    check(coverage.measure_all(coverage.DRAWS), 0.01)


def test_the_page_says_how_often_wilsons_interval_is_right() -> None:
    exact = coverage.exact_wilson_coverage
    rows = (1_000, 10_000, 25_000)
    shares = [exact(share, n) for n in rows for share in (0.5, 0.8, 0.9, 0.95)]
    assert all(coverage.LOW <= share <= coverage.HIGH for share in shares)
    worst = f"{exact(0.999, 1_000):.3f}".removeprefix("0")
    assert f"{worst} for 1,000 rows and .999" in PAGE.read_text(encoding="utf-8")
