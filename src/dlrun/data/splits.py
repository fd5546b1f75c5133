"""Number the classes of labelled rows, and divide the rows into training, validation and test."""

import re
import unicodedata
from collections.abc import Collection, Sequence, Sized
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from dlrun.config.sections import UserDataConfig
from dlrun.data.text_files import DataWarnings
from dlrun.errors import DataError
from dlrun.system.console import Screen

Rows = NDArray[np.int64]

MAX_CLASSES = 1000  # more classes mean that the wrong column, or folder, was named
MAX_NAME = 200  # characters of a class's name: a longer one is a text
SHOWN_NAMES = 10  # in a message
_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?")


def split_off_validation(
    config: UserDataConfig, train: Sized, test: Sized, seed: int, screen: Screen
) -> tuple[Rows, Rows]:
    """Return the indices of the training rows to fit and of those for validation; show how many.

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


class ClassNumbers:
    """Numbers the class labels of a data set in order of their appearance."""

    def __init__(self) -> None:
        self._by_label: dict[str, int] = {}
        self._by_name: dict[str, int] = {}

    @property
    def names(self) -> list[str]:
        """Return the names of the classes, in the order of their numbers."""
        return list(self._by_name)

    def number(self, label: str, where: object, known: int | None = None) -> int:
        """Return the number of a label's class, or -1 if the label is blank.

        `where` is the row's place; for a row of the test part, `known` is the number of classes of
        the training part. Raises DataError for a label that cannot be a name, for too many classes,
        and for a class that the training part does not have.
        """
        number = self._by_label.get(label)
        if number is None:
            name = " ".join(label.split())
            number = self._by_name.setdefault(name, len(self._by_name)) if name else -1
            self._by_label[label] = number
            if not name.isprintable() or len(name) > MAX_NAME or number == MAX_CLASSES:
                raise DataError(
                    f"{where}: the label {name[:40]!r} is too long, cannot be printed, or is one "
                    f"of more than {MAX_CLASSES:,}",
                    "data.label_column names the column of the classes, or each sub-folder is one",
                )
        if known is not None and number >= known:
            raise DataError(
                f"{where}: the label {self.names[number]!r} is in no row of the training part",
                f"the training part has {shorten_list(self.names[:known])}",
            )
        return number


def sort_classes(labels: Rows, names: Sequence[str]) -> tuple[Rows, list[str]]:
    """Return the rows' class numbers (n_rows,) in the order of the sorted names, and these names.

    Numbers are sorted by value, words by letters.
    """
    are_numbers = all(map(_NUMBER.fullmatch, names))
    ordered = sorted(names, key=lambda name: (float(name) if are_numbers else 0, name))
    return np.array([ordered.index(name) for name in names])[labels], ordered


def show_class_counts(
    count: int, what: str, labels: Sequence[str], warnings: Sequence[str], screen: Screen
) -> None:
    """Show the warnings about a user's own rows, their number, and their classes."""
    for warning in warnings:
        screen.warn(warning)
    screen.note(f"{count:,} {what} of {len(labels)} classes: {shorten_list(labels)}")


def shorten_list(names: Sequence[str]) -> str:
    """Return names joined by commas for a message; of a long list only the first ones."""
    return ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")


def choose_test_rows(
    labels: Rows, names: Sequence[str], first_test: int | None, share: float, seed: int, place: str
) -> NDArray[np.bool_]:
    """Return which rows (n_rows,) are the test part: those from `first_test` on, or a random share.

    A share has at least one row of each class, and leaves one for the training. `labels` are the
    numbers of the rows' classes, (n_rows,). Raises DataError if there are too few classes or rows.
    """
    if len(names) < 2:
        raise DataError(f"{place}: classes: {len(names)}", "at least two classes are needed")
    is_test = np.arange(len(labels)) >= (len(labels) if first_test is None else first_test)
    if first_test is None:
        random = np.random.default_rng(seed)
        order = np.argsort(labels, kind="stable")
        for rows in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
            held = min(max(1, round(share * len(rows))), len(rows) - 1)
            is_test[random.permutation(rows)[:held]] = True
    train, test = np.count_nonzero(~is_test), np.count_nonzero(is_test)
    if train < 2 or test == 0:
        raise DataError(
            f"{place}: {train} for the training and {test} for the test: too few",
            "give more, or another data.test_share, or a test part of their own as data.test",
        )
    for number in np.setdiff1d(np.arange(len(names)), labels[~is_test]):
        raise DataError(f"{place}: nothing to train on of the class {names[number]!r}")
    return is_test


def add_part_warnings(
    labels: Rows,
    names: Sequence[str],
    hashes: Rows,
    is_test: NDArray[np.bool_],
    place: object,
    warnings: DataWarnings,
) -> None:
    """Warn of classes missing from the test part, and of rows that are in both parts.

    `labels` are the numbers of the rows' classes and `hashes` of their contents, (n_rows,).
    """
    counts = np.bincount(labels, minlength=len(names))
    for number in np.setdiff1d(np.arange(len(names)), labels[is_test]).tolist():
        warnings.add("none of this class in the test part", f"class {names[number]!r}")
    for number in np.flatnonzero(counts <= 2).tolist():
        larger = [names[other] for other in np.flatnonzero(counts > 10 * counts[number]).tolist()]
        alike = {name.lower(): name for name in larger}
        if near := get_close_matches(names[number].lower(), alike, 1):
            warnings.add(
                f"only {counts[number]} of {len(labels):,}: is it {alike[near[0]]!r}?",
                f"class {names[number]!r}",
            )
    add_spelling_warnings("classes", names, warnings)
    values: dict[float, str] = {}
    for name in filter(_NUMBER.fullmatch, names):
        if (first := values.setdefault(float(name), name)) != name:
            warnings.add(
                "the same number, but they count as two classes", f"{first!r} and {name!r}"
            )
    if repeated := np.isin(hashes[is_test], hashes[~is_test]).sum():
        warnings.add(f"{repeated:,} of the test part are in the training part too", place)


def add_spelling_warnings(what: str, names: Collection[str], warnings: DataWarnings) -> None:
    """Warn of class names or words (`what`) that differ only by their Unicode normalisation."""
    for name in names:
        composed = name if name.isascii() else unicodedata.normalize("NFC", name)
        if composed != name and composed in names:
            warnings.add(
                f"they look the same, but count as two {what}", f"{composed!a} and {name!a}"
            )
