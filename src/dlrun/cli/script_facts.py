"""Find the constants of a script that a user's own table decides, and check that they are right."""

import itertools
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from dlrun.config.data_sections import DataConfig, UserTableDataConfig
from dlrun.data.splits import Mask
from dlrun.data.text_files import DataWarnings
from dlrun.data.user_data import user_data_paths
from dlrun.errors import ConfigError
from dlrun.tables.cells import TIME_ZONE, Cells, Series
from dlrun.tables.column_kinds import inspect_columns
from dlrun.tables.read_table import SEPARATORS, SPACES, ReadTable, read_table
from dlrun.tables.table import NO_CLASS, Table, TablePart

Facts = dict[str, Any]
FORMATS = {".parquet": "parquet", ".xlsx": "excel"}
FIRST_ROWS = 100  # they tell quickly that arguments of pandas are not the right ones
REMEDY = "save the table as CSV in UTF-8, with its header in the first line"
# These keys of the config only change the facts of the file, and the last one nothing if the
# script has no constant for it: its model standardises the columns, or is of trees.
DECIDED_BY_FACTS = frozenset(
    ("data.task", "data.kinds", "data.ignore", "data.missing", "data.standardise")
)


@dataclass(frozen=True)
class _Column:
    """Holds the cells of a column in all files, and which of them have no value (n,)."""

    cells: Series
    is_gap: Mask

    @property
    def words(self) -> Series:
        return self.cells[~self.is_gap]

    @property
    def are_texts(self) -> bool:
        return bool(self.words.map(lambda word: isinstance(word, str)).all())

    @property
    def gaps(self) -> list[str]:
        """The different texts that stand for no value."""
        return sorted(set(self.cells[self.is_gap].dropna()))

    @property
    def has_blanks(self) -> bool:
        return self.are_texts and bool((self.words != self.words.str.strip()).any())

    @property
    def has_zones(self) -> bool:
        return self.are_texts and any(re.search(TIME_ZONE, word) for word in self.words)

    @property
    def has_units(self) -> bool:
        """Whether Python does not read the words of a column of numbers."""
        try:
            return not np.isfinite(self.words.astype(float)).all()
        except ValueError:
            return True


def find_facts(data: Table, config: DataConfig) -> Facts:
    """Return what a script needs to know of the user's files, by the keys of its constants."""
    assert isinstance(config, UserTableDataConfig)
    return find_table_facts(data, config)


def find_table_facts(table: Table, config: UserTableDataConfig) -> Facts:
    """Return what a script needs to know of a table's files, by the keys of its constants.

    Raises ConfigError if plain pandas does not read the files as dlrun does.
    """
    files = [read_table(path, config.columns, DataWarnings()) for path in user_data_paths(config)]
    frame = pd.concat([file.frame[files[0].frame.columns] for file in files], ignore_index=True)
    inputs = [column for column in table.columns if not column.left_out]
    of_kind = {
        kind: [column for column in inputs if column.kind == kind]
        for kind in ("number", "category", "boolean", "date", "text")
    }
    names = {kind: [column.name for column in columns] for kind, columns in of_kind.items()}
    columns = {
        column.name: _Column(frame[column.name], column.cells(frame).codes < 0) for column in inputs
    }
    named = [name for name in (config.target, config.group, config.time) if name is not None]
    for name in named:
        columns[name] = _Column(frame[name], _is_unnamed(frame[name], name, table, config))
    with_gaps = [column.name for column in inputs if columns[column.name].is_gap.any()]
    needed = [name for name in named if columns[name].is_gap.any()]
    if config.missing == "drop":
        needed = list(dict.fromkeys([*needed, *with_gaps]))
        with_gaps = []
    of_numbers = names["number"] if table.labels else [*names["number"], config.target]
    file_format = FORMATS.get(files[0].path.suffix.lower(), "csv")
    return {
        "file.format": file_format,
        "file.reading": {} if file_format == "parquet" else _find_reading(files, file_format),
        "file.gaps": {name: columns[name].gaps for name in columns if columns[name].is_gap.any()},
        "file.needed": needed,
        "file.with_gaps": with_gaps,
        "file.with_blanks": [
            name
            for name in columns
            if name not in (*of_numbers, config.group) and columns[name].has_blanks
        ],
        "file.with_units": [name for name in of_numbers if columns[name].has_units],
        "file.with_zones": [name for name in names["date"] if columns[name].has_zones],
        "file.numbers": names["number"],
        "file.categories": names["category"],
        "file.texts": names["text"],
        "file.booleans": {
            column.name: _find_booleans(columns[column.name].words) for column in of_kind["boolean"]
        },
        "file.dates": {column.name: column.date_format for column in of_kind["date"]},
        "file.time_format": _find_time_format(frame, config, names["number"] + names["date"]),
        "file.classes": table.labels or [],
    }


def _is_unnamed(cells: Series, name: str, table: Table, config: UserTableDataConfig) -> Mask:
    """Return which rows have no target, group or time, and are left out (n,)."""
    is_name = name == config.group or (name == config.target and table.labels is not None)
    read = Cells(cells, only_empty_is_gap=is_name)
    if not is_name or config.kinds.get(name) == "category":
        return read.codes < 0
    is_no_class = np.array([word.lower() in NO_CLASS for word in read.words], bool)
    is_unnamed: Mask = np.append(is_no_class, True)[read.codes]  # the code of a gap is -1
    return is_unnamed


def _find_booleans(words: Series) -> dict[object, int]:
    """Return 1 or 0 for each word of a column of booleans."""
    values = Cells(words).booleans.astype(int)
    return dict(zip(words.tolist(), values.tolist(), strict=True))


def _find_time_format(
    frame: pd.DataFrame, config: UserTableDataConfig, inputs: Sequence[str]
) -> str | None:
    """Return the form of the times by which rows are divided, if no model reads the column."""
    if config.time is None or config.time in inputs:
        return None
    places = [""] * len(frame)
    (column,) = inspect_columns(frame[[config.time]], config.kinds, places).columns
    return "number" if column.kind == "number" else column.date_format


def _find_reading(files: Sequence[ReadTable], file_format: str) -> Facts:
    """Return the arguments with which pandas reads the same cells as dlrun.

    Raises ConfigError if there are none.
    """
    read = pd.read_excel if file_format == "excel" else pd.read_csv
    for arguments in _possible_arguments(files[0], file_format):
        if all(_reads_same(read, file, arguments) for file in files):
            return arguments
    raise ConfigError(f"{files[0].path}: plain pandas does not read it as dlrun does", REMEDY)


def _possible_arguments(file: ReadTable, file_format: str) -> Iterator[Facts]:
    """Yield the arguments of pandas by which a table may be read, the simplest first."""
    before_rows = int(file.lines[0]) - 1
    names = list(file.frame.columns)
    if "column 1 (no name)" in file.left_out:
        names.insert(0, "name of the row")
    ways: list[Facts] = [{}, {"skipinitialspace": True}, {"skiprows": before_rows - 1}]
    ways.append({"header": None, "names": names, "skiprows": before_rows, "skipinitialspace": True})
    if file_format == "excel":
        yield from ways[::2]
        return
    separators = [r"\s+" if separator == SPACES else separator for separator in SEPARATORS]
    for way, encoding, separator in itertools.product(
        ways, ("utf-8", "cp1252", "utf-16"), separators
    ):
        coding = {} if encoding == "utf-8" else {"encoding": encoding}
        yield {"sep": separator, **coding, **way}


def _reads_same(read: Any, file: ReadTable, arguments: Facts) -> bool:
    """Return whether pandas reads the cells of a file as dlrun does, the first rows first."""
    for rows in (FIRST_ROWS, None):
        expected = file.frame.iloc[:rows]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of arguments that are not the right ones
                found = read(file.path, dtype=str, keep_default_na=False, nrows=rows, **arguments)
            found = found[expected.columns]
        except (ValueError, KeyError):
            return False
        is_same = isinstance(found.index, pd.RangeIndex) and found.shape == expected.shape
        if not is_same or (read is pd.read_csv and not (found == expected).all(axis=None)):
            return False
    return True


def check_script_reads_data(script: str, table: Table) -> None:
    """Raise ConfigError unless a script has the same rows, with the same values, as dlrun."""
    module = ModuleType("script")
    exec(script, vars(module))  # noqa: S102 # a shipped script with the values of a config
    problem = f"{table.origin.text}: the script would read or divide the rows otherwise"
    try:
        parts = module.load()
    except Exception as error:
        raise ConfigError(f"{problem}: {error}", REMEDY) from error
    for rows, part in zip(parts, (table.train, table.test), strict=True):
        for column in _differing_columns(rows, part, table.target):
            raise ConfigError(f"{problem}: column {column!r}", REMEDY)


def _differing_columns(rows: pd.DataFrame, part: TablePart, target: str) -> Iterator[str]:
    """Yield the columns in which the rows of a script differ from those of dlrun."""
    expected = part.inputs.assign(**{target: part.targets}).reset_index(drop=True)
    for name in expected:
        ours, theirs = rows[name].reset_index(drop=True), expected[name]
        if len(ours) != len(theirs) or not ((ours == theirs) | (ours.isna() & theirs.isna())).all():
            yield str(name)
