"""A user's own data: where they lie, their classes, the share held out, what is odd in them."""

import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dlrun.config.sections import OwnData
from dlrun.data.data_warnings import Oddities
from dlrun.data.own_folder import class_folders, parts
from dlrun.errors import ConfigError, DataError

MOST_CLASSES = 1000  # more are none: another column, or folder, was named
LONGEST_NAME = 200  # characters of a class's name: a longer one is a text
SHOWN = 10  # names in a message
TWO_CLASSES = "at least two classes are needed"
_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True)
class Places:
    """The training part, or all; and the test part, where it has a place of its own."""

    train: Path
    test: Path | None

    @property
    def all(self) -> list[Path]:
        """One or both."""
        return [self.train] if self.test is None else [self.train, self.test]


def places(config: OwnData) -> Places:
    """Where the parts lie; a folder may hold both, in train/ and test/."""
    place = config.path or config.train
    assert place is not None  # the config asks for one
    if config.source == "folder" and config.path is not None:
        return Places(*parts(place))
    return Places(place, config.test)


def check(config: OwnData) -> None:
    """What can be known before the data are read. Raises ConfigError, naming the key."""
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
        where = places(config)
        for place in where.all:
            found = class_folders(place)
            if len(found) < 2 and place == where.train:
                raise ConfigError(f"{place}: only {found[0].name!r} in it", TWO_CLASSES)


class Classes:
    """The classes in order of appearance, by whatever the data call them."""

    def __init__(self, most: int = MOST_CLASSES) -> None:
        self._most = most
        self._known: dict[str, int] = {}
        self._by_name: dict[str, int] = {}

    def number(self, raw: str, where: object) -> int:
        """The number of a label's class; -1 for a label that is blank.

        Raises DataError for a label that is no name, and for more classes than there may be.
        """
        found = self._known.get(raw)
        if found is None:
            name = " ".join(raw.split())
            self._check(name, where)
            found = self._by_name.setdefault(name, len(self._by_name)) if name else -1
            self._known[raw] = found
        return found

    def _check(self, name: str, where: object) -> None:
        if not name.isprintable():
            raise DataError(
                f"{where}: the label {name!r} holds characters that cannot be printed",
                "give the class another name",
            )
        if len(name) > LONGEST_NAME:
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
        """Their names, by number."""
        return list(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)


def in_order(names: Sequence[str]) -> list[str]:
    """Names sorted: numbers by their value, words by their letters."""
    if all(_NUMBER.fullmatch(name) for name in names):
        return sorted(names, key=lambda name: (float(name), name))
    return sorted(names)


def shorten_list(names: Sequence[str]) -> str:
    """The names, as many as fit into a message."""
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def hold_out(labels: NDArray[np.int64], share: float, seed: int) -> NDArray[np.bool_]:
    """Which rows (n,) are the test: a share of each class, at least one row, but never all."""
    random = np.random.default_rng(seed)
    test = np.zeros(len(labels), bool)
    order = np.argsort(labels, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        held = min(max(1, round(share * len(rows))), len(rows) - 1)
        test[random.permutation(rows)[:held]] = True
    return test


def check_known(number: int, known: int | None, names: Sequence[str], where: object) -> None:
    """Raises DataError for a row of the test part whose class the training part's rows lack.

    Args:
        number: of the row's class.
        known: how many classes the training part has; None while it is read.
        names: of the classes, by number.
        where: the row's place.
    """
    if known is not None and number >= known:
        raise DataError(
            f"{where}: the label {names[number]!r} is in no row of the training part",
            f"the training part has {shorten_list(in_order(names[:known]))}",
        )


def check_parts(
    labels: NDArray[np.int64], is_test: NDArray[np.bool_], names: Sequence[str], what: Path
) -> None:
    """Raises DataError where there is nothing to tell apart, to train on, or to test on.

    Args:
        labels: of all rows, (n,).
        is_test: which rows are the test part, (n,).
        names: of the classes.
        what: the data's place.
    """
    if len(names) < 2:
        of = f"only the class {names[0]!r}" if names else "nothing"
        raise DataError(f"{what}: {of} in it", TWO_CLASSES)
    if is_test.all() or is_test.sum() == 0 or np.count_nonzero(~is_test) < 2:
        raise DataError(
            f"{what}: {np.count_nonzero(~is_test)} for the training and {is_test.sum()} for the "
            "test: too few",
            "give more, or another data.test_share, or a test part of their own as data.test",
        )
    there = set(np.unique(labels[~is_test]).tolist())
    for number, name in enumerate(names):
        if number not in there:
            raise DataError(f"{what}: nothing to train on of the class {name!r}")


def note_parts(
    labels: NDArray[np.int64],
    is_test: NDArray[np.bool_],
    content: NDArray[np.int64],
    names: Sequence[str],
    odd: Oddities,
) -> NDArray[np.int64]:
    """Note classes that the test part lacks; returns the test rows whose content is trained on.

    `content` (n,) is a hash of each row's content.
    """
    there = set(np.unique(labels[is_test]).tolist())
    for number, name in enumerate(names):
        if number not in there:
            odd.add("none of this class in the test part", f"class {name!r}")
    _note_typos(labels, names, odd)
    note_spellings("classes", names, odd)
    numbers: dict[float, str] = {}
    for name in filter(_NUMBER.fullmatch, names):
        if (first := numbers.setdefault(float(name), name)) != name:
            odd.add("the same number, but they count as two classes", f"{first!r} and {name!r}")
    rows = np.flatnonzero(is_test)
    found: NDArray[np.int64] = rows[np.isin(content[rows], content[~is_test])]
    return found


def note_spellings(what: str, names: Collection[str], odd: Oddities) -> None:
    """Note names that differ only by Unicode normalisation: a letter with its accent, or two."""
    for name in names:
        composed = name if name.isascii() else unicodedata.normalize("NFC", name)
        if composed != name and composed in names:
            odd.add(f"they look the same, but count as two {what}", f"{composed!a} and {name!a}")


def _note_typos(labels: NDArray[np.int64], names: Sequence[str], odd: Oddities) -> None:
    """Note a class that has a row or two, and a name like a larger one's."""
    counts = np.bincount(labels, minlength=len(names))
    for number, name in enumerate(names):
        if counts[number] > 2:
            continue
        larger = [names[other] for other in np.flatnonzero(counts > 10 * counts[number]).tolist()]
        alike = {one.lower(): one for one in larger}
        if near := get_close_matches(name.lower(), alike, 1):
            meant = f"only {counts[number]} of {len(labels):,}: is it {alike[near[0]]!r}?"
            odd.add(meant, f"class {name!r}")
