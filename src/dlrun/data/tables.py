"""Read tables as matrices: the table Hitters of the book ISLP, or a user's CSV files."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dlrun.config.data_sections import HittersDataConfig, TradingDaysDataConfig
from dlrun.data.array_cache import Array, fingerprint_arrays
from dlrun.data.datasets_and_sources import DataOrigin, ReadContext
from dlrun.data.scaling import mean_and_scale
from dlrun.data.splits import (
    LabelledRowDivider,
    RowContents,
    RowHashes,
    RowIndices,
    divide_into_folds,
    hash_content,
    warn_of_shared_rows,
)
from dlrun.data.table_columns import TableColumns, TableDataConfig, complete_rows, read_levels
from dlrun.data.text_files import Record, RowNames, check_columns, names_of_places, open_csv_table
from dlrun.errors import DataError
from dlrun.system.text import pluralize, shorten_list

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class TablePart:
    """Holds the training or test rows of a table: the matrix (rows, columns), targets (rows,)."""

    X: Matrix
    targets: Array  # float64, or int64 class indices in a classification
    records: Sequence[Record]
    hashes: RowHashes  # of all cells of each row, also of those that no model reads

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def row_names(self) -> RowNames:
        """Return the names of the rows, see `names_of_places`."""
        return names_of_places([record.place for record in self.records])

    @property
    def contents(self) -> RowContents:
        """Return what identifies the rows, whichever columns a model reads."""
        return RowContents(self.hashes, self.targets)

    def take(self, indices: RowIndices) -> "TablePart":
        """Return the rows with the given indices."""
        records = [self.records[index] for index in indices.tolist()]
        return TablePart(self.X[indices], self.targets[indices], records, self.hashes[indices])


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
        """Return a row of the test part as `text`: its columns and cells."""
        cells = self.test.records[row].cells
        return {"text": ", ".join(f"{name} {cells[name]}" for name in self.columns.levels)}


@dataclass(frozen=True)
class TargetsAndSplit:
    """Holds the targets of all rows of a table, and the indices of the training and test rows."""

    targets: Array
    train: RowIndices
    test: RowIndices
    labels: list[str] | None = None  # the class names of a classification

    def parts(
        self, X: Matrix, records: Sequence[Record], hashes: RowHashes
    ) -> tuple[TablePart, TablePart]:
        """Return the training part and the test part of the matrix of all rows."""
        all_rows = TablePart(X, self.targets, records, hashes)
        return all_rows.take(self.train), all_rows.take(self.test)


def read_table_files(
    context: ReadContext[TableDataConfig | TradingDaysDataConfig],
) -> list[list[Record]]:
    """Return the rows of each of the files that make up a table.

    Raises ConfigError if a file lacks a column that the config needs, or one of the first file, or
    has one twice; DataError if a file has no rows or an unnamed column.
    """
    required_columns = dict(context.config.columns)  # by the setting or file that needs each
    records_by_file: list[list[Record]] = []
    for path in context.paths:
        header, rows = open_csv_table(path, required_columns, context.warnings, context.config.id)
        if "" in header:
            remedy = "delete it, or write the file with to_csv(index=False)"  # of pandas
            raise DataError(f"{path}:1: column {header.index('') + 1} has no name", remedy)
        # Each column of the first file must be in the second too, and in each file only once.
        required_columns |= {f"column {name}": name for name in header}
        check_columns(path, header, required_columns)
        records = [Record(cells, place) for cells, place in rows]
        if not records:
            raise DataError(f"{path}: no rows", "it needs a line of cells for each example")
        records_by_file.append(records)
    return records_by_file


def make_table(context: ReadContext[TableDataConfig]) -> Table:
    """Return a source's table: its complete rows, divided, and scaled by the training rows."""
    config = context.config
    all_by_file: list[list[Record]] = context.source.read(context)
    names = _input_columns(all_by_file[0][0], context)
    needed = [*names, config.target]
    records_by_file = [complete_rows(rows, needed, context) for rows in all_by_file]
    columns = TableColumns(levels=read_levels(names, records_by_file, config))
    records = [record for file_records in records_by_file for record in file_records]
    hashes = hash_records(records)
    X = columns.encode_rows(records)
    divide = _divide_by_class if config.task == "classification" else _divide_values
    divided = divide(context, records_by_file, X)
    for warning in context.warnings.lines():
        context.screen.warn(warning)
    train, test = divided.parts(X, records, hashes)
    digest = fingerprint_parts(train, test)  # before scaling: all models share it
    target_moments = (0.0, 1.0)
    if config.standardise:
        columns = _standardise(columns, X[divided.train])
        X = columns.encode_rows(records)  # as for predictions
        train, test = divided.parts(X, records, hashes)
        if not divided.labels:
            (mean,), (scale,) = mean_and_scale(train.targets[:, None])
            target_moments = float(mean), float(scale)
    counts = _describe_rows(context, len(train), len(test))
    return Table(
        columns=columns,
        target=config.target,
        train=train,
        test=test,
        origin=replace(context.origin, text=context.origin.text + counts),
        digest=digest,
        labels=divided.labels,
        target_moments=target_moments,
    )


def _input_columns(record: Record, context: ReadContext[TableDataConfig]) -> list[str]:
    """Return the columns of a table besides target, id and ignored ones; at least one."""
    config = context.config
    left_out = (config.target, config.id, *config.ignore)
    names = [name for name in record.cells if name not in left_out]
    if not names:
        problem = f"{context.origin.text}: no column besides {config.target!r}"
        raise DataError(problem, f"data.ignore leaves out {shorten_list(config.ignore) or 'none'}")
    return names


def _divide_by_class(
    context: ReadContext[TableDataConfig], records_by_file: list[list[Record]], X: Matrix
) -> TargetsAndSplit:
    """Return every row's class index, and the rows to train and test: given, or by class."""
    rows = LabelledRowDivider(context.warnings)
    inputs = iter(X)
    for records in records_by_file:
        rows.begin_part(records[0].place)
        for record in records:
            label = record.cells[context.config.target].strip()
            rows.add(label, _hash_what_is_learned(next(inputs), label), record.place)
    targets, labels, is_test = rows.split(context.config, context.seed)
    return TargetsAndSplit(targets, np.flatnonzero(~is_test), np.flatnonzero(is_test), labels)


def _divide_values(
    context: ReadContext[TableDataConfig], records_by_file: list[list[Record]], X: Matrix
) -> TargetsAndSplit:
    """Return the target of every row, and divide the rows into training and test rows."""
    all_records = [record for records in records_by_file for record in records]
    targets = np.array([float(record.cells[context.config.target]) for record in all_records])
    train, test = _divide_indices(context, targets, records_by_file)
    if len({*targets[train].tolist()}) < 2:
        problem = f"{context.config.target} has no two values in {pluralize(len(train), 'row')}"
        remedy = "give more rows, or name another column as data.target"
        raise DataError(f"{context.origin.text}: {problem} to train with", remedy)
    learned = np.array(list(map(_hash_what_is_learned, X, targets.tolist())))
    test_place = records_by_file[-1][0].place
    warn_of_shared_rows(learned, test, test_place, context.warnings)
    return TargetsAndSplit(targets, train, test)


def hash_records(records: Sequence[Record]) -> RowHashes:
    """Hash the cells of each row (n_rows,); the order of the columns does not change a hash."""
    return np.array([_hash_cells(record) for record in records], np.int64)


def _hash_cells(record: Record) -> int:
    """Hash the cells of a row by the names of their columns, in alphabetical order."""
    cells = "\0".join(f"{name}\0{cell}" for name, cell in sorted(record.cells.items()))
    return hash_content(cells.encode("utf-8", "surrogatepass"))


def _hash_what_is_learned(inputs: Matrix, target: float | str) -> int:
    """Hash a row's inputs and target, from which a model learns, and no column of ids."""
    return hash((inputs.tobytes(), target))


def _divide_indices(
    context: ReadContext[TableDataConfig], targets: Array, records_by_file: list[list[Record]]
) -> tuple[RowIndices, RowIndices]:
    """Return indices of training and test rows: given, of a fold, or train_test_split's."""
    config = context.config
    indices = np.arange(len(targets))
    if len(records_by_file) > 1:
        train_rows = len(records_by_file[0])
        return indices[:train_rows], indices[train_rows:]
    if config.chosen_fold is not None:
        fold, folds = config.chosen_fold
        train, test = divide_into_folds(folds, targets, context.seed, by_class=False)[fold - 1]
        return train, test
    order = np.random.RandomState(context.seed).permutation(len(indices))
    test, train = np.split(order, [math.ceil(config.test_share * len(indices))])
    return train, test


def _standardise(columns: TableColumns, X: Matrix) -> TableColumns:
    """Return columns whose numbers have mean 0 and standard deviation 1 in a matrix of rows."""
    means, scales_of_columns = mean_and_scale(X)
    moments = zip(columns.names, means.tolist(), scales_of_columns.tolist(), strict=True)
    numbers = [name for name, levels in columns.levels.items() if not levels]  # not categories
    scales = {name: (mean, scale) for name, mean, scale in moments if name in numbers}
    return columns.model_copy(update={"scales": scales})


def _describe_rows(context: ReadContext[TableDataConfig], train: int, test: int) -> str:
    """Return the target and the numbers of rows as text, without what a seed or a fold chose."""
    config = context.config
    counts = pluralize(train + test, "row")
    if not config.chosen_fold:  # the folds of a cross-validation may differ by a row
        counts = f"{test:,} of {counts} for the test"
    if isinstance(config, HittersDataConfig):
        return f", {counts}"
    kind = "classes" if config.task == "classification" else "target"
    return f", {kind} {config.target}, {counts}"


def fingerprint_parts(*parts: TablePart) -> str:
    """Hash the matrices and targets of parts of a table, in the order of the parts."""
    return fingerprint_arrays(array for part in parts for array in (part.X, part.targets))
