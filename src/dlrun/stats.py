"""Compute intervals of proportions, means and paired differences."""

import math
import statistics
from collections.abc import Sequence

Z = 1.959963984540054  # the normal distribution's 97.5 % quantile: 95 % between two sides
MAGNITUDES = 20  # ratio of the ends of a range from which on its axis is logarithmic
ROUNDING = 1e-9  # share of a number below which a difference is rounding error


def spans_magnitudes(low: float, high: float) -> bool:
    """Return whether a range of values is so wide that a logarithmic axis shows them better."""
    return 0 < low * MAGNITUDES <= high


def without_rounding(difference: float, size: float) -> float:
    """Return a difference between two numbers of a size; 0.0 if it is only their rounding error."""
    return 0.0 if abs(difference) <= ROUNDING * abs(size) else difference


def wilson_interval(correct: int, n: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of the proportion `correct` out of `n` (Wilson 1927).

    Unlike the normal approximation it stays within 0 and 1 and is not empty at either end.
    Raises ValueError if `correct` is not within 0 and n, or n is 0.
    """
    if not 0 <= correct <= n or n == 0:
        raise ValueError(f"{correct} of {n} is not a share")
    share, spread = correct / n, Z * Z / n
    centre = share + spread / 2
    half = Z * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    low, high = (centre - half) / (1 + spread), (centre + half) / (1 + spread)
    # The ends are exact, whatever the rounding.
    return 0.0 if correct == 0 else low, 1.0 if correct == n else high


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % confidence interval of the mean of values; None for fewer than two values."""
    return _around_mean(values, 1 / math.sqrt(len(values))) if values else None


def prediction_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % prediction interval of one further value; None for fewer than two values."""
    return _around_mean(values, math.sqrt(1 + 1 / len(values))) if values else None


def _around_mean(values: Sequence[float], deviations: float) -> tuple[float, float] | None:
    """Return the mean minus and plus sample standard deviations times Student's quantile."""
    if len(values) < 2:
        return None
    from scipy.special import stdtrit  # slow

    half = float(stdtrit(len(values) - 1, 0.975)) * statistics.stdev(values) * deviations
    mean = statistics.fmean(values)
    return mean - half, mean + half


def paired_difference_interval(won: int, lost: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of the difference of two paired proportions, (won - lost) / n.

    won, lost: how many of the n rows only the one, and only the other has right. It is Wald's
    interval after one row is added to each of the two (Bonett and Price 2012,
    Journal of Educational and Behavioral Statistics 37:479).
    Raises ValueError if n is 0 or less than won and lost together.
    """
    if min(won, lost) < 0 or won + lost > n or n == 0:
        raise ValueError(f"{won} and {lost} are not parts of {n}")
    first, second = (won + 1) / (n + 2), (lost + 1) / (n + 2)
    difference = first - second
    half = Z * math.sqrt((first + second - difference**2) / (n + 2))
    return max(-1.0, difference - half), min(1.0, difference + half)
