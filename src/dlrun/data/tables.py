"""Read tables as matrices: the book's Hitters, generated ones, or a user's CSV files."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dlrun.config.data_sections import (
    IS_TRAIN,
    SERIES,
    WEEKDAY,
    HittersDataConfig,
    TradingDaysDataConfig,
)
from dlrun.data.array_cache import fingerprint_arrays
from dlrun.data.sources import GENERATED, DataOrigin, ReadContext
from dlrun.data.splits import (
    LabelledRows,
    RowNames,
    Rows,
    name_rows,
    rows_of_fold,
    shorten_list,
    warn_of_shared_rows,
)
from dlrun.data.table_columns import (
    TableColumns,
    encode_rows,
    fill_by_medians,
    is_number,
    read_levels,
    usable_rows,
)
from dlrun.data.text_files import Record, open_csv_table, whole_rows
from dlrun.data.untrusted_files import Array
from dlrun.errors import DataError
from dlrun.system.console import cut, pluralize

SAMPLE_ROWS = 300
PLAYER_COLUMNS = "AtBat Hits HmRun Runs RBI Walks Years CAtBat CHits CHmRun CRuns CRBI CWalks"
PLAYER_NUMBERS = f"{PLAYER_COLUMNS} PutOuts Assists Errors Salary".split()
# The categories of generated rows in turn; one that stands twice is twice as frequent.
PLAYER_WORDS = {"League": "A N", "Division": "E W W", "NewLeague": "A N N N A"}
DAY_WORDS = {WEEKDAY: "mon tues wed thur fri", IS_TRAIN: "TRUE TRUE FALSE"}


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

    def take(self, indices: Rows) -> "TablePart":
        """Return the rows with the given indices."""
        records = [self.records[index] for index in indices.tolist()]
        return TablePart(self.X[indices], self.targets[indices], records)


@dataclass(frozen=True)
class Table:
    """Holds the rows of a table as matrices, with what is needed to encode further rows."""

    columns: TableColumns
    target: str
    train: TablePart
    test: TablePart
    origin: DataOrigin
    digest: str  # of rows and targets before they are standardised
    labels: list[str] | None = None  # the class names of a classification
    target_moments: tuple[float, float] = (0, 1)  # mean and sd of a standardised target
    is_series: bool = False  # whether the rows are days in their order

    def describe(self, row: int) -> dict[str, str]:
        """Return a row of the test part as text, its columns and cells."""
        cells, _ = self.test.records[row]
        return {"text": ", ".join(f"{name} {cells[name]}" for name in self.columns.levels)}


@dataclass(frozen=True)
class RowSplit:
    """Holds the targets of all rows, and the indices of the rows to fit and of those to test."""

    targets: Array
    train_rows: Rows
    test_rows: Rows
    labels: list[str] | None = None  # the class names of a classification


def read_table(context: ReadContext) -> list[list[Record]]:
    """Return the rows of each part of a table, at least one of each.

    Raises ConfigError if a part lacks a column that the config needs, or one of the first part.
    """
    required_columns = dict(context.config.columns)  # by the setting or part that needs each
    row_id = getattr(context.config, "id", None)
    parts: list[list[Record]] = []
    for path in context.paths:
        header, rows = open_csv_table(path, required_columns, context.warnings, row_id)
        if "" in header:
            remedy = "delete it, or write the file with to_csv(index=False)"  # of pandas
            raise DataError(f"{path}:1: column {header.index('') + 1} has no name", remedy)
        for name in header:
            if header.count(name) > 1:
                problem = f"{header.count(name)} columns are named {cut(name, 40)!r}"
                raise DataError(f"{path}:1: {problem}", "rename one of them")
        required_columns |= {f"column {name}": name for name in header}
        parts.append([*whole_rows(rows)])
        if not parts[-1]:
            raise DataError(f"{path}: no rows", "it needs a line of cells for each example")
    return parts


def make_table(context: ReadContext) -> Table:
    """Return the rows of a table: the columns are filled and scaled by the rows to fit."""
    config = context.config
    parts = context.source.read(context)
    names = _names_of_inputs(parts[0], context)
    parts = [usable_rows(part, names, context) for part in parts]
    levels = read_levels(names, parts, config)
    divide_rows = _divide_classes if config.task == "classification" else _divide_values
    split = divide_rows(context, parts)
    records = [record for part in parts for record in part]
    columns = TableColumns(levels=levels)
    if config.missing == "median":
        columns = fill_by_medians(levels, [records[row][0] for row in split.train_rows])
    X = np.array(encode_rows(records, columns.encode))
    digest = digest_of_rows(X, split.targets, split.train_rows, split.test_rows)
    target_moments = (0.0, 1.0)
    if config.standardise:
        columns = _standardise(columns, X[split.train_rows])
        X = np.array(encode_rows(records, columns.encode))  # now as predictions will encode a row
        if split.labels is None:
            fitted_targets = split.targets[split.train_rows]
            target_moments = float(fitted_targets.mean()), float(fitted_targets.std())
    for warning in context.warnings.lines():
        context.screen.warn(warning)
    all_rows = TablePart(X, split.targets, records)
    text = context.origin.text + _describe_rows(context, parts, len(split.test_rows))
    return Table(
        columns,
        config.target,
        all_rows.take(split.train_rows),
        all_rows.take(split.test_rows),
        replace(context.origin, text=text),
        digest,
        split.labels,
        target_moments,
    )


def _names_of_inputs(records: Sequence[Record], context: ReadContext) -> list[str]:
    """Return the columns of a table besides target, id and ignored ones; at least one."""
    config = context.config
    cells, _ = records[0]
    names = [name for name in cells if name not in (config.target, config.id, *config.ignore)]
    if not names:
        problem = f"{context.origin.text}: no column besides {config.target!r}"
        raise DataError(problem, f"data.ignore leaves out {shorten_list(config.ignore) or 'none'}")
    return names


def _divide_classes(context: ReadContext, parts: list[list[Record]]) -> RowSplit:
    """Return the class index of every row, and divide them: of each class a share is the test."""
    config = context.config
    cells_of_target = [cells[config.target].strip() for part in parts for cells, _ in part]
    classes = {*cells_of_target}
    if len(classes) > len(cells_of_target) / 2:
        row_count_text = pluralize(len(cells_of_target), "row")
        problem = f"column {config.target!r} has {len(classes):,} classes in {row_count_text}"
        remedy = "name another column as data.target"
        if all(map(is_number, classes)):
            remedy = "`--set data.task=regression` predicts numbers"
        _, first_place = parts[0][0]
        raise DataError(f"{first_place}: {problem}", remedy)
    rows_by_class = LabelledRows(context.warnings)
    for part in parts:
        rows_by_class.begin_part(next(place for _, place in part))
        for cells, place in part:
            rows_by_class.add(cells[config.target], hash((*cells.values(),)), place)
    targets, labels, is_test = rows_by_class.split(config, context.seed)
    return RowSplit(targets, np.flatnonzero(~is_test), np.flatnonzero(is_test), labels)


def _divide_values(context: ReadContext, parts: list[list[Record]]) -> RowSplit:
    """Return the target of every row, and divide the rows into training and test rows."""
    all_cells = [cells for part in parts for cells, _ in part]
    targets = np.array([float(cells[context.config.target]) for cells in all_cells])
    train_rows, test_rows = _divide_indices(context, targets, parts)
    place = context.origin.text
    if len(train_rows) < 2:
        row_count_text = pluralize(len(targets), "row")
        problem = f"{len(test_rows):,} of {row_count_text} for the test leave too few"
        raise DataError(f"{place}: {problem}", "give more rows, or a smaller data.test_share")
    if np.ptp(targets[train_rows]) == 0:
        problem = f"{place}: {context.config.target} has one value in all training rows"
        raise DataError(problem, "give more rows, or name another column as data.target")
    contents = np.array([hash((*cells.values(),)) for cells in all_cells])
    _, first_place = parts[-1][0]
    warn_of_shared_rows(contents, test_rows, first_place, context.warnings)
    return RowSplit(targets, train_rows, test_rows)


def _divide_indices(
    context: ReadContext, targets: Array, parts: list[list[Record]]
) -> tuple[Rows, Rows]:
    """Return indices of training and test rows: given, of a fold, or train_test_split's."""
    config = context.config
    indices = np.arange(len(targets))
    if len(parts) > 1:
        train_rows, test_rows = np.split(indices, [len(parts[0])])
        return train_rows, test_rows
    if config.chosen_fold is not None:
        return rows_of_fold(config.chosen_fold, targets, context.seed, by_class=False)
    order = np.random.RandomState(context.seed).permutation(len(indices))
    test_rows, train_rows = np.split(order, [math.ceil(config.test_share * len(indices))])
    return train_rows, test_rows


def _standardise(columns: TableColumns, X: NDArray[np.float64]) -> TableColumns:
    """Return columns whose numbers have mean 0 and standard deviation 1 in a matrix of rows."""
    pairs = zip(X.mean(0).tolist(), X.std(0).tolist(), strict=True)
    moments = dict(zip(columns.names, pairs, strict=True))
    numbers = [name for name, levels in columns.levels.items() if not levels]  # not categories
    scales = {name: (moments[name][0], moments[name][1] or 1) for name in numbers}
    return columns.model_copy(update={"scales": scales})


def _describe_rows(context: ReadContext, parts: list[list[Record]], test_count: int) -> str:
    """Return row counts as text, so that runs on differently divided rows have other origins."""
    config = context.config
    row_count_text = pluralize(sum(map(len, parts)), "row")
    counts = f"{test_count:,} of {row_count_text} for the test"
    if config.chosen_fold:  # the folds of a cross-validation may differ by a row
        counts = row_count_text
    elif len(parts) > 1:
        counts = f"{pluralize(len(parts[0]), 'row')}, and {test_count:,} of data.test for the test"
    if isinstance(config, HittersDataConfig):
        seed = "" if config.source == GENERATED else f", seed {context.seed}"
        return f", {counts}{seed}{config.fold_text}"
    kind = "classes" if config.task == "classification" else "target"
    return f", {kind} {config.target}, {counts}"


def digest_of_rows(X: NDArray[np.float64], targets: Array, train: Rows, test: Rows) -> str:
    """Return a hash of the training rows and of the test rows, with their targets."""
    return fingerprint_arrays(array[rows] for rows in (train, test) for array in (X, targets))


def generate_rows(context: ReadContext) -> list[list[Record]]:
    """Return generated rows like those of the table Hitters or of the table NYSE.

    The last of the numbers is predictable, and the categories follow each other in turn.
    """
    names: Sequence[str] = PLAYER_NUMBERS
    words = PLAYER_WORDS
    if isinstance(context.config, TradingDaysDataConfig):
        names = SERIES
        words = DAY_WORDS
    values = np.random.default_rng(context.seed).normal(0, 1, (SAMPLE_ROWS, len(names)))
    values[:, -1] += values[:, :3].sum(1)
    for row in range(1, SAMPLE_ROWS):  # as on trading days, a row tells something of the next
        values[row] += values[row - 1] / 2
    records: list[Record] = []
    for row, numbers in enumerate(values.tolist()):
        cells = {name: f"{number:.6f}" for name, number in zip(names, numbers, strict=True)}
        for name, levels in words.items():
            cells[name] = levels.split()[row % len(levels.split())]
        records.append((cells, f"generated row {row + 1}"))
    return [records]
