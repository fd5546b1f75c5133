"""Divide a table into training and test rows: by files, groups, time, folds or chance."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dlrun.config.data_sections import HittersDataConfig, UserTableDataConfig
from dlrun.data.array_cache import Array
from dlrun.data.datasets_and_sources import ReadContext
from dlrun.data.splits import (
    Mask,
    RowIndices,
    choose_test_rows,
    divide_into_folds,
    hold_out_groups,
    warn_of_untested_classes,
)
from dlrun.errors import ConfigError, DataError
from dlrun.system.text import pluralize


@dataclass(frozen=True)
class RowsToDivide:
    """Holds what decides which rows of a table are tested.

    targets: values (n,), or class indices. labels: the class names of a classification.
    files: the number of each row's file (n,): 0, or 1 for the test file.
    groups: a number for the group of each row (n,). times: a number or a date for each row (n,).
    """

    targets: Array
    labels: list[str] | None
    files: Array
    groups: Array | None = None
    times: Array | None = None


def divide_into_train_and_test(
    rows: RowsToDivide, context: ReadContext[HittersDataConfig | UserTableDataConfig]
) -> tuple[RowIndices, RowIndices]:
    """Return the indices of the training rows and of the test rows.

    By time both are in the order of time. Raises ConfigError if there are fewer groups or rows than
    folds, DataError if there is nothing to train or to test with.
    """
    config = context.config
    if rows.files.any():
        train, test = np.flatnonzero(rows.files == 0), np.flatnonzero(rows.files)
        train, test = _in_order_of_time(rows, train), _in_order_of_time(rows, test)
    elif rows.times is not None:
        train, test = _divide_by_time(rows, rows.times, config)
    elif rows.groups is not None and config.chosen_fold is None:
        train, test = hold_out_groups(rows.groups, config.test_share, context.seed)
    elif config.chosen_fold is not None:
        fold, folds = config.chosen_fold
        by_class = rows.labels is not None
        parts = divide_into_folds(
            folds, rows.targets, context.seed, by_class=by_class, groups=rows.groups
        )
        train, test = parts[fold - 1]
    elif rows.labels is not None:
        is_test = _choose_by_class(rows, config, context.seed)
        train, test = np.flatnonzero(~is_test), np.flatnonzero(is_test)
    else:
        order = np.random.RandomState(context.seed).permutation(len(rows.targets))
        test, train = np.split(order, [_count_test_rows(rows, config)])
    _check_rows(rows, train, test, context)
    if rows.groups is not None and np.isin(rows.groups[test], rows.groups[train]).any():
        context.warnings.add(
            "groups of the test part are in the training part too", context.paths[-1]
        )
    return train, test


def _divide_by_time(
    rows: RowsToDivide, times: Array, config: HittersDataConfig | UserTableDataConfig
) -> tuple[RowIndices, RowIndices]:
    """Return the earlier rows and the last ones; rows of one time are not divided."""
    in_order = _in_order_of_time(rows, np.arange(len(times)))
    first = len(in_order) - _count_test_rows(rows, config)
    first = int(np.searchsorted(times[in_order], times[in_order[first]]))
    return in_order[:first], in_order[first:]


def _in_order_of_time(rows: RowsToDivide, indices: RowIndices) -> RowIndices:
    """Return indices in the order of their times; as they are, if there are no times."""
    if rows.times is None:
        return indices
    return indices[np.argsort(rows.times[indices], kind="stable")]


def _count_test_rows(rows: RowsToDivide, config: HittersDataConfig | UserTableDataConfig) -> int:
    """Count the test rows of a share, as scikit-learn's train_test_split does."""
    return math.ceil(config.test_share * len(rows.targets))


def _choose_by_class(
    rows: RowsToDivide, config: HittersDataConfig | UserTableDataConfig, seed: int
) -> Mask:
    """Return a mask of test rows, a share of each class in the order of its first row."""
    classes, _ = pd.factorize(rows.targets)
    return choose_test_rows(classes, config, seed, None)


def _check_rows(
    rows: RowsToDivide,
    train: RowIndices,
    test: RowIndices,
    context: ReadContext[HittersDataConfig | UserTableDataConfig],
) -> None:
    """Raise DataError if there are no test rows, or nothing to learn from the training rows.

    Raises ConfigError if only one group is left to train and to validate with.
    """
    config = context.config
    place = context.origin.text
    if not len(test) or not len(train):
        part = "train with" if len(test) else "test"
        raise DataError(f"{place}: no rows to {part}", "give more rows, or another data.test_share")
    if rows.groups is not None and len(np.unique(rows.groups[train])) < 2:
        problem = "data.group: a single group is left to train and to validate with"
        raise ConfigError(problem, "name a column of three groups or more, or none")
    if rows.labels is not None:
        is_test = np.isin(np.arange(len(rows.targets)), test)
        warn_of_untested_classes(rows.targets, is_test, rows.labels, context.warnings)
    elif len(np.unique(rows.targets[train])) < 2:
        problem = f"{config.target} has no two values in {pluralize(len(train), 'row')}"
        remedy = "give more rows, or name another column as data.target"
        raise DataError(f"{place}: {problem} to train with", remedy)
