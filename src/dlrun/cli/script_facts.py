"""Find the constants of a script that a user's own files decide, and check what it reads."""

import itertools
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from dlrun.config.data_sections import UserDataConfig, UserTableDataConfig, UserTextsDataConfig
from dlrun.data.array_cache import Array
from dlrun.data.labelled_texts import ReviewPart, Reviews
from dlrun.data.small_images import LabelledImages, SmallImages
from dlrun.data.splits import Mask, hash_content
from dlrun.data.text_encoding import split_words
from dlrun.data.text_files import DataWarnings, open_csv_table, read_text_file
from dlrun.data.user_data import list_files, user_data_paths
from dlrun.errors import ConfigError, DataError, first_line
from dlrun.tables.cells import TIME_ZONE, WHOLE_WITH_DECIMAL, Cells, Series
from dlrun.tables.column_kinds import inspect_columns
from dlrun.tables.read_table import SEPARATORS, SPACES, ReadTable, read_table
from dlrun.tables.table import NO_CLASS, Table, TablePart

Facts = dict[str, Any]
OwnData: TypeAlias = Table | Reviews | SmallImages
FORMATS = {".parquet": "parquet", ".xlsx": "excel"}
FIRST_ROWS = 100  # they tell quickly that arguments of pandas are not the right ones
ENCODINGS = ("utf-8", "cp1252", "utf-16")
REMEDY = "save the table as CSV in UTF-8, with its header in the first line"


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
    def has_decimals(self) -> bool:
        """Whether words are whole numbers with a decimal, which dlrun reads as without."""
        return self.are_texts and any(re.fullmatch(WHOLE_WITH_DECIMAL, word) for word in self.words)

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


def find_facts(data: OwnData, config: UserDataConfig) -> Facts:
    """Return what a script needs to know of the user's files, by the keys of its constants.

    Raises ConfigError if plain Python does not read the files as dlrun does.
    """
    if isinstance(data, Table):
        assert isinstance(config, UserTableDataConfig)
        return _find_table_facts(data, config)
    if isinstance(data, Reviews):
        assert isinstance(config, UserTextsDataConfig)
        return _find_text_facts(data, config)
    return {"file.classes": data.names}


def _find_table_facts(table: Table, config: UserTableDataConfig) -> Facts:
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
        "file.with_decimals": [
            name
            for name in columns
            if name not in (*of_numbers, *names["text"], config.group)
            and columns[name].has_decimals
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


def _find_text_facts(texts: Reviews, config: UserTextsDataConfig) -> Facts:
    paths = user_data_paths(config)
    facts: Facts = {"file.format": "folder", "file.classes": texts.labels}
    if not paths[0].is_dir():
        files = [_read_texts(path, config) for path in paths]
        return facts | {"file.format": "csv", "file.reading": _find_reading(files, "csv")}
    for encoding in ENCODINGS:
        if all(_decodes_same(file, encoding) for path in paths for file in list_files(path)):
            facts["file.encoding"] = encoding
            return facts
    raise ConfigError(f"{paths[0]}: its files have several encodings", "save them in UTF-8")


def _read_texts(path: Path, config: UserTextsDataConfig) -> ReadTable:
    """Read the columns that a config names of a CSV file with texts."""
    _, rows = open_csv_table(path, config.columns, DataWarnings())
    cells, places = zip(*rows, strict=True)
    lines = np.array([place.line for place in places])
    return ReadTable(path, pd.DataFrame(cells)[list(config.columns.values())], lines, [])


def _decodes_same(file: Path, encoding: str) -> bool:
    try:
        return file.read_bytes().decode(encoding) == read_text_file(file)
    except (OSError, UnicodeDecodeError, DataError):
        return False


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
    for way, encoding, separator in itertools.product(ways, ENCODINGS, separators):
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


def check_script_reads_data(script: str, data: OwnData) -> None:
    """Raise ConfigError unless a script has the same rows, with the same values, as dlrun."""
    module = ModuleType("script")
    exec(script, vars(module))  # noqa: S102 # a shipped script with the values of a config
    problem = f"{data.origin.text}: the script would read or divide the rows otherwise"
    try:
        parts = module.load()
    except Exception as error:
        raise ConfigError(f"{problem}: {first_line(error)}", _remedy(data)) from error
    for rows, part in zip(parts, (data.train, data.test), strict=True):
        difference = _find_difference(rows, part, data)
        if difference is not None:
            raise ConfigError(f"{problem}: {difference}", _remedy(data))


def _remedy(data: OwnData) -> str:
    return REMEDY if isinstance(data, Table) else "leave out the files of which dlrun warns"


def _find_difference(
    rows: pd.DataFrame, part: TablePart | ReviewPart | LabelledImages, data: OwnData
) -> str | None:
    """Say what differs in the rows of a script and in those of dlrun; None if nothing does."""
    if len(rows) != len(part):
        return f"{len(rows):,} rows, not {len(part):,}"
    if isinstance(part, TablePart):
        assert isinstance(data, Table)
        ours = rows.reset_index(drop=True)
        theirs = part.inputs.assign(**{data.target: part.targets}).reset_index(drop=True)
        for name in theirs:
            both_gaps = ours[name].isna() & theirs[name].isna()
            if not ((ours[name] == theirs[name]) | both_gaps).all():
                return f"column {name!r}"
        return None
    if not np.array_equal(rows["y"], part.labels):
        return "the classes"
    hash_row = _hash_image if isinstance(part, LabelledImages) else _hash_text
    contents = rows["pixels"] if isinstance(part, LabelledImages) else rows["text"]
    is_same = np.array_equal([hash_row(content) for content in contents], part.hashes)
    return None if is_same else "the contents"


def _hash_image(pixels: Array) -> int:
    return hash_content(pixels.tobytes())


def _hash_text(text: str) -> int:
    return hash_content((" ".join(split_words(text)) or text).encode())
