"""Measure how often the intervals of dlrun contain the true value.

It prints the shares that docs/explanation/statistics.md states. Values are drawn from known
distributions, so that the true value is known too. Each row says whether theory promises its share.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import scipy.signal
import scipy.stats

from dlrun import stats
from dlrun.runs.compare import average_in_blocks, interval_around

DRAWS = 10_000
LOW, HIGH = 0.94, 0.96  # a promised share of 95 % must lie between these
ROWS, SHARES = (100, 1_000, 10_000, 25_000), (0.5, 0.8, 0.9, 0.95, 0.99, 0.999)
SIZES = (2, 3, 5, 10)
Sampler = Callable[[np.random.Generator, int], "np.typing.NDArray[np.float64]"]


class Measured(NamedTuple):
    """Holds the share of draws in which something was so, and the share that theory promises."""

    what: str
    drawn: str
    n: int
    share: float
    promised: float | None


class Distribution(NamedTuple):
    """Holds how values are drawn, and their true mean."""

    name: str
    draw: Sampler
    mean: float


def _one_in_ten_fails(random: np.random.Generator, n: int) -> "np.typing.NDArray[np.float64]":
    return np.where(random.random(n) < 0.1, 0.7, random.normal(0.85, 0.005, n))


NORMAL = Distribution("normal", lambda random, n: random.normal(0.0, 1.0, n), 0.0)
OTHERS = [
    Distribution("uniform", lambda random, n: random.random(n), 0.5),
    Distribution("skewed (exponential)", lambda random, n: random.exponential(1.0, n), 1.0),
    Distribution("one run in ten fails", _one_in_ten_fails, 0.1 * 0.7 + 0.9 * 0.85),
]


def exact_wilson_coverage(share: float, n: int) -> float:
    """Return the probability that Wilson's interval contains the true share, without drawing."""
    counts = np.arange(n + 1)
    likely = counts[abs(counts - share * n) <= 12 * (share * (1 - share) * n) ** 0.5 + 12]
    probabilities = scipy.stats.binom.pmf(likely, n, share)
    ends = (stats.wilson_interval(int(count), n) for count in likely)
    inside = [low <= share <= high for low, high in ends]
    return float(probabilities[inside].sum())


def measure_values(random: np.random.Generator, draws: int) -> Iterator[Measured]:
    """Yield the coverage of the intervals of a mean, and of one more run."""
    for of, distribution in [(True, NORMAL), *((False, other) for other in OTHERS)]:
        for n in SIZES:
            means = nexts = 0
            for _ in range(draws):
                *values, following = distribution.draw(random, n + 1).tolist()
                low, high = stats.mean_interval(values) or (0, 0)
                means += low <= distribution.mean <= high
                low, high = stats.prediction_interval(values) or (0, 0)
                nexts += low <= following <= high
            promised = 0.95 if of else None
            yield Measured("mean", distribution.name, n, means / draws, promised)
            yield Measured("one more run", distribution.name, n, nexts / draws, promised)


def measure_pairs(random: np.random.Generator, draws: int) -> Iterator[Measured]:
    """Yield the coverage of the interval of a paired difference, whose pairs share their seed."""
    for n in SIZES[1:]:
        inside = 0
        for _ in range(draws):
            seeds = random.normal(0, 10, n)
            differences = (seeds + random.normal(1, 1, n)) - (seeds + random.normal(0, 1, n))
            low, high = stats.mean_interval(differences.tolist()) or (0, 0)
            inside += low <= 1 <= high
        drawn = "pairs that share a seed's effect"
        yield Measured("mean difference", drawn, n, inside / draws, 0.95)


def measure_folds(random: np.random.Generator, draws: int) -> Iterator[Measured]:
    """Yield the coverage of the interval over folds: least squares, the mean absolute error.

    The true value is the mean error of fits to as many rows, over all draws.
    """
    for folds in (5, 10):
        means, ends = [], []
        for _ in range(draws):
            X = np.column_stack([np.ones(50), random.normal(size=(50, 3))])
            y = X @ [0, 1, 2, 3] + random.normal(size=50)
            errors = []
            for held in np.arange(50).reshape(folds, -1):
                fitted = np.setdiff1d(np.arange(50), held)
                beta = np.linalg.solve(X[fitted].T @ X[fitted], X[fitted].T @ y[fitted])
                errors.append(float(abs(y[held] - X[held] @ beta).mean()))
            means.append(statistics.fmean(errors))
            ends.append(stats.mean_interval(errors) or (0, 0))
        true = statistics.fmean(means)
        inside = statistics.fmean(low <= true <= high for low, high in ends)
        yield Measured("mean over folds", "least squares on 50 rows", folds, inside, None)


def measure_rows(random: np.random.Generator, draws: int) -> Iterator[Measured]:
    """Yield the coverage of the interval of two fits' mean difference of errors, row by row.

    The errors of a fit on a series are autoregressive: each day has a share of the error before.
    """
    draws = min(draws, 2_000)  # each draws 1,770 rows
    for rows in (88, 1_770):
        inside = 0
        for _ in range(draws):
            errors = np.abs(random.normal(0, (1.0, 1.2), (rows, 2)))
            differences = errors[:, 1] - errors[:, 0]
            low, high = interval_around(float(differences.mean()), differences) or (0, 0)
            inside += low <= 0.2 * (2 / np.pi) ** 0.5 <= high
        yield Measured("difference by row", "absolute errors", rows, inside / draws, None)
    for share in (0.0, 0.3, 0.6, 0.9):
        inside_by_unit = {"by row": 0, "by block": 0}
        for _ in range(draws):
            noise = random.normal(0, 1, 100 + 1_770)
            differences = scipy.signal.lfilter([1.0], [1.0, -share], noise)[100:]
            mean = float(differences.mean())
            for unit, values in (
                ("by row", differences),
                ("by block", average_in_blocks(differences)),
            ):
                low, high = interval_around(mean, values) or (0, 0)
                inside_by_unit[unit] += low <= 0 <= high
        for unit, count in inside_by_unit.items():
            drawn = f"series, {share:g} of the day before"
            yield Measured(f"difference {unit}", drawn, 1_770, count / draws, None)


def measure_all(draws: int) -> list[Measured]:
    """Return all measured shares, of as many draws each."""
    random = np.random.default_rng(0)
    parts = measure_values, measure_pairs, measure_folds, measure_rows
    return [one for part in parts for one in part(random, draws)]


def wilson_table() -> list[str]:
    """Return the table of the exact coverage of Wilson's interval in Markdown."""
    lines = ["| rows | " + " | ".join(f"p = {share:g}" for share in SHARES) + " |"]
    lines.append("|---" * (1 + len(SHARES)) + "|")
    for n in ROWS:
        cells = []
        for share in SHARES:
            coverage = exact_wilson_coverage(share, n)
            mark = "" if LOW <= coverage <= HIGH else " *"
            cells.append(f"{coverage:.3f}{mark}")
        lines.append(f"| {n:,} | " + " | ".join(cells) + " |")
    return lines


def measured_table(rows: Sequence[Measured]) -> list[str]:
    """Return the table of measured shares in Markdown, with a column for each n of a row."""
    lines = []
    groups: dict[tuple[str, str], list[Measured]] = {}
    for one in rows:
        groups.setdefault((one.what, one.drawn), []).append(one)
    lines += ["| what | drawn | share by n | theory |", "|---|---|---|---|"]
    for (what, drawn), found in groups.items():
        promised = next((one.promised for one in found if one.promised), None)
        marks = ["" if one.promised == promised else " *" for one in found]
        shares = ", ".join(
            f"{one.n:,}: {one.share:.3f}{mark}" for one, mark in zip(found, marks, strict=True)
        )
        lines.append(f"| {what} | {drawn} | {shares} | {promised or ''} |")
    return lines


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=DRAWS, help="of each row")
    draws = parser.parse_args().draws
    tables = wilson_table(), measured_table(measure_all(draws))
    print("\n\n".join("\n".join(table) for table in tables))


if __name__ == "__main__":
    main()
