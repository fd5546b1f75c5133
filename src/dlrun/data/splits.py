"""The training part, split into rows to fit and rows for validation."""

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
