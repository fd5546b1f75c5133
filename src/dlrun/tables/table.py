"""Make a table of rows to train and to test: Hitters of the book ISLP, or a user's own."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, overload

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlrun.config.data_sections import (
    ColumnKind,
    HittersDataConfig,
    TradingDaysDataConfig,
    UserTableDataConfig,
)
from dlrun.data.array_cache import Array, fingerprint_arrays
from dlrun.data.datasets_and_sources import DataOrigin, ReadContext, ShownRow
from dlrun.data.split import RowCounts
from dlrun.data.splits import (
    Mask,
    RowContents,
    RowHashes,
    RowIndices,
    check_number_of_classes,
    hash_content,
    sort_class_names,
    warn_of_shared_rows,
)
from dlrun.data.text_files import RowNames
from dlrun.errors import ConfigError, DataError
from dlrun.system.text import cut, format_text_table, pluralize, shorten_list
from dlrun.tables.column_kinds import Column, convert_columns, inspect_columns
from dlrun.tables.division import RowsToDivide, divide_into_train_and_test
from dlrun.tables.encoding import TableEncoder
from dlrun.tables.read_table import ReadTable, read_table

TableDataConfig: TypeAlias = HittersDataConfig | UserTableDataConfig
MOST_LEFT_OUT = 0.05  # a larger share of rows without a target is a warning
NO_CLASS = ("", "na", "n/a", "nan", "null")  # in small letters; `none` and `-` may be classes
GIVEAWAY = 0.9999  # a column with this correlation, in size, gives the target
# A column of chance divides two classes of so many rows each once in 90,000 times.
ROWS_TO_JUDGE_THRESHOLDS = 10


@dataclass(frozen=True)
class TablePart:
    """Holds the rows of a table that train, validate or test.

    inputs: the columns that models read, as `convert_columns` returns them.
    targets: values (n,) float64, or class indices int64.
    cells: all columns, as the file has them.
    hashes: of all cells of each row, also of those that no model reads.
    lines: of each row in its file (n,); None of generated rows.
    ids: what names each row (n,), if the config names a column of ids.
    groups: a number for the group of each row (n,), if the config names a column of groups.
    """

    inputs: pd.DataFrame
    targets: Array
    cells: pd.DataFrame
    hashes: RowHashes
    lines: Array | None = None
    ids: Array | None = None
    groups: Array | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def row_names(self) -> RowNames:
        """Return the columns that name the rows, see `Predictions`."""
        columns = {"line": self.lines, "id": self.ids}
        return {
            name: list(map(str, column.tolist()))
            for name, column in columns.items()
            if column is not None
        }

    @property
    def contents(self) -> RowContents:
        """Return what identifies the rows, whichever columns a model reads."""
        return RowContents(self.hashes, self.targets)

    def take(self, indices: RowIndices) -> "TablePart":
        """Return the rows with the given indices."""
        return TablePart(
            inputs=self.inputs.iloc[indices],
            targets=self.targets[indices],
            cells=self.cells.iloc[indices],
            hashes=self.hashes[indices],
            lines=None if self.lines is None else self.lines[indices],
            ids=None if self.ids is None else self.ids[indices],
            groups=None if self.groups is None else self.groups[indices],
        )


@dataclass(frozen=True)
class Table:
    """Holds the rows of a table, and what is known of its columns.

    columns: all that models might read; some are left out.
    labels: the class names of a classification.
    encoder: how the columns are encoded, if the rows that train do not decide it.
    target_moments: mean and standard deviation of the target, likewise.
    is_series: whether the rows are in the order of time.
    """

    columns: list[Column]
    target: str
    train: TablePart
    test: TablePart
    origin: DataOrigin
    labels: list[str] | None = None
    counts: RowCounts | None = None
    encoder: TableEncoder | None = None
    target_moments: tuple[float, float] | None = None
    is_series: bool = False

    @property
    def digest(self) -> str:
        """Return a hash of all rows with their targets, equal for all models of the table."""
        parts = (self.train, self.test)
        return fingerprint_arrays(array for part in parts for array in (part.hashes, part.targets))

    def describe(self, row: int) -> dict[str, str]:
        """Return a row of the test part as `text`: its columns and cells."""
        cells = self.test.cells.iloc[row]
        names = [column.name for column in self.columns if not column.left_out]
        return {"text": ", ".join(f"{name} {cells[name]}" for name in names)}

    def show_row(self, index: int, *, is_test: bool) -> ShownRow:
        """Return the cells of a row as the file has them; its line and its target come first."""
        part = self.test if is_test else self.train
        facts = [] if part.lines is None else [("line", str(part.lines[index]))]
        cells = {str(name): str(cell) for name, cell in part.cells.iloc[index].items()}
        target = (self.target, cells.pop(self.target))
        return ShownRow([*facts, target, *cells.items()])


class RowPlaces(Sequence[str]):
    """Says of each row where it was read, such as `cars.csv:3`; the texts are made when needed."""

    def __init__(self, paths: Sequence[Path], files: Array, lines: Array) -> None:
        self._paths = paths
        self._files = files
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    @overload
    def __getitem__(self, row: int) -> str: ...

    @overload
    def __getitem__(self, row: slice) -> Sequence[str]: ...

    def __getitem__(self, row: int | slice) -> str | Sequence[str]:
        if isinstance(row, slice):
            return RowPlaces(self._paths, self._files[row], self._lines[row])
        return f"{self._paths[self._files[row]]}:{self._lines[row]}"


@dataclass(frozen=True)
class _FileRows:
    """Holds the rows of one file, or of a training and a test file, and where each was read."""

    cells: pd.DataFrame
    paths: list[Path]
    files: NDArray[np.int64]  # the number of each row's file: 0, or 1 for the test file
    lines: NDArray[np.int64]

    @classmethod
    def of_tables(cls, tables: Sequence[ReadTable]) -> "_FileRows":
        columns = tables[0].frame.columns
        return cls(
            pd.concat([table.frame[columns] for table in tables], ignore_index=True),
            [table.path for table in tables],
            np.repeat(np.arange(len(tables)), [len(table.frame) for table in tables]),
            np.concatenate([table.lines for table in tables]),
        )

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def places(self) -> "RowPlaces":
        return RowPlaces(self.paths, self.files, self.lines)

    def where(self, mask: Array) -> "_FileRows":
        cells = self.cells[mask].reset_index(drop=True)
        return _FileRows(cells, self.paths, self.files[mask], self.lines[mask])

    def values(self, name: str, kind: ColumnKind) -> "pd.Series[Any]":
        """Return a column whose kind the config decides. Raises DataError for another cell."""
        column = Column(name=name, kind=kind)
        return convert_columns(self.cells[[name]], [column], self.places)[name]

    def names_of(self, name: str, kinds: Mapping[str, ColumnKind]) -> "pd.Series[Any]":
        """Return the classes or groups that a column names; None for a row without one.

        Of a column that the config calls a category every word is a name.
        """
        column = Column(name=name, kind="category", declared=True)
        names = convert_columns(self.cells[[name]], [column])[name]
        if kinds.get(name) == "category":
            return names
        return names.where(~names.str.lower().isin(NO_CLASS), None)


def read_table_files(
    context: ReadContext[TableDataConfig | TradingDaysDataConfig],
) -> list[ReadTable]:
    """Read each of the files that make up a table.

    Raises ConfigError if a file lacks a column that the config needs, or one of the first file.
    """
    needed = dict(context.config.columns)  # by the setting or file that needs each
    tables: list[ReadTable] = []
    for path in context.paths:
        table = read_table(path, needed, context.warnings)
        tables.append(table)
        needed |= {f"column {name}": name for name in table.frame.columns}
        if table.left_out:
            named = shorten_list(table.left_out)
            context.screen.note(f"{path}: {named}: left out, as it only names the rows")
    return tables


def make_table(context: ReadContext[TableDataConfig]) -> Table:
    """Return a source's table: its rows, what its columns are, and which rows are tested."""
    config = context.config
    rows = _FileRows.of_tables(context.source.read(context))
    names = _input_columns(rows.cells.columns, context)
    in_files = len(rows)
    rows, left_out = _leave_out_rows(rows, context)
    training_file = rows.where(rows.files == 0)
    inspected = inspect_columns(
        training_file.cells[names], config.kinds, training_file.places, config.ignore
    )
    columns = inspected.columns
    inputs = inspected.rows
    if len(rows) > len(inputs):
        inputs = convert_columns(rows.cells[names], columns, rows.places)
    if inputs.columns.empty:
        problem = f"{context.origin.text}: no model can read one of its columns"
        raise DataError(problem, "; ".join(inspected.warnings))
    if config.missing == "drop":
        complete = inputs.notna().all(axis=1).to_numpy()
        if not complete.all():
            worst = inputs.isna().sum().idxmax()
            left_out[f"a gap (most in {worst})"] = int((~complete).sum())
        rows = rows.where(complete)
        inputs = inputs[complete].reset_index(drop=True)
    counts = _tell_counts(in_files, len(rows), left_out, context)
    targets, labels = _read_targets(rows, context)
    parts = RowsToDivide(
        targets=targets,
        labels=labels,
        files=rows.files,
        groups=None if config.group is None else pd.factorize(rows.cells[config.group])[0],
        times=None if config.time is None else _read_times(rows, config),
    )
    train, test = divide_into_train_and_test(parts, context)
    all_rows = TablePart(
        inputs,
        targets,
        rows.cells,
        hash_rows(rows.cells),
        lines=None if context.origin.is_generated else rows.lines,
        ids=None if config.id is None else rows.cells[config.id].to_numpy(),
        groups=parts.groups,
    )
    table = Table(
        columns,
        config.target,
        all_rows.take(train),
        all_rows.take(test),
        replace(context.origin, text=context.origin.text + _describe_rows(context, train, test)),
        labels,
        counts,
        is_series=config.time is not None,
    )
    learned = hash_rows(inputs.assign(**{"\0target": targets}))
    test_place = rows.paths[-1]
    warn_of_shared_rows(learned, test, test_place, context.warnings)
    warnings = context.warnings.lines()
    if isinstance(config, UserTableDataConfig):
        warnings += inspected.warnings
        warnings += _warn_of_giveaways(table)
        warnings += _warn_of_dates(table, config)
    for warning in warnings:
        context.screen.warn(warning)
    return table


def _input_columns(columns: Iterable[str], context: ReadContext[TableDataConfig]) -> list[str]:
    """Return the columns that models may read; at least one."""
    config = context.config
    left_out = (config.target, config.id, config.group, *config.ignore)
    names = [name for name in columns if name not in left_out]
    if not names:
        problem = f"{context.origin.text}: no column besides {config.target!r}"
        raise DataError(problem, f"data.ignore leaves out {shorten_list(config.ignore) or 'none'}")
    return names


def _leave_out_rows(
    rows: _FileRows, context: ReadContext[TableDataConfig]
) -> tuple[_FileRows, dict[str, int]]:
    """Leave out the rows without a target, group or time; return their numbers by the reason.

    Raises DataError if more than half of the rows have no group, or no time.
    """
    config = context.config
    in_files = len(rows)
    left_out: dict[str, int] = {}
    named = {"target": config.target, "group": config.group, "time": config.time}
    for key, name in named.items():
        if name is None:
            continue
        is_known = _find_known(rows, key, context.config)
        missing = int((~is_known).sum())
        if missing:
            left_out[f"no {key} ({name})"] = missing
            rows = rows.where(is_known)
        if key != "target" and missing > in_files / 2:
            problem = f"{missing:,} of {pluralize(in_files, 'row')} have no value of {name!r}"
            raise DataError(f"data.{key}: {problem}", f"data.{key} names another column")
    if not len(rows):
        problem = f"no row has a value of {config.target!r}"
        raise DataError(f"{context.origin.text}: {problem}", "data.target names another column")
    return rows, left_out


def _find_known(rows: _FileRows, key: str, config: TableDataConfig) -> Mask:
    """Return which rows have a target, a group or a time (n,); `key` says which of these."""
    name = getattr(config, key)
    is_name = key == "group" or (key == "target" and config.task == "classification")
    values = rows.names_of(name, config.kinds) if is_name else rows.values(name, "category")
    return values.notna().to_numpy(bool)


def _tell_counts(
    in_files: int, used: int, left_out: dict[str, int], context: ReadContext[TableDataConfig]
) -> RowCounts:
    """Say how many rows are left out and why; raise DataError if no row is left."""
    config = context.config
    counts = RowCounts(in_files=in_files, used=used, left_out=left_out)
    if left_out:
        text = f"{in_files - used:,} of {pluralize(in_files, 'row')} left out: {counts.reasons}"
        if not used:
            remedy = "data.missing=keep keeps rows with gaps; data.ignore leaves columns out"
            raise DataError(f"{context.origin.text}: {text}", remedy)
        unasked = in_files - used if config.missing == "keep" else 0
        show = context.screen.warn if unasked > MOST_LEFT_OUT * in_files else context.screen.note
        show(text)
    return counts


def _read_targets(
    rows: _FileRows, context: ReadContext[TableDataConfig]
) -> tuple[Array, list[str] | None]:
    """Return the values (n,), or the class indices (n,) and the names of the classes, sorted."""
    config = context.config
    if config.task == "regression":
        try:
            return rows.values(config.target, "number").to_numpy(np.float64), None
        except DataError as error:
            if isinstance(config, UserTableDataConfig):
                error.hint = (
                    "correct the cells, or predict classes: `--set data.task=classification`"
                )
            raise
    names = rows.names_of(config.target, config.kinds).str.split().str.join(" ")
    codes, found = pd.factorize(names)  # in the order of their appearance
    check_number_of_classes(list(found), len(rows), rows.paths[0])
    in_first_file = codes[rows.files == 0]
    for row in np.flatnonzero(~np.isin(codes, in_first_file))[:1].tolist():
        known = shorten_list([found[code] for code in np.unique(in_first_file)])
        problem = f"the label {cut(names[row], 40)!r} is in no row of the training part"
        raise DataError(f"{rows.places[row]}: {problem}", f"the training part has {known}")
    labels = sort_class_names(list(found))
    order = np.array([labels.index(name) for name in found])
    return order[codes], labels


def _read_times(rows: _FileRows, config: TableDataConfig) -> Array:
    """Return the times of the rows as numbers (n,). Raises ConfigError if they have no order."""
    name = config.time
    assert name is not None
    (column,) = inspect_columns(rows.cells[[name]], config.kinds, rows.places).columns
    if column.kind not in ("number", "date"):
        problem = f"data.time: the column {name!r} has neither dates nor numbers"
        raise ConfigError(problem, f"`--set 'data.kinds={{{name}: date}}'`, if it has dates")
    return rows.values(name, column.kind).to_numpy()


def hash_rows(frame: pd.DataFrame) -> RowHashes:
    """Hash the cells of each row (n,); the order of the columns does not change a hash."""
    names = sorted(frame.columns)
    hashes = pd.util.hash_pandas_object(frame[names], index=False).to_numpy()
    return hashes.view(np.int64) ^ hash_content("\0".join(names).encode("utf-8", "surrogatepass"))


def _warn_of_giveaways(table: Table) -> list[str]:
    """Warn of each column that alone gives the target of the training rows."""
    train = table.train
    found = []
    for name in train.inputs.columns:
        values = train.inputs[name]
        known = values.notna().to_numpy()
        if known.sum() < 3:
            continue
        targets = train.targets[known]
        if _gives_target(values[known], targets, is_class=table.labels is not None):
            found.append(name)
    return [
        f"column {name!r} alone gives the target {table.target!r}: if it is known only with the "
        f"target, `--set 'data.ignore=[{name}]'`"
        for name in found
    ]


def _gives_target(values: "pd.Series[Any]", targets: Array, *, is_class: bool) -> bool:
    """Return whether a number is proportional to the target, or each class has own values.

    Of a number, these may be the values between two thresholds.
    """
    if is_class:
        different = values.nunique()
        pairs = pd.DataFrame({"value": values.to_numpy(), "target": targets})
        if 1 < different <= len(values) / 2 and len(pairs.drop_duplicates()) == different:
            return True
        counts = pairs["target"].value_counts()
        if not pd.api.types.is_numeric_dtype(values) or counts.min() < ROWS_TO_JUDGE_THRESHOLDS:
            return False
        in_order = pairs.sort_values(["value", "target"])["target"]
        return 1 < len(counts) == 1 + int(in_order.diff().iloc[1:].ne(0).sum())
    if not pd.api.types.is_numeric_dtype(values) or values.nunique() < 2:
        return False
    if len(np.unique(targets)) < 2:
        return False
    return bool(abs(np.corrcoef(values, targets)[0, 1]) > GIVEAWAY)


def _warn_of_dates(table: Table, config: UserTableDataConfig) -> list[str]:
    """Warn of a date if the rows of a table are shuffled."""
    dates = [
        column.name for column in table.columns if column.kind == "date" and not column.left_out
    ]
    if not dates or config.time or config.group or config.test:
        return []
    remedy = f"`--set data.time={dates[0]}` tests the last rows"
    return [f"column {dates[0]!r} has dates, and the rows are shuffled: {remedy}"]


def _describe_rows(
    context: ReadContext[TableDataConfig], train: RowIndices, test: RowIndices
) -> str:
    """Return the target and the numbers of rows as text, without what a seed or a fold chose."""
    config = context.config
    counts = pluralize(len(train) + len(test), "row")
    if not config.chosen_fold:  # the folds of a cross-validation may differ by a row
        counts = f"{len(test):,} of {counts} for the test"
    if isinstance(config, HittersDataConfig):
        return f", {counts}"
    kind = "classes" if config.task == "classification" else "target"
    return f", {kind} {config.target}, {counts}"


def describe_table(table: Table) -> list[str]:
    """Return lines that say which rows are tested, and what each column is."""
    lines = [f"{table.origin.text}: {len(table.train):,} rows to train", ""]
    gaps = table.train.inputs.isna().sum()
    rows = [("column", "kind", "gaps", "")]
    for column in table.columns:
        number = str(gaps.get(column.name, 0) or "")
        note = f"left out: {column.left_out}" if column.left_out else ""
        rows.append((column.name, column.kind, number, note))
    return [*lines, *format_text_table(rows, left=range(4))]
