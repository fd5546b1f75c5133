"""Divide rows into training, validation and test rows; divide labelled rows within each class."""

import hashlib
import re
from array import array
from collections.abc import Mapping, Sequence, Sized
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlrun.config.data_sections import (
    FOLDS,
    DataConfig,
    DataExperimentConfig,
    DividedDataConfig,
    UserDataConfig,
    count_held_out_rows,
)
from dlrun.data.array_cache import Array, Prepared, fingerprint_arrays
from dlrun.data.datasets_and_sources import DataOrigin, ReadContext
from dlrun.data.split import Split
from dlrun.data.text_files import NAME_COLUMNS, DataWarnings, RowNames, RowPlace, names_of_places
from dlrun.errors import ConfigError, DataError
from dlrun.system.console import Screen
from dlrun.system.text import cut, pluralize, shorten_list

RowIndices = NDArray[np.int64]
Labels = NDArray[np.int64]  # the class index of each row
RowHashes = NDArray[np.int64]  # of the content of each row, see `hash_content`
Mask = NDArray[np.bool_]
MAX_CLASSES = 1000  # more mean that the wrong column, or folder, was named
MANY_CLASSES = 50  # more, if they are more than half of the rows, mean the same
_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?")


def hash_content(content: bytes) -> int:
    """Hash a row's content to a signed integer of 64 bits, equal in every process."""
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), signed=True)


class RowContents(NamedTuple):
    """Identifies rows by the hash of each one's content and by its target, both (n_rows,)."""

    hashes: RowHashes
    targets: Array

    def take(self, rows: RowIndices) -> "RowContents":
        """Return the rows with the given indices."""
        return RowContents(self.hashes[rows], self.targets[rows])


def make_split(
    config: DataExperimentConfig,
    origin: DataOrigin,
    *,
    fitted: RowContents,
    validation: RowContents | None,
    test: RowContents,
    is_series: bool = False,
) -> Split:
    """Return the split of a run's rows. validation: None if no rows validate; or the test rows."""
    fold = None
    folds = None
    if isinstance(config.data, DividedDataConfig) and config.data.chosen_fold is not None:
        fold, folds = config.data.chosen_fold
    parts = [fitted, test]
    if validation is not None:
        parts.append(validation)
    return Split(
        seed=config.split_seed,
        fold=fold,
        folds=folds,
        is_series=is_series,
        group=getattr(config.data, "group", None),
        time=getattr(config.data, "time", None),
        rows_digest=_digest_of_all_rows(origin, parts),
        test_digest=fingerprint_arrays(test),
        validation_digest=None if validation is None else fingerprint_arrays(validation),
        train_digest=fingerprint_arrays(fitted),
    )


def _digest_of_all_rows(origin: DataOrigin, parts: Sequence[RowContents]) -> str:
    """Hash the rows of all parts, each once: the hash does not depend on how they are divided.

    Each seed generates other rows, so the hash of generated rows is that of their description.
    """
    if origin.is_generated:
        return hashlib.sha256(origin.text.encode()).hexdigest()
    distinct = list({id(part.hashes): part for part in parts}.values())  # the test may validate
    hashes = np.concatenate([part.hashes for part in distinct])
    targets = np.concatenate([part.targets for part in distinct])
    order = np.lexsort((targets, hashes))
    return fingerprint_arrays([hashes[order], targets[order]])


def split_off_validation(
    validation: float | None,
    train: Sized,
    test: Sized,
    seed: int,
    screen: Screen,
    *,
    shuffle: bool = True,
    groups: Array | None = None,
    labels: Labels | None = None,
) -> tuple[RowIndices, RowIndices]:
    """Divide training rows into rows to fit and rows for validation; print the counts.

    Returns their indices. validation: see count_held_out_rows. Without `shuffle` the last rows, as
    of a series, validate; with `groups`, of each row (n_train_rows,), whole groups do; with
    `labels`, of each row, a share of each class does.
    """
    held = count_held_out_rows(validation, len(train))
    if groups is not None:
        fitted, held_out = hold_out_groups(groups, held / len(train), seed)
    elif labels is not None and shuffle:
        is_held = hold_out_of_each_class(labels, held / len(train), seed)
        fitted, held_out = np.flatnonzero(~is_held), np.flatnonzero(is_held)
    else:
        order = np.arange(len(train))[::-1]
        if shuffle:
            order = np.random.default_rng(seed).permutation(len(train))
        fitted, held_out = np.sort(order[held:]), np.sort(order[:held])
    counts = f"{len(fitted):,} to fit, {len(held_out):,} for validation"
    screen.note(f"{counts}, {len(test):,} for the test")
    return fitted, held_out


def hold_out_groups(groups: Array, share: float, seed: int) -> tuple[RowIndices, RowIndices]:
    """Hold out a share of the groups, whole, as scikit-learn's GroupShuffleSplit; return indices.

    groups: of each row (n_rows,). Raises ConfigError if there is only one group.
    """
    from sklearn.model_selection import GroupShuffleSplit  # slow

    if len(np.unique(groups)) < 2:
        raise ConfigError("data.group: all rows are of one group", "name another column, or none")
    number = max(1, round(share * len(np.unique(groups))))
    divider = GroupShuffleSplit(1, test_size=number, random_state=seed)
    fitted, held_out = next(divider.split(groups, groups=groups))
    return np.sort(fitted), np.sort(held_out)


def hold_out_of_each_class(labels: Labels, share: float, seed: int) -> Mask:
    """Return a mask of the rows of a share of each class: one at least, and one is left."""
    is_held = np.zeros(len(labels), bool)
    random = np.random.default_rng(seed)
    for index in np.unique(labels):
        members = np.flatnonzero(labels == index)
        held = min(max(1, round(share * len(members))), len(members) - 1)
        is_held[random.permutation(members)[:held]] = True
    return is_held


def divide_into_folds(
    folds: int,
    targets: Array,
    seed: int,
    *,
    by_class: bool,
    groups: Array | None = None,
    key: str = FOLDS,
) -> list[tuple[RowIndices, RowIndices]]:
    """Return each fold's rows to fit and rows held out, as scikit-learn's shuffled KFold.

    by_class: each fold gets equal shares of the classes that are the targets (StratifiedKFold).
    groups: of each row (n_rows,); whole groups are held out (GroupKFold).
    key: of the config. Raises ConfigError if there are more folds than rows, or rows of a class, or
    groups.
    """
    from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold  # slow

    held_out = "row"
    of_what = ""
    number = len(targets)
    if groups is not None:
        held_out = "group"
        number = len(np.unique(groups))
    elif by_class:
        of_what = " of the rarest class"
        number = int(np.bincount(targets).min())
    if folds > number:
        problem = f"{folds:,} folds of {pluralize(number, held_out)}{of_what}"
        raise ConfigError(f"{key}: {problem}", "choose fewer folds, or give more rows")
    if groups is not None:
        by_group = GroupKFold(folds, shuffle=True, random_state=seed)
        return list(by_group.split(targets, targets, groups))
    divider = StratifiedKFold if by_class else KFold
    return list(divider(folds, shuffle=True, random_state=seed).split(targets, targets))


def divide_in_order_of_time(folds: int, rows: int, key: str) -> list[tuple[RowIndices, RowIndices]]:
    """Return each fold's rows to fit and the rows after them, as scikit-learn's TimeSeriesSplit.

    key: of the config. Raises ConfigError if there are too few rows for the folds.
    """
    from sklearn.model_selection import TimeSeriesSplit  # slow

    if folds >= rows:
        problem = f"{folds:,} folds of {pluralize(rows, 'row')} in the order of time"
        raise ConfigError(f"{key}: {problem}", "choose fewer folds, or give more rows")
    return list(TimeSeriesSplit(folds).split(np.arange(rows)))


class _Part(NamedTuple):
    """Says where the training or the test rows are, and how much was collected before them."""

    place: object
    rows_before: int
    classes_before: int


class LabelledRowDivider:
    """Divides labelled rows into training and test rows, once they are all added.

    Add the training rows (or all rows) first, then the test rows if they are separate.
    """

    def __init__(self, warnings: DataWarnings) -> None:
        self._warnings = warnings
        self._class_indices: dict[str, int] = {}  # by name, in the order of their appearance
        self._labels = array("q")
        self._content_hashes = array("q")
        self._places: list[RowPlace | str] = []
        self._parts: list[_Part] = []

    def begin_part(self, place: object) -> None:
        """Begin the training rows, or after them the test rows; `place` is their file or folder."""
        self._parts.append(_Part(place, len(self._labels), len(self._class_indices)))

    def add(self, label: str, content_hash: int, place: RowPlace | str) -> bool:
        """Add a row, and return whether it has a label; a row with a blank label is left out.

        Raises DataError for a label of a test row that no training row has.
        """
        name = " ".join(label.split())
        if not name:
            self._warnings.add("no label: the row is left out", place)
            return False
        index = self._class_indices.setdefault(name, len(self._class_indices))
        trained = self._parts[-1].classes_before
        if len(self._parts) > 1 and index >= trained:
            known = f"the training part has {shorten_list([*self._class_indices][:trained])}"
            problem = f"the label {cut(name, 40)!r} is in no row of the training part"
            raise DataError(f"{place}: {problem}", known)
        self._content_hashes.append(content_hash)
        self._labels.append(index)
        self._places.append(place)
        return True

    @property
    def content_hashes(self) -> RowHashes:
        """Return the hash of each row's content (n_rows,)."""
        return np.array(self._content_hashes)

    def names_of_test_rows(self, is_test: Mask, config: DataConfig) -> RowNames:
        """Return the names of the rows in a mask of test rows, see `names_of_places`."""
        root = None
        if isinstance(config, UserDataConfig):
            root = config.test or config.path
        return names_of_places([self._places[row] for row in np.flatnonzero(is_test)], root)

    def split(self, config: DataConfig, seed: int) -> tuple[Labels, list[str], Mask]:
        """Return the class index of each row (n_rows,), the class names, and a mask of test rows.

        Names are sorted: numbers by value, words by letters. Raises DataError if there are too few
        or too many classes, or no test rows, ConfigError if a class has fewer rows than there are
        folds.
        """
        labels = np.array(self._labels)
        names = [*self._class_indices]
        check_number_of_classes(names, len(labels), self._parts[0].place)
        rows_of_train_part = self._parts[-1].rows_before if len(self._parts) > 1 else None
        is_test = choose_test_rows(labels, config, seed, rows_of_train_part)
        test_place = self._parts[-1].place
        if not is_test.any():
            raise DataError(f"{test_place}: no rows for the test", "each needs a label")
        warn_of_untested_classes(labels, is_test, names, self._warnings)
        warn_of_shared_rows(
            self.content_hashes, np.flatnonzero(is_test), test_place, self._warnings
        )
        in_order = sort_class_names(names)
        return np.array([in_order.index(name) for name in names])[labels], in_order, is_test


def check_number_of_classes(names: Sequence[str], rows: int, place: object) -> None:
    """Raise DataError unless there are at least two classes, and not too many for the rows."""
    if len(names) < 2:
        only = "no rows with a class"
        if names:
            only = f"all rows are of the class {names[0]!r}"
        raise DataError(f"{place}: {only}", "at least two classes are needed")
    limit = min(MAX_CLASSES, max(MANY_CLASSES, rows // 2))
    if len(names) > limit or len(names) == rows:
        problem = f"{place}: {len(names):,} classes in {pluralize(rows, 'row')}"
        remedy = "of a CSV file, name another column: data.label_column; of a table data.target"
        raise DataError(problem, f"{remedy}, or data.task=regression to predict numbers")


def choose_test_rows(
    labels: Labels, config: DataConfig, seed: int, rows_of_train_part: int | None
) -> Mask:
    """Return a mask of the test rows: the separate ones, those of a fold, or a random share.

    The share is one of each class: at least one row, and one is left for training.

    rows_of_train_part: how many rows are before the separate test rows; None: there are none.
    """
    indices = np.arange(len(labels))
    if rows_of_train_part is not None or not isinstance(config, DividedDataConfig):
        return indices >= (rows_of_train_part or 0)
    if config.chosen_fold is not None:
        fold, folds = config.chosen_fold
        _, held_out = divide_into_folds(folds, labels, seed, by_class=True)[fold - 1]
        return np.isin(indices, held_out)
    return hold_out_of_each_class(labels, config.test_share, seed)


def sort_class_names(names: Sequence[str]) -> list[str]:
    """Return the names of classes in order: numbers by value, words by letters."""
    are_numbers = all(map(_NUMBER.fullmatch, names))
    return sorted(names, key=lambda name: (float(name) if are_numbers else 0, name))


def warn_of_untested_classes(
    labels: Labels, is_test: Mask, names: Sequence[str], warnings: DataWarnings
) -> None:
    """Warn of each class that has no test row."""
    for index in np.setdiff1d(labels, labels[is_test]).tolist():
        warnings.add("none of this class in the test part", f"class {names[index]!r}")


def warn_of_shared_rows(
    content_hashes: NDArray[np.int64], test: RowIndices, place: object, warnings: DataWarnings
) -> None:
    """Warn of test rows that are training rows too, by the hashes of the contents of all rows."""
    if repeated := np.isin(content_hashes[test], np.delete(content_hashes, test)).sum():
        warnings.add(f"{repeated:,} of the test part are in the training part too", place)


def stored_test_names(lists: Mapping[str, list[str]]) -> RowNames:
    """Return the names of the test rows that are among the lists of a prepared data set."""
    return {column: lists[column] for column in NAME_COLUMNS if column in lists}


def show_class_counts(context: ReadContext[DataConfig], prepared: Prepared, what: str) -> None:
    """Print warnings about a user's own rows, the number of rows, and the classes."""
    if not isinstance(context.config, UserDataConfig):
        return
    arrays, lists = prepared
    for warning in lists["warnings"]:
        context.screen.warn(warning)
    rows = len(arrays["train_labels"]) + len(arrays["test_labels"])
    classes = lists["labels"]
    context.screen.note(f"{rows:,} {what} of {len(classes)} classes: {shorten_list(classes)}")
