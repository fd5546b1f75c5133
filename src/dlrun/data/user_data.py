"""A user's own data: where they are, their classes, their parts, and what is odd about them."""

import os
import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlrun.config.sections import OwnData
from dlrun.data.splits import hold_out
from dlrun.data.text_files import DataWarnings
from dlrun.errors import ConfigError, DataError

MAX_CLASSES = 1000  # more classes mean that the wrong column, or folder, was named
MAX_NAME = 200  # characters of a class's name: a longer one is a text
SHOWN_NAMES = 10  # in a message
TWO_CLASSES = "at least two classes are needed"
_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?")


def places(config: OwnData) -> list[Path]:
    """Return the place of all data, or those of the training and the test part."""
    place = config.path or config.train
    assert place is not None  # the config requires one
    if config.source == "folder" and config.path is not None:
        return folder_parts(place)
    return [place] if config.test is None else [place, config.test]


def check(config: OwnData) -> None:
    """Raise ConfigError for what is wrong before the data are read."""
    for key in ("path", "train", "test"):
        place: Path | None = getattr(config, key)
        if place is None:
            continue
        if not place.exists():
            raise ConfigError(f"data.{key}: {place}: no such file or folder")
        if config.source == "csv" and not place.is_file():
            hint = "`data.source: folder` reads a sub-folder per class" if place.is_dir() else ""
            raise ConfigError(f"data.{key}: {place}: not a regular file", hint)
        if config.source == "folder" and not place.is_dir():
            raise ConfigError(
                f"data.{key}: {place}: not a folder", "`data.source: csv` reads a file"
            )
    if config.source == "folder":
        for number, place in enumerate(places(config)):
            found = class_folders(place)
            if number == 0 and len(found) < 2:
                raise ConfigError(f"{place}: only {found[0].name!r} in it", TWO_CLASSES)


def folder_parts(folder: Path) -> list[Path]:
    """Return a folder's train/ and test/, or its train/ alone, or the folder itself.

    A folder with one of these names that has no sub-folders is a class: CIFAR100 has one, `train`.
    """
    train, test = folder / "train", folder / "test"
    if not _sub_folders(train):
        return [folder]
    return [train, test] if _sub_folders(test) else [train]


def class_folders(folder: Path) -> list[Path]:
    """Return the sub-folders of a folder, sorted, without hidden ones.

    Raises ConfigError if there are none, or one has a blank name, which cannot name a class.
    """
    found = _sub_folders(folder)
    if not found:
        raise ConfigError(
            f"{folder}: no sub-folders in it",
            "it takes one for each class, such as neg/ and pos/, perhaps in train/ and test/",
        )
    for one in found:
        if not one.name.strip():
            raise ConfigError(
                f"{folder}: a sub-folder has the blank name {one.name!r}",
                "give it the name of its class",
            )
    return found


def files_by_class(
    folder: Path, warnings: DataWarnings, wanted: Callable[[Path], bool] = lambda file: True
) -> list[tuple[str, Path]]:
    """Return the class and the path of each wanted file, sorted by class, then by path.

    Folders in a class's folder are read too; links to folders are not followed. Hidden files, files
    that are not wanted and classes without files are left out, with a warning.

    Raises DataError if a folder cannot be listed, ConfigError as `class_folders`.
    """
    found: list[tuple[str, Path]] = []
    for one in class_folders(folder):
        before = len(found)
        for file in _files(one):
            if file.name.startswith("."):
                warnings.add("a hidden file: left out", file)
            elif not (file.is_file() and wanted(file)):  # nor a pipe, or a link to nothing
                warnings.add("not of a kind that is read: left out", file)
            else:
                found.append((one.name, file))
        if len(found) == before:
            warnings.add("nothing to read in this class's folder: left out", one)
    return found


def folder_state(files: Sequence[tuple[str, Path]], root: Path) -> str:
    """Return names, sizes and modification times of files, which differ if a file was changed.

    Their contents are not read: that would take as long as preparing them. Raises DataError.
    """
    try:
        found = [(file.relative_to(root), file.stat()) for _, file in files]
    except OSError as error:
        raise DataError(f"{error.filename}: {error.strerror}") from None
    return "\0".join(f"{name}\0{about.st_size}\0{about.st_mtime_ns}" for name, about in found)


def _files(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise DataError(f"{error.filename}: {error.strerror}")

    for place, folders, names in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            yield Path(place, name)


def _sub_folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    try:
        return sorted(
            path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
        )
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}") from None


class Classes:
    """Numbers the classes in order of appearance, by their labels."""

    def __init__(self, most: int = MAX_CLASSES) -> None:
        self._most = most
        self._by_label: dict[str, int] = {}
        self._by_name: dict[str, int] = {}

    def number(self, label: str, where: object, known: int | None = None) -> int:
        """Return the number of a label's class, or -1 if the label is blank.

        Args:
            label: of a row; its name is without surrounding and repeated spaces.
            where: the row's place.
            known: how many classes the training part has, for a row of the test part.

        Raises DataError for a label that cannot be a name, for too many classes, and for a class of
        the test part that the training part does not have.
        """
        found = self._by_label.get(label)
        if found is None:
            name = " ".join(label.split())
            self._check(name, where)
            found = self._by_name.setdefault(name, len(self._by_name)) if name else -1
            self._by_label[label] = found
        if known is not None and found >= known:
            raise DataError(
                f"{where}: the label {self.names[found]!r} is in no row of the training part",
                f"the training part has {shorten_list(sort_names(self.names[:known]))}",
            )
        return found

    def _check(self, name: str, where: object) -> None:
        if not name.isprintable():
            raise DataError(
                f"{where}: the label {name!r} has characters that cannot be printed",
                "give the class another name",
            )
        if len(name) > MAX_NAME:
            raise DataError(
                f"{where}: a label of {len(name):,} characters: {name[:40]!r}...",
                "data.label_column names the column of the classes",
            )
        if name not in self._by_name and len(self._by_name) == self._most:
            raise DataError(
                f"{where}: more than {self._most:,} different labels, the last {name!r}",
                "data.label_column names the column of the classes, or each sub-folder is one",
            )

    @property
    def names(self) -> list[str]:
        """The classes' names, by number."""
        return list(self._by_name)


def sort_classes(
    labels: NDArray[np.int64], names: Sequence[str]
) -> tuple[NDArray[np.int64], list[str]]:
    """Return the rows' classes (n_rows,) as numbers of the sorted names, and these names."""
    ordered = sort_names(names)
    return np.array([ordered.index(name) for name in names])[labels], ordered


def sort_names(names: Sequence[str]) -> list[str]:
    """Return names sorted: numbers by value, words by letters."""
    if all(_NUMBER.fullmatch(name) for name in names):
        return sorted(names, key=lambda name: (float(name), name))
    return sorted(names)


def shorten_list(names: Sequence[str]) -> str:
    """Return as many names as fit into a message."""
    return ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")


def divide(
    labels: NDArray[np.int64],
    names: Sequence[str],
    first_test: int | None,
    share: float,
    seed: int,
    what: object,
) -> NDArray[np.bool_]:
    """Return which rows (n_rows,) are the test part: those from `first_test`, or a share.

    Args:
        labels: the numbers of the rows' classes, (n_rows,).
        names: of the classes.
        first_test: the first row of the test part; None holds out a share of each class.
        share: of the rows.
        seed: chooses them.
        what: the data's place.

    Raises DataError if there are too few classes or rows.
    """
    if len(names) < 2:
        of = f"only the class {names[0]!r}" if names else "nothing"
        raise DataError(f"{what}: {of} in it", TWO_CLASSES)
    if first_test is None:
        is_test = hold_out(labels, share, seed)
    else:
        is_test = np.arange(len(labels)) >= first_test
    train, test = np.count_nonzero(~is_test), np.count_nonzero(is_test)
    if train < 2 or test == 0:
        raise DataError(
            f"{what}: {train} for the training and {test} for the test: too few",
            "give more, or another data.test_share, or a test part of their own as data.test",
        )
    for number in np.setdiff1d(np.arange(len(names)), labels[~is_test]):
        raise DataError(f"{what}: nothing to train on of the class {names[number]!r}")
    return is_test


def add_class_warnings(
    labels: NDArray[np.int64],
    is_test: NDArray[np.bool_],
    names: Sequence[str],
    warnings: DataWarnings,
) -> None:
    """Warn of classes that the test part lacks, that look like a typo, or like another class."""
    in_test = set(labels[is_test].tolist())
    counts = np.bincount(labels, minlength=len(names))
    for number, name in enumerate(names):
        if number not in in_test:
            warnings.add("none of this class in the test part", f"class {name!r}")
    for number in np.flatnonzero(counts <= 2).tolist():
        larger = [names[other] for other in np.flatnonzero(counts > 10 * counts[number]).tolist()]
        alike = {one.lower(): one for one in larger}
        if near := get_close_matches(names[number].lower(), alike, 1):
            warnings.add(
                f"only {counts[number]} of {len(labels):,}: is it {alike[near[0]]!r}?",
                f"class {names[number]!r}",
            )
    add_spelling_warnings("classes", names, warnings)
    numbers: dict[float, str] = {}
    for name in filter(_NUMBER.fullmatch, names):
        if (first := numbers.setdefault(float(name), name)) != name:
            warnings.add(
                "the same number, but they count as two classes", f"{first!r} and {name!r}"
            )


def add_spelling_warnings(what: str, names: Collection[str], warnings: DataWarnings) -> None:
    """Warn of names that differ only by Unicode normalisation: one character, or two."""
    for name in names:
        composed = name if name.isascii() else unicodedata.normalize("NFC", name)
        if composed != name and composed in names:
            warnings.add(
                f"they look the same, but count as two {what}", f"{composed!a} and {name!a}"
            )


def repeated_rows(content: NDArray[np.int64], is_test: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the test rows whose content, a hash (n_rows,), is in the training part too."""
    rows = np.flatnonzero(is_test)
    found: NDArray[np.int64] = rows[np.isin(content[rows], content[~is_test])]
    return found
