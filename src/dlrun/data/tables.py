"""Read tables as matrices: the book's Hitters and NYSE, synthetic ones, or a user's CSV files."""

import csv
import io
import math
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from dlrun.config.data_sections import HittersDataConfig, OwnTableDataConfig
from dlrun.config.yaml_loader import format_override
from dlrun.data.archives import Array
from dlrun.data.prepared import fingerprint_arrays
from dlrun.data.sources import FIRST_ROWS, GENERATED, DataOrigin, FoundData
from dlrun.data.splits import (
    LabelledRows,
    RowNames,
    Rows,
    name_rows,
    rows_of_fold,
    shorten_list,
    warn_of_repeated_rows,
)
from dlrun.data.text_files import Record, open_csv_table, whole_rows
from dlrun.errors import DataError, Faults
from dlrun.system.console import Screen, cut, pluralize

# What all cells of a column may be that are neither numbers nor words: form, name, remedy.
KINDS = (
    (r"[-+]?(\d+,\d+|\d{1,3}(,\d{3})+(\.\d+)?|\d{1,3}(\.\d{3})+,\d+)", "numbers with commas",
     "write decimal points, and no separator of thousands"),
    (r"\d{4}[-/.]\d\d?([-/.]\d\d?([T ].*)?)?|\d\d?[-/.]\d\d?[-/.]\d{2,4}", "dates",
     "write numbers, such as days since the first"),
)  # fmt: skip
MISSING = frozenset(("", "na", "n/a", "nan", "null"))  # cells, in small letters
FILLED = "missing"  # category of a missing word; an indicator column's name
MOST_LEVELS = 100  # categories of a column, at most
MANY_CLASSES = 50  # more are a warning
LEAST_ROWS_OF_IDS = 20  # fewer numbers may be different by chance
MOST_PROBLEMS = 10  # shown
TARGET_REMEDY = "correct the cells; `data.task=classification` of table-* predicts words"
LARGEST = 1e19  # number: the square of a larger one is infinite in single precision
SERIES = ("DJ_return", "log_volume", "log_volatility")
VOLUME, WEEKDAY, IS_TRAIN = "log_volume", "day_of_week", "train"
SAMPLE_ROWS = 300
PLAYERS = "AtBat Hits HmRun Runs RBI Walks Years CAtBat CHits CHmRun CRuns CRBI CWalks PutOuts"
PLAYER_NUMBERS = f"{PLAYERS} Assists Errors Salary".split()
PLAYER_WORDS = {"League": "A N", "Division": "E W W", "NewLeague": "A N N N A"}
DAY_WORDS = {WEEKDAY: "mon tues wed thur fri", IS_TRAIN: "TRUE TRUE FALSE"}

T = TypeVar("T")
TableDataConfig = HittersDataConfig | OwnTableDataConfig
Cells = Mapping[str, str]  # cells of a row, by column


class TableColumns(BaseModel, frozen=True):
    """Describes how the cells of a row become a row of a matrix."""

    levels: dict[str, list[str]]  # sorted categories by column; none for numbers
    first_level: int = 1  # the first category that has a 0/1 column of the matrix
    scales: dict[str, tuple[float, float]] = {}  # mean and sd of a standardised column
    medians: dict[str, float] | None = None  # that fill columns of numbers; None: nothing is filled
    indicators: list[str] | None = None  # those that are followed by a 0/1 column: was it filled?

    @property
    def names(self) -> list[str]:
        """Return the names of the matrix's columns, such as `Hits` and `League[N]`."""
        names: list[str] = []
        for name, levels in self.levels.items():
            names += [f"{name}[{level}]" for level in levels[self.first_level :]] or [name]
            if name in (self.indicators or ()):
                names.append(f"{name}[{FILLED}]")
        return names

    def encode(self, cells: Cells) -> list[float]:
        """Return the row of the matrix; raise DataError with all missing or unknown cells."""
        row: list[float] = []
        problems = []
        medians = self.medians or {}
        for name, levels in self.levels.items():
            is_missing = _is_missing(cells, name)
            is_filled = self.medians is not None and (name in medians or FILLED in levels)
            cell = FILLED if is_missing else cells[name].strip()
            if is_missing and not is_filled:
                problems.append(f"no value in column {name!r}")
            elif levels and cell not in levels:
                known = shorten_list(levels)
                problems.append(f"column {name!r}: {cut(cell, 40)!r} is none of these: {known}")
            elif levels:
                row += [float(cell == level) for level in levels[self.first_level :]]
            elif not is_missing and not _is_number(cell):
                problems.append(_no_number(name, cell))
            else:
                centre, scale = self.scales.get(name, (0, 1))
                row.append(((medians[name] if is_missing else float(cell)) - centre) / scale)
                row += [float(is_missing)] * (name in (self.indicators or ()))
        if problems:
            raise DataError("; ".join(problems))
        return row


@dataclass(frozen=True)
class TablePart:
    """Holds the training or test rows of a table: the matrix (rows, columns), targets (rows,)."""

    X: NDArray[np.float64]
    targets: Array  # float64, or int64 class indices in a classification
    records: Sequence[Record]

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def names(self) -> RowNames:
        """Return the names of the rows, see `name_rows`."""
        return name_rows([place for _, place in self.records])

    def rows(self, chosen: Rows) -> "TablePart":
        """Return the rows with the given indices."""
        records = [self.records[row] for row in chosen.tolist()]
        return TablePart(self.X[chosen], self.targets[chosen], records)


@dataclass(frozen=True)
class Table:
    """Holds the rows of a table as matrices, with what is needed to encode further rows."""

    columns: TableColumns
    target: str
    labels: list[str] | None  # the class names of a classification
    train: TablePart
    test: TablePart
    origin: DataOrigin
    digest: str  # of rows and targets before they are standardised
    target_scale: tuple[float, float] = (0, 1)  # mean and sd of a standardised target
    is_series: bool = False  # whether the rows are days in their order

    def describe(self, row: int) -> dict[str, str]:
        """Return a row of the test part as text, its columns and cells."""
        cells, _ = self.test.records[row]
        return {"text": ", ".join(f"{name} {cells[name]}" for name in self.columns.levels)}


def make_table(found: FoundData) -> Table:
    """Return the table that was found, divided into training and test rows."""
    table = _make_table(found, found.source.read(found))
    for warning in found.warnings.lines():
        found.screen.warn(warning)
    return table


def check_table(found: FoundData) -> None:
    """Raise DlrunError if the first rows show that a table cannot be used as the config says."""
    parts = read_table(found)
    if max(map(len, parts)) < FIRST_ROWS:  # they are all rows
        _make_table(found, parts)
        return
    config = found.config
    names = _names_of_columns(found, parts)
    if config.missing == "refuse":
        parts = [_usable_rows(part, names, config, found.screen) for part in parts]
    _read_columns(names, parts, config, are_all=False)


def _names_of_columns(found: FoundData, parts: list[list[Record]]) -> list[str]:
    """Return the names of a table's columns that predict. Raises DataError if no column is left."""
    config = found.config
    first, _ = parts[0][0]
    names = [name for name in first if name not in (config.target, config.id, *config.ignore)]
    if not names:
        problem = f"{found.origin.text}: no column besides {config.target!r}"
        raise DataError(problem, f"data.ignore leaves out {shorten_list(config.ignore) or 'none'}")
    return names


def _make_table(found: FoundData, parts: list[list[Record]]) -> Table:
    config, seed = found.config, found.seed
    names = _names_of_columns(found, parts)
    parts = [_usable_rows(part, names, config, found.screen) for part in parts]
    levels = _read_columns(names, parts, config)
    records = [record for part in parts for record in part]
    _warn_of_ids(names, records, found)
    if config.task == "classification":
        _check_classes(records, found)
        rows = LabelledRows(found.warnings)
        for part in parts:
            rows.begin_part(part[0][1])
            for cells, place in part:
                rows.add(cells[config.target], hash((*cells.values(),)), place)
        targets, labels, is_test = rows.split(config, seed)
        fitted, tested = np.flatnonzero(~is_test), np.flatnonzero(is_test)
    else:
        labels = None
        targets = np.array([_to_number(cells, config.target) for cells, _ in records])
        separate = len(parts[0]) if len(parts) > 1 else None
        fitted, tested = _divide(len(records), separate, config, seed, found.origin.text)
        contents = np.array([hash((*cells.values(),)) for cells, _ in records])
        warn_of_repeated_rows(contents, tested, parts[-1][0][1], found.warnings)
        if np.ptp(targets[fitted]) == 0:
            problem = f"{found.origin.text}: {config.target} has one value in all training rows"
            raise DataError(problem, "give more rows, or name another column as data.target")
    columns = TableColumns(levels=levels)
    if config.missing == "median":
        columns = _fill_by_medians(levels, [records[row][0] for row in fitted])
    X = np.array(_read_each(records, columns.encode))
    text = found.origin.text + _describe_rows(config, [*map(len, parts)], len(tested), seed)
    digest = _digest(X, targets, fitted, tested)
    target_scale = (0.0, 1.0)
    if config.standardise:
        pairs = zip(X[fitted].mean(0).tolist(), X[fitted].std(0).tolist(), strict=True)
        moments = dict(zip(columns.names, pairs, strict=True))
        numbers = [name for name, levels in columns.levels.items() if not levels]
        scales = {name: (moments[name][0], moments[name][1] or 1) for name in numbers}
        columns = columns.model_copy(update={"scales": scales})
        X = np.array(_read_each(records, columns.encode))
        if labels is None:
            target_scale = float(targets[fitted].mean()), float(targets[fitted].std())
    all_rows = TablePart(X, targets, records)
    origin = DataOrigin(text, found.origin.is_book)
    train, test = all_rows.rows(fitted), all_rows.rows(tested)
    return Table(columns, config.target, labels, train, test, origin, digest, target_scale)


def _fill_by_medians(levels: dict[str, list[str]], rows: Sequence[Cells]) -> TableColumns:
    """Return columns whose missing numbers are the medians of the training rows."""
    numbers = {
        name: [float(cells[name]) for cells in rows if not _is_missing(cells, name)]
        for name, words in levels.items()
        if not words
    }
    if empty := [name for name, values in numbers.items() if not values]:
        problem = f"no value in the training rows in column {', '.join(map(repr, empty))}"
        raise DataError(problem, "leave it out with data.ignore, or give more rows")
    return TableColumns(
        levels=levels,
        medians={name: float(np.median(values)) for name, values in numbers.items()},
        indicators=[name for name, values in numbers.items() if len(values) < len(rows)],
    )


def read_table(found: FoundData) -> list[list[Record]]:
    """Return the rows of each part of a table."""
    needed = found.config.columns
    parts = []
    for path in found.paths:
        parts.append(_read_csv(path, needed, found))
        needed |= {f"column {name}": name for name in parts[0][0][0]}  # also of the test part
    return parts


def _describe_rows(config: TableDataConfig, parts: Sequence[int], tested: int, seed: int) -> str:
    """Return what else the origin of a table names, so that other test rows have another origin.

    parts: the rows of the table, and of data.test.
    """
    rows = pluralize(sum(parts), "row")
    if isinstance(config, HittersDataConfig):
        held = f", {rows}" if config.chosen_fold else f", {tested:,} of {rows} for the test"
        return held + ("" if config.source == GENERATED else f", seed {seed}") + config.fold_text
    held = f"{tested:,} of its {rows} for the test"
    if config.chosen_fold:  # the folds of a cross-validation may differ by a row
        held = rows
    elif len(parts) > 1:
        held = f"{pluralize(parts[0], 'row')}, and {tested:,} of data.test for the test"
    return f", {'classes' if config.task == 'classification' else 'target'} {config.target}, {held}"


def _read_csv(path: Path, columns: Mapping[str, str], found: FoundData) -> list[Record]:
    """Return the rows of a CSV file, at least one; raise ConfigError if it lacks a column."""
    header, rows = open_csv_table(path, columns, found.warnings, getattr(found.config, "id", None))
    if "" in header:
        remedy = "delete it, or write the file with to_csv(index=False)"  # of pandas
        raise DataError(f"{path}:1: column {header.index('') + 1} has no name", remedy)
    if twice := [name for name in header if header.count(name) > 1]:
        problem = f"{twice.count(twice[0])} columns are named {cut(twice[0], 40)!r}"
        raise DataError(f"{path}:1: {problem}", "rename one of them")
    records: list[Record] = [*islice(whole_rows(rows), found.most_rows)]
    if not records:
        raise DataError(f"{path}: no rows", "it needs a line of cells for each example")
    return records


def _usable_rows(
    records: Sequence[Record], names: Sequence[str], config: TableDataConfig, screen: Screen
) -> list[Record]:
    """Return the rows with a target and, unless they are filled, with all values."""
    needed = [config.target, *(names if config.missing != "median" else ())]
    gaps = {
        name: [place for cells, place in records if _is_missing(cells, name)] for name in needed
    }
    if config.missing == "refuse":
        problems = [
            f"{places[0]}: no value in column {name!r} in {pluralize(len(places), 'row')}"
            for name, places in gaps.items()
            if places
        ]
        _raise_all(problems, "`--set data.missing=drop` leaves such rows out, `median` fills them")
    without = {place for places in gaps.values() for place in places}
    complete = [(cells, place) for cells, place in records if place not in without]
    if not complete:
        worst = max(gaps, key=lambda name: len(gaps[name]))
        problem = f"{records[0][1]}: no row has a value in every column, {worst!r} has the fewest"
        remedy = f"`--set data.missing=median`, or {_ignoring([worst], config)}"
        if worst == config.target:
            remedy = "name another column as data.target"
        raise DataError(problem, remedy)
    if without:
        counts = f"{len(without):,} of {len(records):,}"
        screen.note(f"rows left out, because a value is missing: {counts}")
    return complete


def _is_missing(cells: Cells, name: str) -> bool:
    return cells.get(name, "").strip().lower() in MISSING


def _read_columns(
    names: Sequence[str],
    parts: Sequence[Sequence[Record]],
    config: TableDataConfig,
    *,
    are_all: bool = True,
) -> dict[str, list[str]]:
    """Return the categories of columns; raise DataError with all that is wrong in them or targets.

    Categories are those of the first part, and targets are checked in all parts. are_all: whether
    no row is missing, which might have another value.
    """
    columns = {name: _find_levels(name, parts[0], are_all) for name in names}
    problems = {name: problem for name, (_, problem) in columns.items() if problem}
    remedy = f"correct the columns, or leave them out: {_ignoring(problems, config)}"
    targets = [_find_words(config.target, part, is_target=True)[1] for part in parts]
    if config.task == "regression" and any(targets):
        remedy = f"{remedy}\n{TARGET_REMEDY}" if problems else TARGET_REMEDY
        problems |= {target: target for target in targets if target}
    _raise_all([*problems.values()], remedy)
    return {name: levels for name, (levels, _) in columns.items()}


def _ignoring(names: Iterable[str], config: TableDataConfig) -> str:
    """Return the option that leaves out columns, besides those that the config leaves out."""
    words = format_override("data.ignore", [*config.ignore, *names])
    return f"`--set {shlex.quote(words)}`"


def _raise_all(problems: Sequence[str], remedy: str) -> None:
    """Raise DataError with the first of several problems, if there is one, and their number."""
    faults = Faults()
    faults.errors = [DataError(problem, remedy) for problem in problems]
    faults.raise_all(most=MOST_PROBLEMS)


def _find_levels(name: str, records: Sequence[Record], are_all: bool) -> tuple[list[str], str]:
    """Return the categories of a column, none of numbers, and what is wrong with it."""
    words, problem = _find_words(name, records)
    cells = [cells[name].strip() for cells, _ in records if not _is_missing(cells, name)]
    levels = sorted({*cells, *[FILLED] * (len(cells) < len(records))})
    what = ""
    if len(levels) == 1 and are_all:
        what = f"has one value in all of {pluralize(len(records), 'row')}"
    elif words and not problem and len(levels) > MOST_LEVELS:
        what = f"has words, and {len(levels):,} different ones are no categories"
    if what:
        problem = f"{(words or records)[0][1]}: column {name!r} {what}"
    return levels if words else [], problem


def _find_words(
    name: str, records: Sequence[Record], *, is_target: bool = False
) -> tuple[list[tuple[str, object]], str]:
    """Return the cells of a column that are no numbers, with their places, and what is wrong.

    Half of the cells of a column may be words, which makes them categories, but none of a target.
    """
    known = [(cells[name].strip(), place) for cells, place in records]
    known = [(cell, place) for cell, place in known if cell.lower() not in MISSING]
    words: list[tuple[str, object]] = [
        (cell, place) for cell, place in known if not _is_number(cell)
    ]
    if not words:
        return words, ""
    (first, place), *others = words
    for form, what, remedy in KINDS:
        if all(re.fullmatch(form, word) for word, _ in words):
            return words, f"{place}: column {name!r} has {what} such as {first}: {remedy}"
    if not is_target and len(words) >= len(known) / 2:
        return words, ""
    problem = f"{place}: {_no_number(name, first)}"
    for word, place in others[:2]:
        problem += f", nor {cut(word, 40)!r} in line {str(place).rpartition(':')[2]}"
    return words, problem + (f", nor {len(others) - 2:,} more" if others[2:] else "")


def _check_classes(records: Sequence[Record], found: FoundData) -> None:
    """Raise DataError if the target's values are no classes; warn if they are many."""
    target, (_, place) = found.config.target, records[0]
    classes = {cells[target].strip() for cells, _ in records}
    problem = f"column {target!r} has {len(classes):,} classes in {pluralize(len(records), 'row')}"
    remedy = "name another column as data.target"
    if all(map(_is_number, classes)):
        remedy = "`--set data.task=regression` predicts numbers"
    if len(classes) > len(records) / 2:
        raise DataError(f"{place}: {problem}", remedy)
    if len(classes) > MANY_CLASSES:
        found.warnings.add(f"{problem}: {remedy}", place)


def _warn_of_ids(names: Sequence[str], records: Sequence[Record], found: FoundData) -> None:
    """Warn of columns of words or whole numbers that are different in every row."""
    ids = []
    for name in names:
        cells = {cells[name].strip() for cells, _ in records}
        if len(cells) == len(records) and not any(
            "." in cell and _is_number(cell) for cell in cells
        ):
            ids.append(name)
    if ids and len(records) >= LEAST_ROWS_OF_IDS and isinstance(found.config, OwnTableDataConfig):
        remedy = _ignoring(ids, found.config)
        if len(ids) == 1 and found.config.id is None:
            remedy = f"`--set {shlex.quote(format_override('data.id', ids[0]))}`"
        what = f"different in every row, as an id: {', '.join(ids)}; {remedy} leaves it out"
        found.warnings.add(what, found.paths[0])


def _is_number(cell: str) -> bool:
    try:
        return abs(float(cell)) <= LARGEST and "_" not in cell
    except ValueError:
        return False


def _no_number(name: str, cell: str) -> str:
    return f"column {name!r}: {cut(cell, 40)!r} is no number (such as 1851.5, up to {LARGEST:g})"


def _to_number(cells: Cells, name: str) -> float:
    cell = cells[name].strip()
    if not _is_number(cell):
        raise DataError(_no_number(name, cell))
    return float(cell)


def _read_each(records: Sequence[Record], read: Callable[[Cells], T]) -> list[T]:
    """Return what is read of the cells of each row; raise DataError with all rows that cannot."""
    found: list[T] = []
    problems: dict[str, object] = {}
    for cells, place in records:
        try:
            found.append(read(cells))
        except DataError as error:
            problems.setdefault(error.message, place)
    lines = [f"{place}: {problem}" for problem, place in problems.items()]
    _raise_all(lines, "correct the cells, or delete the rows")
    return found


def _divide(
    rows: int, separate: int | None, config: TableDataConfig, seed: int, origin: str
) -> tuple[Rows, Rows]:
    """Return the indices of training and test rows, as scikit-learn's train_test_split does.

    separate: the number of training rows, which are the first ones, if the test rows are given.
    """
    if separate is not None:
        fitted, tested = np.arange(separate), np.arange(separate, rows)
    elif config.chosen_fold is not None:
        tested = rows_of_fold(config.chosen_fold, rows, seed)
        fitted = np.setdiff1d(np.arange(rows), tested)
    else:
        held = math.ceil(config.test_share * rows)
        order = np.random.RandomState(seed).permutation(rows)
        fitted, tested = order[held:], order[:held]
    if len(fitted) < 2:
        problem = f"{len(tested):,} of {pluralize(rows, 'row')} for the test leave too few"
        raise DataError(f"{origin}: {problem}", "give more rows, or a smaller data.test_share")
    return fitted, tested


def check_days(found: FoundData) -> None:
    """Raise DlrunError if the first trading days cannot be read."""
    records = read_days(found)
    _read_each(records, lambda day: [_to_number(day, name) for name in SERIES])
    if len(records) < FIRST_ROWS:  # they are all days
        make_days(found)


def make_days(found: FoundData, *, weekday: bool = True) -> Table:
    """Return the trading days that were found: the series of the days before, and the weekday.

    The series are standardised over all days, the oldest comes first; the target is the volume.
    """
    config, records = found.config, found.source.read(found)
    values = np.array(_read_each(records, lambda day: [_to_number(day, name) for name in SERIES]))
    pairs = zip(values.mean(0).tolist(), values.std(0).tolist(), strict=True)
    scales = dict(zip(SERIES, pairs, strict=True))
    lags = [(f"{name}_{lag}", lag, name) for lag in range(config.lags, 0, -1) for name in SERIES]
    days: list[Record] = []
    for row in range(config.lags, len(records)):
        before = {column: records[row - lag][0][name] for column, lag, name in lags}
        days.append((before | records[row][0], records[row][1]))
    cells = [day for day, _ in days]
    is_train = np.array([day[IS_TRAIN].strip().lower() == "true" for day in cells], bool)
    if not 1 < is_train.sum() < len(cells):
        problem = f"{is_train.sum():,} of {len(cells):,} days to train with"
        why = f"the first {config.lags} days serve only as lags"
        remedy = "choose a smaller data.lags, or other days"
        raise DataError(f"{found.origin.text}: {problem}: {why}", remedy)
    levels: dict[str, list[str]] = {column: [] for column, _, _ in lags}
    if weekday:
        levels[WEEKDAY] = sorted({day[WEEKDAY].strip() for day in cells})
    columns = TableColumns(
        levels=levels, first_level=0, scales={column: scales[name] for column, _, name in lags}
    )
    X = np.array(_read_each(days, columns.encode))
    all_days = TablePart(X, values[config.lags :, SERIES.index(VOLUME)], days)
    fitted, tested = np.flatnonzero(is_train), np.flatnonzero(~is_train)
    digest = _digest(X, all_days.targets, fitted, tested)
    train, test = all_days.rows(fitted), all_days.rows(tested)
    return Table(columns, VOLUME, None, train, test, found.origin, digest, scales[VOLUME], True)


def _digest(X: NDArray[np.float64], targets: Array, fitted: Rows, tested: Rows) -> str:
    return fingerprint_arrays(array[rows] for rows in (fitted, tested) for array in (X, targets))


def read_days(found: FoundData) -> list[Record]:
    """Return NYSE's trading days."""
    needed = {f"column {name}": name for name in (*SERIES, WEEKDAY, IS_TRAIN)}
    return _read_csv(found.paths[0], needed, found)


def read_generated_players(found: FoundData) -> list[list[Record]]:
    """Return generated players, as in Hitters."""
    return [_generate(found, PLAYER_NUMBERS, PLAYER_WORDS)]


def read_generated_days(found: FoundData) -> list[Record]:
    """Return generated trading days, as in NYSE."""
    return _generate(found, SERIES, DAY_WORDS)


def _generate(found: FoundData, numbers: Sequence[str], words: Cells) -> list[Record]:
    """Return synthetic rows of numbers, the last of them predictable, and categories in turn."""
    values = np.random.default_rng(found.seed).normal(0, 1, (SAMPLE_ROWS, len(numbers)))
    values[:, -1] += values[:, :3].sum(1)
    for row in range(1, SAMPLE_ROWS):
        values[row] += values[row - 1] / 2
    records: list[Record] = []
    for row, one_row in enumerate(values.tolist()):
        cells = {name: f"{value:.6f}" for name, value in zip(numbers, one_row, strict=True)}
        cells |= {name: levels.split()[row % len(levels.split())] for name, levels in words.items()}
        records.append((cells, f"generated row {row + 1}"))
    return records


def show_rows(table: Table, screen: Screen, part: str, first: int, count: int) -> None:
    """Show rows of a table as CSV."""
    rows = table.train if part == "train" else table.test
    stream = io.StringIO(newline="")
    columns = [*table.columns.levels, table.target]
    writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(cells for cells, _ in rows.records[first : first + count])
    screen.note(table.origin.text)
    screen.rows(stream.getvalue().splitlines())
