"""Read tables as matrices: the book's Hitters and NYSE, synthetic ones, or a user's CSV files."""

import csv
import io
import math
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from dlrun.config.data_sections import (
    IS_TRAIN,
    SERIES,
    WEEKDAY,
    HittersDataConfig,
    OwnTableDataConfig,
    TradingDaysDataConfig,
)
from dlrun.config.yaml_loader import format_override
from dlrun.data.archives import Array
from dlrun.data.prepared import fingerprint_arrays
from dlrun.data.sources import FIRST_ROWS, GENERATED, DataOrigin, ReadContext
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
SAMPLE_ROWS = 300
PLAYERS = "AtBat Hits HmRun Runs RBI Walks Years CAtBat CHits CHmRun CRuns CRBI CWalks PutOuts"
PLAYER_NUMBERS = f"{PLAYERS} Assists Errors Salary".split()
PLAYER_WORDS = {"League": "A N", "Division": "E W W", "NewLeague": "A N N N A"}
DAY_WORDS = {WEEKDAY: "mon tues wed thur fri", IS_TRAIN: "TRUE TRUE FALSE"}

T = TypeVar("T")
# Targets of all rows (n,), class names or None, indices of the rows to fit and of those to test.
DividedTargets = tuple[Array, list[str] | None, Rows, Rows]
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


def make_table(context: ReadContext) -> Table:
    """Return the rows of a table, divided into training and test rows."""
    table = _make_table(context, context.source.read(context))
    for warning in context.warnings.lines():
        context.screen.warn(warning)
    return table


def check_table(context: ReadContext) -> None:
    """Raise DlrunError if the first rows show that a table cannot be used as the config says."""
    parts = read_table(context)
    if max(map(len, parts)) < FIRST_ROWS:  # they are all rows
        _make_table(context, parts)
        return
    names = _names_of_columns(context, parts)
    if context.config.missing == "refuse":
        parts = [_usable_rows(part, names, context) for part in parts]
    _read_columns(names, parts, context.config, are_all=False)


def _names_of_columns(context: ReadContext, parts: list[list[Record]]) -> list[str]:
    """Return the names of a table's columns that predict. Raises DataError if no column is left."""
    config = context.config
    first, _ = parts[0][0]
    names = [name for name in first if name not in (config.target, config.id, *config.ignore)]
    if not names:
        problem = f"{context.origin.text}: no column besides {config.target!r}"
        raise DataError(problem, f"data.ignore leaves out {shorten_list(config.ignore) or 'none'}")
    return names


def _make_table(context: ReadContext, parts: list[list[Record]]) -> Table:
    config = context.config
    names = _names_of_columns(context, parts)
    parts = [_usable_rows(part, names, context) for part in parts]
    levels = _read_columns(names, parts, config)
    records = [record for part in parts for record in part]
    _warn_of_ids(names, records, context)
    divide = _divide_classes if config.task == "classification" else _divide_values
    targets, labels, fitted, tested = divide(context, parts, records)
    columns = TableColumns(levels=levels)
    if config.missing == "median":
        columns = _fill_by_medians(levels, [records[row][0] for row in fitted])
    X = np.array(encode_rows(records, columns.encode))
    digest = digest_of_rows(X, targets, fitted, tested)
    target_scale = (0.0, 1.0)
    if config.standardise:
        columns = _standardise(columns, X[fitted])
        X = np.array(encode_rows(records, columns.encode))
        if labels is None:
            target_scale = float(targets[fitted].mean()), float(targets[fitted].std())
    rows = TablePart(X, targets, records)
    text = context.origin.text + _describe_rows(context, [*map(len, parts)], len(tested))
    origin = replace(context.origin, text=text)
    train = rows.rows(fitted)
    test = rows.rows(tested)
    return Table(columns, config.target, labels, train, test, origin, digest, target_scale)


def _divide_classes(
    context: ReadContext, parts: list[list[Record]], records: list[Record]
) -> DividedTargets:
    """Return the class indices of all rows, and the rows to fit and to test."""
    target = context.config.target
    _check_classes(records, context)
    rows = LabelledRows(context.warnings)
    for part in parts:
        rows.begin_part(part[0][1])
        for cells, place in part:
            rows.add(cells[target], hash((*cells.values(),)), place)
    targets, labels, is_test = rows.split(context.config, context.seed)
    return targets, labels, np.flatnonzero(~is_test), np.flatnonzero(is_test)


def _divide_values(
    context: ReadContext, parts: list[list[Record]], records: list[Record]
) -> DividedTargets:
    """Return the values of all rows, and the rows to fit and to test.

    They are those of scikit-learn's train_test_split, unless the test rows or folds are given.
    """
    config = context.config
    targets = np.array([float(cells[config.target]) for cells, _ in records])
    rows = np.arange(len(records))
    if len(parts) > 1:
        fitted, tested = np.split(rows, [len(parts[0])])
    elif config.chosen_fold is not None:
        tested = rows_of_fold(config.chosen_fold, len(rows), context.seed)
        fitted = np.setdiff1d(rows, tested)
    else:
        order = np.random.RandomState(context.seed).permutation(len(rows))
        tested, fitted = np.split(order, [math.ceil(config.test_share * len(rows))])
    place = context.origin.text
    if len(fitted) < 2:
        problem = f"{len(tested):,} of {pluralize(len(rows), 'row')} for the test leave too few"
        raise DataError(f"{place}: {problem}", "give more rows, or a smaller data.test_share")
    if np.ptp(targets[fitted]) == 0:
        problem = f"{place}: {config.target} has one value in all training rows"
        raise DataError(problem, "give more rows, or name another column as data.target")
    contents = np.array([hash((*cells.values(),)) for cells, _ in records])
    warn_of_repeated_rows(contents, tested, parts[-1][0][1], context.warnings)
    return targets, None, fitted, tested


def _standardise(columns: TableColumns, X: NDArray[np.float64]) -> TableColumns:
    """Return columns whose numbers have mean 0 and standard deviation 1 in a matrix of rows."""
    pairs = zip(X.mean(0).tolist(), X.std(0).tolist(), strict=True)
    moments = dict(zip(columns.names, pairs, strict=True))
    numbers = [name for name, levels in columns.levels.items() if not levels]
    scales = {name: (moments[name][0], moments[name][1] or 1) for name in numbers}
    return columns.model_copy(update={"scales": scales})


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


def read_table(context: ReadContext) -> list[list[Record]]:
    """Return the rows of each part of a table, at least one of each.

    Raises ConfigError if a part lacks a column that the config needs, or one of the first part.
    """
    columns = dict(context.config.columns)
    parts: list[list[Record]] = []
    for path in context.paths:
        row_id = getattr(context.config, "id", None)
        header, rows = open_csv_table(path, columns, context.warnings, row_id)
        if "" in header:
            remedy = "delete it, or write the file with to_csv(index=False)"  # of pandas
            raise DataError(f"{path}:1: column {header.index('') + 1} has no name", remedy)
        columns |= {f"column {name}": name for name in header}
        for name in header:
            if header.count(name) > 1:
                problem = f"{header.count(name)} columns are named {cut(name, 40)!r}"
                raise DataError(f"{path}:1: {problem}", "rename one of them")
        parts.append([*islice(whole_rows(rows), context.most_rows)])
        if not parts[-1]:
            raise DataError(f"{path}: no rows", "it needs a line of cells for each example")
    return parts


def _describe_rows(context: ReadContext, parts: Sequence[int], tested: int) -> str:
    """Return what else the origin of a table names, so that other test rows have another origin.

    parts: the rows of the table, and of data.test.
    """
    config = context.config
    rows = pluralize(sum(parts), "row")
    if isinstance(config, HittersDataConfig):
        counts = f", {rows}" if config.chosen_fold else f", {tested:,} of {rows} for the test"
        seed = "" if config.source == GENERATED else f", seed {context.seed}"
        return counts + seed + config.fold_text
    counts = f"{tested:,} of its {rows} for the test"
    if config.chosen_fold:  # the folds of a cross-validation may differ by a row
        counts = rows
    elif len(parts) > 1:
        counts = f"{pluralize(parts[0], 'row')}, and {tested:,} of data.test for the test"
    kind = "classes" if config.task == "classification" else "target"
    return f", {kind} {config.target}, {counts}"


def _usable_rows(
    records: Sequence[Record], names: Sequence[str], context: ReadContext
) -> list[Record]:
    """Return the rows with a target and, unless they are filled, with all values."""
    config = context.config
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
        context.screen.note(f"rows left out, because a value is missing: {counts}")
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


def _check_classes(records: Sequence[Record], context: ReadContext) -> None:
    """Raise DataError if the target's values are no classes; warn if they are many."""
    target = context.config.target
    _, place = records[0]
    classes = {cells[target].strip() for cells, _ in records}
    problem = f"column {target!r} has {len(classes):,} classes in {pluralize(len(records), 'row')}"
    remedy = "name another column as data.target"
    if all(map(_is_number, classes)):
        remedy = "`--set data.task=regression` predicts numbers"
    if len(classes) > len(records) / 2:
        raise DataError(f"{place}: {problem}", remedy)
    if len(classes) > MANY_CLASSES:
        context.warnings.add(f"{problem}: {remedy}", place)


def _warn_of_ids(names: Sequence[str], records: Sequence[Record], context: ReadContext) -> None:
    """Warn of columns of words or whole numbers that are different in every row."""
    ids = []
    for name in names:
        cells = {cells[name].strip() for cells, _ in records}
        if len(cells) == len(records) and not any(
            "." in cell and _is_number(cell) for cell in cells
        ):
            ids.append(name)
    if ids and len(records) >= LEAST_ROWS_OF_IDS and isinstance(context.config, OwnTableDataConfig):
        remedy = _ignoring(ids, context.config)
        if len(ids) == 1 and context.config.id is None:
            remedy = f"`--set {shlex.quote(format_override('data.id', ids[0]))}`"
        what = f"different in every row, as an id: {', '.join(ids)}; {remedy} leaves it out"
        context.warnings.add(what, context.paths[0])


def _is_number(cell: str) -> bool:
    try:
        return abs(float(cell)) <= LARGEST and "_" not in cell
    except ValueError:
        return False


def _no_number(name: str, cell: str) -> str:
    return f"column {name!r}: {cut(cell, 40)!r} is no number (such as 1851.5, up to {LARGEST:g})"


def to_number(cells: Cells, name: str) -> float:
    """Return the number in a column; raise DataError if the cell is no number."""
    cell = cells[name].strip()
    if not _is_number(cell):
        raise DataError(_no_number(name, cell))
    return float(cell)


def encode_rows(records: Sequence[Record], read: Callable[[Cells], T]) -> list[T]:
    """Return what is read of the cells of each row; raise DataError with all rows that cannot."""
    values: list[T] = []
    problems: dict[str, object] = {}
    for cells, place in records:
        try:
            values.append(read(cells))
        except DataError as error:
            problems.setdefault(error.message, place)
    lines = [f"{place}: {problem}" for problem, place in problems.items()]
    _raise_all(lines, "correct the cells, or delete the rows")
    return values


def digest_of_rows(X: NDArray[np.float64], targets: Array, fitted: Rows, tested: Rows) -> str:
    """Return a hash of the training rows and of the test rows, with their targets."""
    return fingerprint_arrays(array[rows] for rows in (fitted, tested) for array in (X, targets))


def read_generated_rows(context: ReadContext) -> list[list[Record]]:
    """Return generated players as in Hitters, or generated trading days as in NYSE.

    The last of the numbers is predictable, and the categories follow each other in turn.
    """
    numbers: Sequence[str] = PLAYER_NUMBERS
    words = PLAYER_WORDS
    if isinstance(context.config, TradingDaysDataConfig):
        numbers = SERIES
        words = DAY_WORDS
    values = np.random.default_rng(context.seed).normal(0, 1, (SAMPLE_ROWS, len(numbers)))
    values[:, -1] += values[:, :3].sum(1)
    for row in range(1, SAMPLE_ROWS):
        values[row] += values[row - 1] / 2
    records: list[Record] = []
    for row, numbers_of_row in enumerate(values.tolist()):
        cells = {name: f"{value:.6f}" for name, value in zip(numbers, numbers_of_row, strict=True)}
        cells |= {name: levels.split()[row % len(levels.split())] for name, levels in words.items()}
        records.append((cells, f"generated row {row + 1}"))
    return [records]


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
