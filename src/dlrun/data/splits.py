"""Divide the indices of rows: into rows to fit and for validation, or into folds."""

from collections.abc import Sized

import numpy as np
from numpy.typing import NDArray

from dlrun.config.data_sections import FOLDS, count_held_out_rows
from dlrun.data.array_cache import Array
from dlrun.errors import ConfigError
from dlrun.system.console import Screen, pluralize

RowIndices = NDArray[np.int64]
Fold = tuple[int, int]  # its number, from 1, and the number of all folds


def split_off_validation(
    validation: float | None,
    train: Sized,
    test: Sized,
    seed: int,
    screen: Screen,
    *,
    shuffle: bool = True,
) -> tuple[RowIndices, RowIndices]:
    """Divide training rows into rows to fit and rows for validation; print the counts.

    Returns their indices. validation: see count_held_out_rows. Without `shuffle` the last rows, as
    of a series, validate.
    """
    held = count_held_out_rows(validation, len(train))
    fit = len(train) - held
    screen.note(f"{fit:,} to fit, {held:,} for validation, {len(test):,} for the test")
    order = np.arange(len(train))[::-1]
    if shuffle:
        order = np.random.default_rng(seed).permutation(len(train))
    return np.sort(order[held:]), np.sort(order[:held])


def divide_into_folds(
    folds: int, targets: Array, seed: int, *, by_class: bool, key: str = FOLDS
) -> list[tuple[RowIndices, RowIndices]]:
    """Return each fold's rows to fit and rows held out, as scikit-learn's shuffled KFold.

    by_class: each fold gets equal shares of the classes that are the targets (StratifiedKFold).
    key: of the config. Raises ConfigError if there are more folds than rows, or rows of a class.
    """
    from sklearn.model_selection import KFold, StratifiedKFold  # slow

    rows = int(np.bincount(targets).min()) if by_class else len(targets)
    if folds > rows:
        what = " of the rarest class" if by_class else ""
        problem = f"{folds:,} folds of {pluralize(rows, 'row')}{what}"
        raise ConfigError(f"{key}: {problem}", "choose fewer folds, or give more rows")
    divider = StratifiedKFold if by_class else KFold
    return list(divider(folds, shuffle=True, random_state=seed).split(targets, targets))


def fitted_and_held_out_rows(
    fold: Fold, targets: Array, seed: int, *, by_class: bool
) -> tuple[RowIndices, RowIndices]:
    """Return the indices of the rows that one fold of a cross-validation fits, and holds out."""
    number, folds = fold
    return divide_into_folds(folds, targets, seed, by_class=by_class)[number - 1]
