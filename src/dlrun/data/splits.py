"""Divide labelled rows into training, validation and test rows."""

import re
from array import array
from collections.abc import Mapping, Sequence, Sized
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlrun.config.data_sections import FOLDS, DividedDataConfig, OwnDataConfig, held_out_rows
from dlrun.data.sources import ReadContext
from dlrun.data.text_files import DataWarnings, RowPlace
from dlrun.data.untrusted_files import Array
from dlrun.errors import ConfigError, DataError
from dlrun.system.console import Screen, pluralize

Rows = NDArray[np.int64]
Fold = tuple[int, int]  # its number, from 1, and the number of all folds
ROW_NAMES = ("line", "path", "id")
RowNames = dict[str, list[str]]  # by what a user knows rows: `line` and perhaps `id`, or `path`

MAX_CLASSES = 1000  # more classes mean that the wrong column, or folder, was named
MANY_CLASSES = 50  # as many as that may be half of the rows; more mean the same
MAX_NAME = 200  # characters of a class's name: a longer one is a text
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

    validation: see held_out_rows. Without `shuffle` the last rows are held out, as of a series.
    """
    held = held_out_rows(validation, len(train))
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

    @property
    def names(self) -> list[str]:
        """Return the names of the classes in the order of their appearance."""
        return list(self._classes)

    def begin_part(self, place: object) -> None:
        """Begin the training rows, or after them the test rows; `place` is their file or folder."""
        self._parts.append((place, len(self._labels), len(self._classes)))

    def add(self, label: str, content: int | None, where: RowPlace | str) -> bool:
        """Add a row, and return whether it has a label; a row with a blank label is left out.

        `content` is a hash of the row's content, and `where` its place. Raises DataError for a
        label that cannot be a class, or that no row of the training part has.
        """
        name = " ".join(label.split())
        if not name:
            self._warnings.add("no label: the row is left out", where)
            return False
        index = self._classes.setdefault(name, len(self._classes))
        if index == MAX_CLASSES or not name.isprintable() or len(name) > MAX_NAME:
            problem = f"is no name of a class, or one of more than {MAX_CLASSES:,}"
            hint = "name another column: data.label_column (of a table, data.target)"
            raise DataError(f"{where}: the label {name[:40]!r} {problem}", hint)
        _, _, trained = self._parts[-1]
        if len(self._parts) > 1 and index >= trained:
            known = f"the training part has {shorten_list(self.names[:trained])}"
            raise DataError(f"{where}: the label {name!r} is in no row of the training part", known)
        self._hashes.append(len(self._labels) if content is None else content)
        self._labels.append(index)
        self._places.append(where)
        return True

    def name(self, chosen: NDArray[np.bool_], config: object) -> RowNames:
        """Return the names of the chosen rows, see `name_rows`; config: the section `data`."""
        root = config.test or config.path if isinstance(config, OwnDataConfig) else None
        return name_rows([self._places[row] for row in np.flatnonzero(chosen)], root)

    def split(self, config: object, seed: int) -> tuple[Rows, list[str], NDArray[np.bool_]]:
        """Return the class index of each row (n_rows,), the class names, and a mask of test rows.

        config: the section `data`. Without separate test rows, its fold is the test, or a random
        share of each class: at least one row, and one is left for training. Names are sorted:
        numbers by value, words by letters. Raises DataError if there are too few classes or rows,
        ConfigError if a class has fewer rows than there are folds.
        """
        labels = np.array(self._labels)
        names = self.names
        place, *_ = self._parts[0]
        last, separate, _ = self._parts[-1]
        if len(names) < 2:
            only = f"all rows are of the class {names[0]!r}" if names else "no rows with a class"
            raise DataError(f"{place}: {only}", "at least two classes are needed")
        if len(names) > max(MANY_CLASSES, len(labels) // 2):
            problem = f"{place}: {len(names):,} classes in {len(labels):,} rows"
            raise DataError(problem, "name the column of the classes, if this is a table")
        if len(self._parts) > 1 or not isinstance(config, DividedDataConfig):
            is_test = np.arange(len(labels)) >= separate
        elif config.chosen_fold is not None:
            _, held_out = rows_of_fold(config.chosen_fold, labels, seed, by_class=True)
            is_test = np.isin(np.arange(len(labels)), held_out)
        else:
            is_test = np.zeros(len(labels), bool)
            random = np.random.default_rng(seed)
            for index in range(len(names)):
                rows = np.flatnonzero(labels == index)
                held = min(max(1, round(config.test_share * len(rows))), len(rows) - 1)
                is_test[random.permutation(rows)[:held]] = True
        train, test = np.count_nonzero(~is_test), np.count_nonzero(is_test)
        if train < 2 or test == 0:
            problem = f"{place}: {train} for the training and {test} for the test: too few"
            raise DataError(problem, "give more rows of each class, or test data as data.test")
        for index in np.setdiff1d(np.arange(len(names)), labels[is_test]).tolist():
            self._warnings.add("none of this class in the test part", f"class {names[index]!r}")
        warn_of_shared_rows(np.array(self._hashes), np.flatnonzero(is_test), last, self._warnings)
        are_numbers = all(map(_NUMBER.fullmatch, names))
        ordered = sorted(names, key=lambda name: (float(name) if are_numbers else 0, name))
        return np.array([ordered.index(name) for name in names])[labels], ordered, is_test


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


def names_of_test_rows(names: Mapping[str, list[str]]) -> RowNames:
    """Return the names of the test rows from the lists of names of a prepared data set."""
    return {key: names[key] for key in ROW_NAMES if key in names}


def show_class_counts(
    context: ReadContext,
    arrays: Mapping[str, Array],
    names: Mapping[str, list[str]],
    what: str,
) -> None:
    """Print warnings about a user's own rows, the number of rows, and the class names."""
    if not isinstance(context.config, OwnDataConfig):
        return
    for warning in names["warnings"]:
        context.screen.warn(warning)
    rows = len(arrays["train_labels"]) + len(arrays["test_labels"])
    classes = names["labels"]
    context.screen.note(f"{rows:,} {what} of {len(classes)} classes: {shorten_list(classes)}")


def shorten_list(names: Sequence[str]) -> str:
    """Join names by commas for a message, only the first ones of a long list."""
    return ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")
