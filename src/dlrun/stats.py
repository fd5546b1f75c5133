"""Compute confidence and prediction intervals of proportions and means, and rounding errors."""

import math
import statistics
from collections.abc import Sequence

Z = 1.959963984540054  # the normal distribution's 97.5 % quantile: 95 % between two sides
MAGNITUDES = 20  # ratio of the ends of a range from which on its axis is logarithmic
ROUNDING = 1e-9  # share of a number below which a difference is rounding error


def spans_magnitudes(low: float, high: float) -> bool:
    """A logarithmic axis shows a range of values of several magnitudes better."""
    return 0 < low * MAGNITUDES <= high


def zero_if_rounding_error(difference: float, size: float) -> float:
    """A difference that is no more than the rounding error of its numbers becomes 0.0."""
    return 0.0 if abs(difference) <= ROUNDING * abs(size) else difference


def wilson_interval(correct: int, n: int) -> tuple[float, float]:
    """Compute the 95 % confidence interval of the proportion `correct` out of `n` (Wilson 1927).

    Unlike the normal approximation it stays within 0 and 1 and is not empty at either end.
    Raises ValueError if `correct` is not within 0 and n, or n is 0.
    """
    if not 0 <= correct <= n or n == 0:
        raise ValueError(f"{correct} of {n} is not a share")
    share = correct / n
    spread = Z * Z / n
    centre = share + spread / 2
    half = Z * math.sqrt(share * (1 - share) / n + spread / (4 * n))
    # Where no row or every row is correct, the end is exact, whatever the rounding.
    low = 0.0 if correct == 0 else (centre - half) / (1 + spread)
    high = 1.0 if correct == n else (centre + half) / (1 + spread)
    return low, high


def mean_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Compute the 95 % confidence interval of the mean of values; fewer than two have none."""
    return _around_mean(values, 1 / math.sqrt(len(values))) if values else None


def prediction_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Compute the 95 % prediction interval of a further value; fewer than two values have none."""
    return _around_mean(values, math.sqrt(1 + 1 / len(values))) if values else None


def _around_mean(values: Sequence[float], deviations: float) -> tuple[float, float] | None:
    """The ends are the mean minus and plus sample standard deviations times Student's quantile."""
    if len(values) < 2:
        return None
    from scipy.special import stdtrit  # slow

    half = float(stdtrit(len(values) - 1, 0.975)) * statistics.stdev(values) * deviations
    mean = statistics.fmean(values)
    return mean - half, mean + half
