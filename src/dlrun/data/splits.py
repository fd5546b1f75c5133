"""Divide labelled rows into training, validation and test rows."""

import re
from array import array
from collections.abc import Mapping, Sequence, Sized
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlrun.config.data_sections import FOLDS, DividedDataConfig, OwnDataConfig, count_held_out_rows
from dlrun.data.sources import ReadContext
from dlrun.data.text_files import DataWarnings, RowPlace
from dlrun.data.untrusted_files import Array
from dlrun.errors import ConfigError, DataError
from dlrun.system.console import Screen, cut, pluralize

Rows = NDArray[np.int64]
Fold = tuple[int, int]  # its number, from 1, and the number of all folds
ROW_NAMES = ("line", "path", "id")
RowNames = dict[str, list[str]]  # by what a user knows rows: `line` and perhaps `id`, or `path`

MAX_CLASSES = 1000  # more mean that the wrong column, or folder, was named
MANY_CLASSES = 50  # as many as that may be more than half of the rows; more mean the same
SHOWN_NAMES = 10  # names in a message, at most
_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?")


def split_off_validation(
    validation: float | None,
    train: Sized,
    test: Sized,
    seed: int,
    screen: Screen,
    *,
    shuffle: bool = True,
) -> tuple[Rows, Rows]:
    """Return the indices of the training rows for fitting and for validation; print the counts.

    validation: see count_held_out_rows. Without `shuffle` the last rows, as of a series, validate.
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
) -> list[tuple[Rows, Rows]]:
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


def rows_of_fold(fold: Fold, targets: Array, seed: int, *, by_class: bool) -> tuple[Rows, Rows]:
    """Return the indices of the rows that one fold of a cross-validation fits, and holds out."""
    number, folds = fold
    return divide_into_folds(folds, targets, seed, by_class=by_class)[number - 1]


class LabelledRows:
    """Collects labelled rows, and divides them into training and test rows.

    Add the training rows (or all rows) first, then the test rows if they are separate.
    """

    def __init__(self, warnings: DataWarnings) -> None:
        self._warnings = warnings
        self._classes: dict[str, int] = {}  # their indices, in the order of their appearance
        self._labels = array("q")
        self._hashes = array("q")
        self._places: list[RowPlace | str] = []
        self._parts: list[tuple[object, int, int]] = []  # place, rows and classes before each

    def begin_part(self, place: object) -> None:
        """Begin the training rows, or after them the test rows; `place` is their file or folder."""
        self._parts.append((place, len(self._labels), len(self._classes)))

    def add(self, label: str, content: int, where: RowPlace | str) -> bool:
        """Add a row, and return whether it has a label; a row with a blank label is left out.

        content: a hash of the row's content. where: its place. Raises DataError for a label of a
        test row that no training row has.
        """
        name = " ".join(label.split())
        if not name:
            self._warnings.add("no label: the row is left out", where)
            return False
        index = self._classes.setdefault(name, len(self._classes))
        _, _, trained = self._parts[-1]
        if len(self._parts) > 1 and index >= trained:
            known = f"the training part has {shorten_list([*self._classes][:trained])}"
            problem = f"the label {cut(name, 40)!r} is in no row of the training part"
            raise DataError(f"{where}: {problem}", known)
        self._hashes.append(content)
        self._labels.append(index)
        self._places.append(where)
        return True

    def row_names(self, chosen: NDArray[np.bool_], config: object) -> RowNames:
        """Return the names of the chosen rows, see `name_rows`; config: the section `data`."""
        root = config.test or config.path if isinstance(config, OwnDataConfig) else None
        return name_rows([self._places[row] for row in np.flatnonzero(chosen)], root)

    def split(self, config: object, seed: int) -> tuple[Rows, list[str], NDArray[np.bool_]]:
        """Return the class index of each row (n_rows,), the class names, and a mask of test rows.

        config: the section `data`. Names are sorted: numbers by value, words by letters. Raises
        DataError if there are too few or too many classes, or no test rows, ConfigError if a class
        has fewer rows than there are folds.
        """
        labels = np.array(self._labels)
        classes = [*self._classes]
        self._check_number_of_classes()
        is_test = self._choose_test_rows(labels, config, seed)
        test_place, *_ = self._parts[-1]
        if not is_test.any():
            raise DataError(f"{test_place}: no rows for the test", "each needs a label")
        for index in np.setdiff1d(labels, labels[is_test]).tolist():
            self._warnings.add("none of this class in the test part", f"class {classes[index]!r}")
        contents = np.array(self._hashes)
        warn_of_shared_rows(contents, np.flatnonzero(is_test), test_place, self._warnings)
        are_numbers = all(map(_NUMBER.fullmatch, classes))
        ordered = sorted(classes, key=lambda name: (float(name) if are_numbers else 0, name))
        return np.array([ordered.index(name) for name in classes])[labels], ordered, is_test

    def _check_number_of_classes(self) -> None:
        """Raise DataError unless there are at least two classes, and not too many for the rows."""
        classes = [*self._classes]
        rows = len(self._labels)
        place, *_ = self._parts[0]
        if len(classes) < 2:
            only = "no rows with a class"
            if classes:
                only = f"all rows are of the class {classes[0]!r}"
            raise DataError(f"{place}: {only}", "at least two classes are needed")
        limit = min(MAX_CLASSES, max(MANY_CLASSES, rows // 2))
        if len(classes) > limit or len(classes) == rows:
            problem = f"{place}: {len(classes):,} classes in {pluralize(rows, 'row')}"
            remedy = "of a CSV file, name another column: data.label_column; of a table data.target"
            raise DataError(problem, f"{remedy}, or data.task=regression to predict numbers")

    def _choose_test_rows(self, labels: Rows, config: object, seed: int) -> NDArray[np.bool_]:
        """Return a mask of the test rows: the separate ones, those of a fold, or a random share.

        The share is one of each class: at least one row, and one is left for training.
        """
        _, training_rows, _ = self._parts[-1]
        indices = np.arange(len(labels))
        if len(self._parts) > 1 or not isinstance(config, DividedDataConfig):
            return indices >= training_rows
        if config.chosen_fold is not None:
            _, held_out = rows_of_fold(config.chosen_fold, labels, seed, by_class=True)
            return np.isin(indices, held_out)
        is_test = np.zeros(len(labels), bool)
        random = np.random.default_rng(seed)
        for index in range(len(self._classes)):
            rows = np.flatnonzero(labels == index)
            held = min(max(1, round(config.test_share * len(rows))), len(rows) - 1)
            is_test[random.permutation(rows)[:held]] = True
        return is_test


def warn_of_shared_rows(
    contents: Rows, tested: Rows, place: object, warnings: DataWarnings
) -> None:
    """Warn of test rows that are training rows too; `contents` are hashes of all rows."""
    if repeated := np.isin(contents[tested], np.delete(contents, tested)).sum():
        warnings.add(f"{repeated:,} of the test part are in the training part too", place)


def name_rows(places: Sequence[RowPlace | str], root: Path | None = None) -> RowNames:
    """Return names that identify data rows: lines and ids of CSV files, or paths of files."""
    known = [place for place in places if isinstance(place, RowPlace)]
    files = [place.file.relative_to(root or "").as_posix() for place in known if not place.line]
    columns = {
        "line": [str(place.line) for place in known if place.line],
        "path": [file.encode("utf-8", "backslashreplace").decode() for file in files],
        "id": [place.id for place in known if place.id is not None],
    }
    return {name: column for name, column in columns.items() if column}


def names_of_test_rows(lists: Mapping[str, list[str]]) -> RowNames:
    """Return what names the test rows: a prepared data set's lists `line`, `path` and `id`."""
    return {key: lists[key] for key in ROW_NAMES if key in lists}


def show_class_counts(
    context: ReadContext,
    arrays: Mapping[str, Array],
    lists: Mapping[str, list[str]],
    what: str,
) -> None:
    """Print warnings about a user's own rows, the number of rows, and the class names."""
    if not isinstance(context.config, OwnDataConfig):
        return
    for warning in lists["warnings"]:
        context.screen.warn(warning)
    rows = len(arrays["train_labels"]) + len(arrays["test_labels"])
    classes = lists["labels"]
    context.screen.note(f"{rows:,} {what} of {len(classes)} classes: {shorten_list(classes)}")


def shorten_list(names: Sequence[str]) -> str:
    """Join names by commas for a message, only the first ones of a long list."""
    return ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")
