"""Find the constants of a script that a user's own files decide: how plain pandas reads them."""

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dlrun.config.data_sections import UserTableDataConfig
from dlrun.data.text_files import DataWarnings
from dlrun.data.user_data import user_data_paths
from dlrun.errors import ConfigError
from dlrun.tables.cells import TIME_ZONE, Cells
from dlrun.tables.column_kinds import Column, inspect_columns
from dlrun.tables.read_table import SEPARATORS, SPACES, read_table
from dlrun.tables.table import NO_CLASS, Table

Facts = dict[str, Any]
FORMATS = {".parquet": "parquet", ".xlsx": "excel"}
FIRST_ROWS = 100
REMEDY = "save the table as CSV in UTF-8, with a header in its first line"
# The keys of the config that only change the facts of the file.
DECIDED_BY_FACTS = frozenset(("data.task", "data.kinds", "data.ignore", "data.missing"))


def find_table_facts(table: Table, config: UserTableDataConfig) -> Facts:
    """Return what a script needs to know of the files of a table, by the keys of its constants."""
    paths = user_data_paths(config)
    frames = [read_table(path, config.columns, DataWarnings()).frame for path in paths]
    frame = pd.concat([one[frames[0].columns] for one in frames], ignore_index=True)
    inputs = [column for column in table.columns if not column.left_out]
    cells = {column.name: column.cells(frame) for column in inputs}
    no_rows: list[str] = []  # the columns without whose values a row is left out
    named = [(config.target, table.labels is not None), (config.group, True), (config.time, False)]
    gaps = {name: _find_gaps(of_column) for name, of_column in cells.items()}
    for name, is_class in named:
        if name is not None:
            only_empty = config.kinds.get(name) == "category"
            gaps[name] = _find_gaps_of_names(frame[name], only_empty=only_empty, is_class=is_class)
            no_rows += [name] * bool(gaps[name].any())
    with_gaps = [name for name in cells if gaps[name].any()]
    if config.missing == "drop":
        no_rows += [name for name in with_gaps if name not in no_rows]
        with_gaps = []
    words = {name: frame[name][~gaps[name]] for name in gaps}  # no cell of them is a gap
    texts = {name: column for name, column in words.items() if is_text(column)}
    numbers = [column.name for column in inputs if column.kind == "number"]
    dates = {column.name: column.date_format for column in inputs if column.kind == "date"}
    facts: Facts = {
        "file.format": FORMATS.get(paths[0].suffix.lower(), "csv"),
        "file.reading": {},
        "file.gaps": {
            name: sorted(set(frame[name][gaps[name]].dropna()))
            for name in gaps
            if gaps[name].any()
        },
        "file.needed": no_rows,
        "file.with_gaps": with_gaps,
        "file.with_blanks": [
            name
            for name, column in texts.items()
            if name != config.group and name not in numbers and (column != column.str.strip()).any()
        ],
        "file.with_units": [
            name
            for name in [*numbers, config.target]
            if name in texts and (table.labels is None or name in numbers)
            if not _are_plain_numbers(texts[name])
        ],
        "file.with_zones": [
            name for name in dates if name in texts and texts[name].str.contains(TIME_ZONE).any()
        ],
        "file.numbers": numbers,
        "file.categories": [column.name for column in inputs if column.kind == "category"],
        "file.texts": [column.name for column in inputs if column.kind == "text"],
        "file.booleans": {
            column.name: _find_booleans(words[column.name], cells[column.name], gaps[column.name])
            for column in inputs
            if column.kind == "boolean"
        },
        "file.dates": dates,
        "file.time_format": _find_time_format(frame, config, [*numbers, *dates]),
        "file.classes": table.labels or [],
    }
    if facts["file.format"] != "parquet":
        facts["file.reading"] = find_reading(paths, frames, facts["file.format"])
    return facts


def is_text(column: "pd.Series[Any]") -> bool:
    """Return whether the cells of a column are texts, as those of a CSV file."""
    return bool(column.map(lambda cell: isinstance(cell, str)).all())


def _find_gaps(cells: Cells) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """Return which cells of a column have no value (n,)."""
    return cells.codes < 0


def _find_gaps_of_names(
    column: "pd.Series[Any]", *, only_empty: bool, is_class: bool
) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """Return which rows have no target, group or time (n,), as `make_table` does."""
    cells = Cells(column, only_empty_is_gap=is_class)
    no_value = cells.codes < 0
    if not is_class or only_empty:
        return no_value
    words = pd.Series(cells.values, dtype=object).str.lower()
    return no_value | words.isin(NO_CLASS).to_numpy()


def _are_plain_numbers(words: "pd.Series[Any]") -> bool:
    """Return whether Python reads all words as numbers."""
    try:
        return bool(np.isfinite(words.astype(float)).all())
    except ValueError:
        return False


def _find_booleans(
    words: "pd.Series[Any]", cells: Cells, gaps: "np.ndarray[Any, np.dtype[np.bool_]]"
) -> dict[object, int]:
    """Return 1 or 0 for each word of a column of booleans."""
    values = cells.booleans[~gaps].astype(int)
    return dict(zip(words.tolist(), values.tolist(), strict=True))


def _find_time_format(
    frame: pd.DataFrame, config: UserTableDataConfig, inputs: Sequence[str]
) -> str | None:
    """Return how the times of rows are read, if the column is no input that is read anyway."""
    if config.time is None or config.time in inputs:
        return None
    places = [""] * len(frame)
    (column,) = inspect_columns(frame[[config.time]], config.kinds, places).columns
    return column.date_format if column.kind == "date" else "number"


def find_reading(paths: Sequence[Path], frames: Sequence[pd.DataFrame], file_format: str) -> Facts:
    """Return the arguments with which pandas reads the same cells of the files as dlrun.

    Raises ConfigError if there are none.
    """
    read = pd.read_excel if file_format == "excel" else pd.read_csv
    for arguments in _possible_arguments(list(frames[0].columns), file_format):
        if all(
            _reads_same(read, path, frame, arguments)
            for path, frame in zip(paths, frames, strict=True)
        ):
            return {name: value for name, value in arguments.items() if name in SHOWN}
    raise ConfigError(f"{paths[0]}: plain pandas does not read it as dlrun does", REMEDY)


SHOWN = ("sep", "encoding", "skiprows", "skipinitialspace", "header", "names", "index_col")
