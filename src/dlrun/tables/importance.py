"""Measure what each column of a table adds to a model's predictions, by permutation.

Breiman (2001), Random Forests, doi:10.1023/A:1010933404324, section 10.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from dlrun.data.array_cache import Array
from dlrun.stats import mean_interval
from dlrun.tables.encoding import Matrix

REPEATS = 5
# Of more rows some are drawn by chance: 50 columns and 400 trees then take three seconds.
MOST_ROWS, LEAST_ROWS = 1000, 100
MOST_CELLS = 50_000


@dataclass(frozen=True)
class ColumnImportance:
    """Says by how much a loss rises if the cells of a column change places among the rows.

    increase: the mean over the permutations. low, high: its 95 % interval.
    """

    column: str
    increase: float
    low: float
    high: float


def permutation_importance(
    loss: Callable[[Matrix, Array], float],
    rows: Matrix,
    targets: Array,
    places: Mapping[str, slice],
    seed: int,
) -> list[ColumnImportance]:
    """Return the importance of each column of a table, the most important first.

    loss: of rows (n, columns of the matrix) and their targets (n,).
    places: where the columns of the matrix are that are made of each column of the table.
    """
    random = np.random.default_rng(seed)
    most_rows = min(MOST_ROWS, max(LEAST_ROWS, MOST_CELLS // max(1, len(places))))
    if len(rows) > most_rows:
        chosen = np.sort(random.choice(len(rows), most_rows, replace=False))
        rows, targets = rows[chosen], targets[chosen]
    permutations = [random.permutation(len(rows)) for _ in range(REPEATS)]
    usual = loss(rows, targets)
    found = []
    changed = rows.copy()
    for column, place in places.items():
        increases = []
        for permutation in permutations:
            changed[:, place] = rows[permutation, place]
            increases.append(loss(changed, targets) - usual)
        changed[:, place] = rows[:, place]
        interval = mean_interval(increases)
        assert interval is not None
        found.append(ColumnImportance(column, float(np.mean(increases)), *interval))
    return sorted(found, key=lambda importance: -importance.increase)
