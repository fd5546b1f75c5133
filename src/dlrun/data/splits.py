"""Which rows are for training, validation and test, by a seed."""

from collections.abc import Sized

import numpy as np
from numpy.typing import NDArray

from dlrun.config.sections import OwnData
from dlrun.system.console import Screen

Rows = NDArray[np.int64]


def split(
    config: OwnData, train: Sized, test: Sized, seed: int, screen: Screen
) -> tuple[Rows, Rows]:
    """Return the indices of the training part's rows to fit and for validation; say how many.

    Raises ConfigError if none would be left to fit.
    """
    held = config.held_out(len(train))
    fit = len(train) - held
    screen.note(f"{fit:,} to fit, {held:,} for validation, {len(test):,} for the test")
    if fit < held:
        screen.warn(
            f"only {fit:,} rows to fit, but {held:,} for validation: data.validation is too large"
        )
    order = np.random.default_rng(seed).permutation(len(train))
    return np.sort(order[held:]), np.sort(order[:held])


def hold_out(labels: NDArray[np.int64], share: float, seed: int) -> NDArray[np.bool_]:
    """Return which rows (n_rows,) are the test: a share of each class, but one row at least.

    The training part keeps at least one row of each class.
    """
    random = np.random.default_rng(seed)
    test = np.zeros(len(labels), bool)
    order = np.argsort(labels, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        held = min(max(1, round(share * len(rows))), len(rows) - 1)
        test[random.permutation(rows)[:held]] = True
    return test
