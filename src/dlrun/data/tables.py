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

WHOLE = re.compile(r"[-+]?\d+")
# What all cells of a column may be that are neither numbers, as written here, nor categories.
KINDS = (
    (
        re.compile(r"[-+]?(\d+,\d+|\d{1,3}(,\d{3})+(\.\d+)?|\d{1,3}(\.\d{3})+,\d+)"),
        ("numbers with commas", "write decimal points, and no separator of thousands"),
    ),
    (
        re.compile(r"\d{4}[-/.]\d{1,2}([-/.]\d{1,2}([T ].*)?)?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}"),
        ("dates", "write numbers, such as days since the first"),
    ),
)
MISSING = frozenset(("", "na", "n/a", "nan", "null"))  # cells, in small letters
FILLED = "missing"  # category of a missing word; an indicator column's name
MOST_LEVELS = 100  # categories of a column, at most
MANY_CLASSES = 50  # more are a warning
LEAST_ROWS_OF_IDS = 20  # fewer numbers may be different by chance
MOST_PROBLEMS = 10  # shown
TARGET_REMEDY = "correct the cells; `data.task=classification` of table-* predicts words"
CELLS_REMEDY = "correct the cells, or delete the rows"
LARGEST = 1e19  # number: the square of a larger one is infinite in single precision
NUMBER = f"(such as 1851.5, without thousands separators, of at most {LARGEST:g})"
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
        faults = Faults()
        for name, levels in self.levels.items():
            with faults.collected():
                row += self._encode_cell(cells, name, levels)
        if faults.errors:
            raise DataError("; ".join(error.message for error in faults.errors))
        return row

    def _encode_cell(self, cells: Cells, name: str, levels: Sequence[str]) -> list[float]:
        is_missing = _is_missing(cells, name)
        can_fill = self.medians is not None and (not levels or FILLED in levels)
        if is_missing and not can_fill:
            raise DataError(f"no value in column {name!r}")
        if levels:
            cell = FILLED if is_missing else cells[name].strip()
            if cell not in levels:
                known = shorten_list(levels)
                raise DataError(f"column {name!r}: {cut(cell, 40)!r} is none of these: {known}")
            return [float(cell == level) for level in levels[self.first_level :]]
        value = (self.medians or {})[name] if is_missing else _to_number(cells, name)
        centre, scale = self.scales.get(name, (0, 1))
        number = (value - centre) / scale
        return [number, float(is_missing)] if name in (self.indicators or ()) else [number]


@dataclass(frozen=True)
class TablePart:
    """Holds the training or test rows of a table: the matrix (rows, columns), targets (rows,)."""

    X: NDArray[np.float64]
    targets: Array  # float64, or int64 class indices in a classification
    records: Sequence[Record]

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def cells(self) -> list[Cells]:
        """Return the texts of each row."""
        return [cells for cells, _ in self.records]

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
    elif found.config.task == "regression":
        problems = [_find_words(found.config.target, part)[1] for part in parts]
        _raise_all([problem for problem in problems if problem], TARGET_REMEDY)


def _make_table(found: FoundData, parts: list[list[Record]]) -> Table:
    config, seed = found.config, found.seed
    first, _ = parts[0][0]
    names = [name for name in first if name not in (config.target, config.id, *config.ignore)]
    if not names:
        problem = f"{found.origin.text}: no column besides {config.target!r}"
        raise DataError(problem, f"data.ignore leaves out {shorten_list(config.ignore) or 'none'}")
    parts = [_usable_rows(part, names, config, found.screen) for part in parts]
    levels = _read_columns(names, parts, config)
    records = [record for part in parts for record in part]
    _warn_of_ids(names, records, found)
    if config.task == "classification":
        _check_classes(records, config, found)
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
    whole = TablePart(X, targets, records)
    origin = DataOrigin(text, found.origin.is_book)
    train, test = whole.rows(fitted), whole.rows(tested)
    return Table(columns, config.target, labels, train, test, origin, digest, target_scale)


def _fill_by_medians(levels: dict[str, list[str]], rows: Sequence[Cells]) -> TableColumns:
    """Return columns whose missing numbers are the medians of the training rows."""
    medians: dict[str, float] = {}
    indicators = []
    for name in (name for name, of in levels.items() if not of):
        numbers = [float(cells[name]) for cells in rows if not _is_missing(cells, name)]
        if not numbers:
            remedy = "leave it out with data.ignore, or give more rows"
            raise DataError(f"column {name!r} has no value in the training rows", remedy)
        medians[name] = float(np.median(numbers))
        if len(numbers) < len(rows):
            indicators.append(name)
    return TableColumns(levels=levels, medians=medians, indicators=indicators)


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
    gaps = {name: places for name, places in gaps.items() if places}
    if gaps and config.missing == "refuse":
        problems = [
            f"{places[0]}: no value in column {name!r}"
            + (f", nor in {pluralize(len(places) - 1, 'later row')}" if places[1:] else "")
            for name, places in gaps.items()
        ]
        _raise_all(problems, "`--set data.missing=drop` leaves such rows out, `median` fills them")
    without = {place for places in gaps.values() for place in places}
    complete = [(cells, place) for cells, place in records if place not in without]
    if len(gaps.pop(config.target, ())) == len(records):
        problem = f"{records[0][1]}: column {config.target!r} has no value"
        raise DataError(problem, "name another column as data.target")
    if not complete:
        most = sorted(gaps, key=lambda name: -len(gaps[name]))
        problem = f"{records[0][1]}: no row has a value in every column: {shorten_list(most)}"
        raise DataError(problem, f"`--set data.missing=median`, or {_ignoring(most[:1], config)}")
    if without:
        screen.note(
            f"rows left out, because a value is missing: {len(without):,} of {len(records):,}"
        )
    return complete


def _is_missing(cells: Cells, name: str) -> bool:
    return cells.get(name, "").strip().lower() in MISSING


def _read_columns(
    names: Sequence[str], parts: Sequence[Sequence[Record]], config: TableDataConfig
) -> dict[str, list[str]]:
    """Return the categories of each column; raise DataError with all that is wrong in the cells."""
    found = {name: _find_levels(name, parts[0]) for name in names}
    problems = {name: problem for name, (_, problem) in found.items() if problem}
    remedies = []
    if problems:
        remedies.append(f"correct the columns, or leave them out: {_ignoring(problems, config)}")
    if config.task == "regression":
        for part in parts:
            _, problem = _find_words(config.target, part)
            if problem:
                problems[str(part[0][1])] = problem
                remedies = [*dict.fromkeys([*remedies, TARGET_REMEDY])]
    _raise_all([*problems.values()], "\n".join(remedies))
    return {name: levels for name, (levels, _) in found.items()}


def _ignoring(names: Iterable[str], config: TableDataConfig) -> str:
    """Return the option that leaves out columns, besides those that the config leaves out."""
    words = format_override("data.ignore", [*config.ignore, *names])
    return f"`--set {shlex.quote(words)}`"


def _raise_all(problems: Sequence[str], remedy: str) -> None:
    """Raise DataError with the first of several problems, if there is one, and their number."""
    faults = Faults()
    faults.errors = [DataError(problem, remedy) for problem in problems]
    faults.raise_all(most=MOST_PROBLEMS)


def _find_levels(name: str, records: Sequence[Record]) -> tuple[list[str], str]:
    """Return the categories of a column, none of numbers, and what is wrong with it."""
    words, problem = _find_words(name, records)
    cells = [cells[name].strip() for cells, _ in records if not _is_missing(cells, name)]
    levels = {*cells}
    if len(cells) < len(records):  # they are filled
        levels.add(FILLED)
    place = words[0][1] if words else records[0][1]
    if len(words) >= len(cells) / 2 and _kind_of(words) is None:
        problem = ""  # categories, of which some may be numbers
    if not cells:
        problem = f"{place}: column {name!r} has no value"
    elif len(levels) == 1:
        rows = pluralize(len(cells), "row")
        problem = f"{place}: column {name!r} has one value in all of {rows}"
    elif words and not problem and len(levels) > MOST_LEVELS:
        many = f"{len(levels):,} different ones are no categories"
        problem = f"{place}: column {name!r} has words, and {many}"
    return sorted(levels) if words else [], problem


def _find_words(name: str, records: Sequence[Record]) -> tuple[list[tuple[str, object]], str]:
    """Return the cells of a column that are no numbers, with their places, and what they are."""
    words: list[tuple[str, object]] = [
        (cells[name].strip(), place)
        for cells, place in records
        if not _is_number(cells[name]) and not _is_missing(cells, name)
    ]
    if not words:
        return words, ""
    (first, place), *others = words
    column, cell = f"{place}: column {name!r}", cut(first, 40)
    if kind := _kind_of(words):
        return words, f"{column} has {kind[0]} such as {cell}: {kind[1]}"
    problem = f"{column}: {cell!r} is no number {NUMBER}"
    if others:
        shown = ", ".join(f"{cut(word, 40)!r} ({place})" for word, place in others[:2])
        problem += f"; nor are {pluralize(len(others), 'later cell')}: {shown}"
    return words, problem


def _kind_of(words: Sequence[tuple[str, object]]) -> tuple[str, str] | None:
    """Return what all words of a column are, and how to write them; None if they are words."""
    kinds = (kind for form, kind in KINDS if all(form.fullmatch(word) for word, _ in words))
    return next(kinds, None)


def _check_classes(records: Sequence[Record], config: TableDataConfig, found: FoundData) -> None:
    """Raise DataError if the target's values are no classes; warn if they are many."""
    classes = {cells[config.target].strip() for cells, _ in records}
    place, rows = records[0][1], pluralize(len(records), "row")
    problem = f"column {config.target!r} has {len(classes):,} classes in {rows}"
    remedy = "name another column as data.target"
    if all(map(_is_number, classes)):
        remedy = "`--set data.task=regression` predicts numbers"
    if len(classes) > len(records) / 2:
        raise DataError(f"{place}: {problem}", remedy)
    if len(classes) > MANY_CLASSES:
        found.warnings.add(f"{problem}: {remedy}", place)


def _warn_of_ids(names: Sequence[str], records: Sequence[Record], found: FoundData) -> None:
    """Warn of columns of words or whole numbers that are different in every row."""
    config, ids = found.config, []
    if not isinstance(config, OwnTableDataConfig) or len(records) < LEAST_ROWS_OF_IDS:
        return
    for name in names:
        cells = {cells[name].strip() for cells, _ in records}
        if len(cells) == len(records) and not any(
            _is_number(cell) and not WHOLE.fullmatch(cell) for cell in cells
        ):
            ids.append(name)
    if ids:
        remedy = _ignoring(ids, config)
        if len(ids) == 1 and config.id is None:
            remedy = f"`--set {shlex.quote(format_override('data.id', ids[0]))}`"
        what = f"different in every row, as an id: {', '.join(ids)}; {remedy} leaves it out"
        found.warnings.add(what, found.paths[0].name)


def _is_number(cell: str) -> bool:
    try:
        return abs(float(cell)) <= LARGEST and "_" not in cell
    except ValueError:
        return False


def _to_number(cells: Cells, name: str) -> float:
    cell = cells[name].strip()
    if not _is_number(cell):
        raise DataError(f"column {name!r}: {cut(cell, 40)!r} is no number {NUMBER}")
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
    _raise_all([f"{place}: {problem}" for problem, place in problems.items()], CELLS_REMEDY)
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
    whole = TablePart(X, values[config.lags :, SERIES.index(VOLUME)], days)
    fitted, tested = np.flatnonzero(is_train), np.flatnonzero(~is_train)
    digest = _digest(X, whole.targets, fitted, tested)
    train, test = whole.rows(fitted), whole.rows(tested)
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
    writer.writerows(rows.cells[first : first + count])
    screen.note(table.origin.text)
    screen.rows(stream.getvalue().splitlines())
