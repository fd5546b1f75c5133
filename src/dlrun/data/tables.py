"""Read tables as matrices: the book's Hitters and NYSE, synthetic ones, or a user's CSV files."""

import csv
import io
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from dlrun.config.data_sections import HittersDataConfig, OwnTableDataConfig
from dlrun.data.archives import Array
from dlrun.data.prepared import fingerprint_arrays
from dlrun.data.sources import FIRST_ROWS, GENERATED, DataOrigin, FoundData
from dlrun.data.splits import LabelledRows, Rows, rows_of_fold, shorten_list, warn_of_repeated_rows
from dlrun.data.text_files import Record, open_csv_table, whole_rows
from dlrun.errors import DataError, Faults
from dlrun.system.console import Screen, cut, pluralize

# A number with a decimal comma or separated thousands, which is not written as here.
WITH_COMMA = re.compile(r"[-+]?(\d+,\d+|\d{1,3}(,\d{3})+(\.\d+)?|\d{1,3}(\.\d{3})+,\d+)")
MISSING = frozenset(("", "na", "n/a", "nan", "null"))  # cells, in small letters
MOST_LEVELS = 100  # categories of a column, at most
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

    @property
    def names(self) -> list[str]:
        """Return the names of the matrix's columns, such as `Hits` and `League[N]`."""
        return [
            f"{name}[{level}]" if level else name
            for name, levels in self.levels.items()
            for level in levels[self.first_level :] or [""]
        ]

    def encode(self, cells: Cells) -> list[float]:
        """Return the row of the matrix; raise DataError if a cell is missing or unknown."""
        row: list[float] = []
        for name, levels in self.levels.items():
            if _is_missing(cells, name):
                raise DataError(f"no value in column {name!r}")
            cell = cells[name].strip()
            if levels and cell not in levels:
                known = shorten_list(levels)
                raise DataError(f"column {name!r}: {cut(cell, 40)!r} is none of these: {known}")
            row += [float(cell == level) for level in levels[self.first_level :]]
            if not levels:
                centre, scale = self.scales.get(name, (0, 1))
                row.append((_to_number(cells, name) - centre) / scale)
        return row


@dataclass(frozen=True)
class TablePart:
    """Holds the training or test rows of a table: the matrix (rows, columns), targets (rows,)."""

    X: NDArray[np.float64]
    targets: Array  # float64, or int64 class indices in a classification
    cells: Sequence[Cells]  # the texts of each row

    def __len__(self) -> int:
        return len(self.targets)

    def rows(self, chosen: Rows) -> "TablePart":
        """Return the rows with the given indices."""
        cells = [self.cells[row] for row in chosen.tolist()]
        return TablePart(self.X[chosen], self.targets[chosen], cells)


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
        cells = self.test.cells[row]
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
        target = found.config.target
        known = [row for part in parts for row in part if not _is_missing(row[0], target)]
        _read_each(known, lambda cells: _to_number(cells, target))


def _make_table(found: FoundData, parts: list[list[Record]]) -> Table:
    config, seed = found.config, found.seed
    first, _ = parts[0][0]
    names = [name for name in first if name not in (config.target, *config.ignore)]
    if not names:
        problem = f"{found.origin.text}: no column besides {config.target!r}"
        raise DataError(problem, "see data.ignore")
    needed = [*names, config.target]
    parts = [_complete_rows(part, needed, config, found.screen) for part in parts]
    columns = TableColumns(levels=_find_all_levels(names, parts[0], config.ignore))
    records = [record for part in parts for record in part]
    X = np.array(_read_each(records, columns.encode))
    if config.task == "classification":
        rows = LabelledRows(found.warnings)
        for part in parts:
            rows.begin_part(part[0][1])
            for cells, place in part:
                rows.add(cells[config.target], hash((*cells.values(),)), place)
        targets, labels, is_test = rows.split(config, seed)
        fitted, tested = np.flatnonzero(~is_test), np.flatnonzero(is_test)
    else:
        labels = None
        targets = np.array(_read_each(records, lambda cells: _to_number(cells, config.target)))
        separate = len(parts[0]) if len(parts) > 1 else None
        fitted, tested = _divide(len(records), separate, config, seed, found.origin.text)
        contents = np.array([hash((*cells.values(),)) for cells, _ in records])
        warn_of_repeated_rows(contents, tested, parts[-1][0][1], found.warnings)
        if np.ptp(targets[fitted]) == 0:
            problem = f"{found.origin.text}: {config.target} has one value in all training rows"
            raise DataError(problem, "give more rows, or name another column as data.target")
    text = found.origin.text + _describe_rows(config, len(records), len(tested), seed)
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
    whole = TablePart(X, targets, [cells for cells, _ in records])
    origin = DataOrigin(text, found.origin.is_book)
    train, test = whole.rows(fitted), whole.rows(tested)
    return Table(columns, config.target, labels, train, test, origin, digest, target_scale)


def read_table(found: FoundData) -> list[list[Record]]:
    """Return the rows of each part of a table."""
    needed = found.config.columns
    parts = []
    for path in found.paths:
        parts.append(_read_csv(path, needed, found))
        needed |= {f"column {name}": name for name in parts[0][0][0]}  # also of the test part
    return parts


def _describe_rows(config: TableDataConfig, rows: int, tested: int, seed: int) -> str:
    """Return what else the origin of a table names, so that other test rows have another origin."""
    held = f", {tested:,} of {pluralize(rows, 'row')} for the test"
    if config.chosen_fold:  # the folds of a cross-validation may differ by a row
        held = f", {pluralize(rows, 'row')}"
    if isinstance(config, OwnTableDataConfig):
        kind = "classes" if config.task == "classification" else "target"
        return f", {kind} {config.target}{held}"
    return held + ("" if config.source == GENERATED else f", seed {seed}") + config.fold_text


def _read_csv(path: Path, columns: Mapping[str, str], found: FoundData) -> list[Record]:
    """Return the rows of a CSV file, at least one; raise ConfigError if it lacks a column."""
    header, rows = open_csv_table(path, columns, found.warnings)
    if "" in header:
        remedy = "delete it, or write the file with to_csv(index=False)"  # of pandas
        raise DataError(f"{path}:1: column {header.index('') + 1} has no name", remedy)
    if twice := [name for name in header if header.count(name) > 1]:
        problem = f"{twice.count(twice[0])} columns are named {cut(twice[0], 40)!r}"
        raise DataError(f"{path}:1: {problem}", "rename one of them")
    if not (records := list(islice(whole_rows(rows), found.most_rows))):
        raise DataError(f"{path}: no rows", "it needs a line of cells for each example")
    return records


def _complete_rows(
    records: Sequence[Record], names: Sequence[str], config: TableDataConfig, screen: Screen
) -> list[Record]:
    complete = []
    for cells, place in records:
        missing = [name for name in names if _is_missing(cells, name)]
        if not missing:
            complete.append((cells, place))
        elif config.missing == "refuse":
            remedy = "`--set data.missing=drop` leaves such rows out"
            raise DataError(f"{place}: no value in column {missing[0]!r}", remedy)
    if not complete:
        problem = f"{records[0][1]}: no row has a value in every column"
        raise DataError(problem, "`--set 'data.ignore=[COLUMN]'` leaves a column out")
    if left_out := len(records) - len(complete):
        screen.note(f"rows left out, because a value is missing: {left_out:,} of {len(records):,}")
    return complete


def _is_missing(cells: Cells, name: str) -> bool:
    return cells.get(name, "").strip().lower() in MISSING


def _find_all_levels(
    names: Sequence[str], records: Sequence[Record], ignored: Sequence[str]
) -> dict[str, list[str]]:
    """Return the categories of each column; raise DataError with all columns that have none."""
    faults, levels, others = Faults(), dict[str, list[str]](), [*ignored]
    for name in names:
        try:
            levels[name] = _find_levels(name, records)
        except DataError as error:
            faults.errors.append(error)
            others.append(name)
    remedy = f"correct the column, or leave it out: `--set 'data.ignore=[{', '.join(others)}]'`"
    for fault in faults.errors:
        fault.hint = remedy
    faults.raise_all()
    return levels


def _find_levels(name: str, records: Sequence[Record]) -> list[str]:
    cells = [cells[name].strip() for cells, _ in records]
    levels = sorted({*cells})
    words = [place for place, cell in enumerate(cells) if not _is_number(cell)]
    problem = ""
    if len(levels) == 1:
        problem = f"has one value in all of {pluralize(len(cells), 'row')}"
    elif words and (
        len(words) < len(cells) / 2 or all(WITH_COMMA.fullmatch(cells[place]) for place in words)
    ):
        problem = f"has numbers, but {cut(cells[words[0]], 40)!r} is no number {NUMBER}"
    elif words and len(levels) > MOST_LEVELS:
        problem = f"has words, and {len(levels):,} different ones are no categories"
    if problem:
        place = records[words[0] if words else 0][1]
        raise DataError(f"{place}: column {name!r} {problem}")
    return levels if words else []


def _is_number(cell: str) -> bool:
    try:
        return abs(float(cell)) <= LARGEST and "_" not in cell
    except ValueError:
        return False


def _to_number(cells: Cells, name: str) -> float:
    cell = cells[name].strip()
    if not _is_number(cell):
        remedy = "correct the cell; `data.task=classification` of table-* takes words"
        raise DataError(f"column {name!r}: {cut(cell, 40)!r} is no number {NUMBER}", remedy)
    return float(cell)


def _read_each(records: Sequence[Record], read: Callable[[Cells], T]) -> list[T]:
    """Return what is read of the cells of each row; a DataError gets the place of the row."""
    found = []
    for cells, place in records:
        try:
            found.append(read(cells))
        except DataError as error:
            raise DataError(f"{place}: {error.message}", error.hint) from None
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
    whole = TablePart(X, values[config.lags :, SERIES.index(VOLUME)], cells)
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
