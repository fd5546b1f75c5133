"""Collect labelled rows, and divide them into training and test rows."""

import re
from array import array
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlrun.config.data_sections import DataConfig, DividedDataConfig, OwnDataConfig
from dlrun.data.array_cache import Array
from dlrun.data.dataset_types import ReadContext
from dlrun.data.row_names import RowNames, names_of_places
from dlrun.data.splits import RowIndices, fitted_and_held_out_rows
from dlrun.data.text_files import DataWarnings, RowPlace
from dlrun.errors import DataError
from dlrun.system.console import cut, pluralize, shorten_list

# More classes than MAX_CLASSES mean that the wrong column or folder was named, and so do more than
# MANY_CLASSES if they are more than half of the rows.
MAX_CLASSES = 1000
MANY_CLASSES = 50
_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?")
Labels = NDArray[np.int64]  # the class index of each row (n_rows,)


class LabelledSplit(NamedTuple):
    """Holds the class index of each row, the class names, and a mask of the test rows."""

    labels: Labels
    class_names: list[str]
    is_test: NDArray[np.bool_]


class _Part(NamedTuple):
    """Says where the training or the test rows are, and how much was collected before them."""

    place: object
    rows_before: int
    classes_before: int


class LabelledRows:
    """Collects labelled rows, and divides them into training and test rows.

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

    def names_of_test_rows(self, is_test: NDArray[np.bool_], config: DataConfig) -> RowNames:
        """Return the names of the rows in a mask of test rows, see `names_of_places`."""
        root = None
        if isinstance(config, OwnDataConfig):
            root = config.test or config.path
        return names_of_places([self._places[row] for row in np.flatnonzero(is_test)], root)

    def split(self, config: DataConfig, seed: int) -> LabelledSplit:
        """Divide the rows into training and test rows, and number the classes by sorted names.

        Names that are numbers are sorted by value, words by letters. Raises DataError if there are
        too few or too many classes, or no test rows, ConfigError if a class has fewer rows than
        there are folds.
        """
        labels = np.array(self._labels)
        class_names = [*self._class_indices]
        self._check_number_of_classes(class_names)
        is_test = self._choose_test_rows(labels, config, seed)
        test_place = self._parts[-1].place
        if not is_test.any():
            raise DataError(f"{test_place}: no rows for the test", "each needs a label")
        for index in np.setdiff1d(labels, labels[is_test]).tolist():
            place = f"class {class_names[index]!r}"
            self._warnings.add("none of this class in the test part", place)
        hashes = np.array(self._content_hashes)
        warn_of_shared_rows(hashes, np.flatnonzero(is_test), test_place, self._warnings)
        sorted_names = _sort_class_names(class_names)
        new_indices = np.array([sorted_names.index(name) for name in class_names])
        return LabelledSplit(new_indices[labels], sorted_names, is_test)

    def _check_number_of_classes(self, class_names: Sequence[str]) -> None:
        """Raise DataError unless there are at least two classes, and not too many for the rows."""
        rows = len(self._labels)
        place = self._parts[0].place
        if len(class_names) < 2:
            only = "no rows with a class"
            if class_names:
                only = f"all rows are of the class {class_names[0]!r}"
            raise DataError(f"{place}: {only}", "at least two classes are needed")
        limit = min(MAX_CLASSES, max(MANY_CLASSES, rows // 2))
        if len(class_names) > limit or len(class_names) == rows:
            problem = f"{place}: {len(class_names):,} classes in {pluralize(rows, 'row')}"
            remedy = "of a CSV file, name another column: data.label_column; of a table data.target"
            raise DataError(problem, f"{remedy}, or data.task=regression to predict numbers")

    def _choose_test_rows(self, labels: Labels, config: DataConfig, seed: int) -> NDArray[np.bool_]:
        """Return a mask of the test rows: the separate ones, those of a fold, or a random share.

        The share is one of each class: at least one row, and one is left for training.
        """
        indices = np.arange(len(labels))
        if len(self._parts) > 1 or not isinstance(config, DividedDataConfig):
            return indices >= self._parts[-1].rows_before
        if config.chosen_fold is not None:
            _, held_out = fitted_and_held_out_rows(config.chosen_fold, labels, seed, by_class=True)
            return np.isin(indices, held_out)
        is_test = np.zeros(len(labels), bool)
        random = np.random.default_rng(seed)
        for index in range(len(self._class_indices)):
            rows_of_class = np.flatnonzero(labels == index)
            held = min(
                max(1, round(config.test_share * len(rows_of_class))), len(rows_of_class) - 1
            )
            is_test[random.permutation(rows_of_class)[:held]] = True
        return is_test


def _sort_class_names(names: Sequence[str]) -> list[str]:
    """Return class names sorted by value if all are numbers, else by letters."""
    are_numbers = all(map(_NUMBER.fullmatch, names))
    return sorted(names, key=lambda name: (float(name) if are_numbers else 0, name))


def warn_of_shared_rows(
    content_hashes: NDArray[np.int64], test: RowIndices, place: object, warnings: DataWarnings
) -> None:
    """Warn of test rows that are training rows too, by the hashes of the contents of all rows."""
    if repeated := np.isin(content_hashes[test], np.delete(content_hashes, test)).sum():
        warnings.add(f"{repeated:,} of the test part are in the training part too", place)


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
