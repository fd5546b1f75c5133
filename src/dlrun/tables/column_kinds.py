"""Find out what each column of a table is: numbers, categories, booleans, dates or texts."""

import math
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel

from dlrun.config.data_sections import ColumnKind
from dlrun.config.yaml_loader import format_override
from dlrun.errors import DataError, ErrorCollector
from dlrun.system.text import cut, shorten_list
from dlrun.tables.cells import BOOLEAN_VALUES, BOOLEANS, ISO, LARGEST, Cells, Series, read_dates

MOST_CATEGORIES = 100  # different words of a column that are categories unasked
MOST_LEVELS = 255  # of a category, as scikit-learn's HistGradientBoosting takes
MOST_PROBLEMS = 10  # shown

# A column of which so large a share of the words is different names the rows.
NAMES_SHARE = 0.95
# More categories than usual have so large a share of different words at most.
MOST_SHARE = 0.25
MOST_WORDS_OF_NAME = 3  # in the median of a column

# A word of a text is read if so many rows have it.
LEAST_TEXT_ROWS = 5
LEAST_TEXT_SHARE = 0.01
TEXT_WORD = r"\w+"

NUMBER_WITH_COMMA = r"[-+]?(\d+,\d+|\d{1,3}(,\d{3})+(\.\d+)?|\d{1,3}(\.\d{3})+,\d+)"
NO_NUMBER = f"is no number (such as 1851.5, up to {LARGEST:g})"
WRITTEN_WITH_COMMA = "is a number with a comma: write numbers such as 1851.5"
NO_BOOLEAN = f"is no boolean ({', '.join(BOOLEAN_VALUES)})"


class Column(BaseModel, frozen=True):
    """Describes a column of a table, and what is made of it.

    left_out: why no model reads it; empty if models do.
    date_format: of a date's text, in the words of strptime, or `ISO8601` (2003-09-19 12:00).
    true_word: how the table writes the 1 of a boolean, such as `Yes`.
    declared: whether the config says its kind. Of a declared category only an empty cell is a gap.
    """

    name: str
    kind: ColumnKind
    date_format: str | None = None
    true_word: str = "True"
    declared: bool = False
    left_out: str = ""

    def cells(self, frame: pd.DataFrame) -> Cells:
        """Return the cells that the column has in a frame."""
        only_empty_is_gap = self.declared and self.kind == "category"
        return Cells(frame[self.name], only_empty_is_gap=only_empty_is_gap)


@dataclass(frozen=True)
class InspectedColumns:
    """Holds the columns of a table, and the warnings about them, each with words to paste.

    rows: the table as `convert_columns` returns it, so that it is converted only once.
    """

    columns: list[Column]
    rows: pd.DataFrame
    warnings: list[str] = field(default_factory=list)


def inspect_columns(
    frame: pd.DataFrame,
    kinds: Mapping[str, ColumnKind],
    places: Sequence[str],
    ignore: Sequence[str] = (),
) -> InspectedColumns:
    """Find out what each column is.

    frame: the columns that a model may read, as `read_table` returns them.
    kinds: what the config says of some columns (`data.kinds`).
    places: the place of each row, such as `cars.csv:3`, for errors.
    ignore: the columns that the config leaves out (`data.ignore`), for the words to paste.

    Raises DataError with all that is wrong in the columns.
    """
    columns: list[Column] = []
    values: dict[str, Series] = {}
    remarks: list[Remark] = []
    collector = ErrorCollector()
    for name in frame.columns:
        with collector.collected():
            column, cells = _find_column(frame, name, kinds.get(name), places)
            values[name] = _convert(column, cells, places)
            remark = _find_remark(column, cells, values[name])
            if remark:
                remarks.append(remark)
            if remark and remark.is_left_out:
                column = column.model_copy(update={"left_out": remark.text})
                del values[name]
            columns.append(column)
    valid = {column.name for column in columns}
    faulty = [name for name in frame.columns if name not in valid]
    _raise_errors(collector, faulty, kinds, ignore)
    rows = pd.DataFrame(values, index=frame.index)
    return InspectedColumns(columns, rows, _describe_remarks(remarks, kinds, ignore))


def convert_columns(
    frame: pd.DataFrame, columns: Sequence[Column], places: Sequence[str] = ()
) -> pd.DataFrame:
    """Return the columns of a frame by their kinds, without those that are left out.

    Numbers and booleans are float64 (NaN: no value), dates datetime64, categories and texts str
    (None: no value). Raises DataError, which names the column, for a cell that has another kind.

    places: the place of each row, such as `cars.csv:3`, for errors.
    """
    values: dict[str, Series] = {}
    collector = ErrorCollector()
    for column in columns:
        if not column.left_out:
            with collector.collected():
                values[column.name] = _convert(column, column.cells(frame), places)
    collector.raise_all(most=MOST_PROBLEMS)
    return pd.DataFrame(values, index=frame.index)


def _find_column(
    frame: pd.DataFrame, name: str, declared: ColumnKind | None, places: Sequence[str]
) -> tuple[Column, Cells]:
    """Find out what a column is. Raises DataError if it is nothing that a model could read."""
    if declared:
        column = Column(name=name, kind=declared, declared=True)
        cells = column.cells(frame)
    else:
        cells = Cells(frame[name])
        column = Column(
            name=name, kind=_kind_of_type(frame[name]) or _kind_of_texts(name, cells, places)
        )
    if column.kind == "date" and not cells.has_dates:
        column = column.model_copy(update={"date_format": cells.date_format})
    if column.kind == "boolean":
        true_words = [word for word in cells.words if BOOLEAN_VALUES.get(word.lower()) == 1]
        column = column.model_copy(update={"true_word": min(true_words, default="True")})
    return column, cells


def _kind_of_type(column: Series) -> ColumnKind | None:
    """Return the kind that the type of a column says; None for texts."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return "category"
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return "date"
    if pd.api.types.is_bool_dtype(dtype):
        return "boolean"
    return "number" if pd.api.types.is_numeric_dtype(dtype) else None


def _kind_of_texts(name: str, cells: Cells, places: Sequence[str]) -> ColumnKind:
    """Find out the kind of a column by its cells.

    Raises DataError for a few words among numbers, and for numbers with commas.
    """
    is_word = np.isinf(cells.numbers)
    if not cells.are_codes:
        if not is_word.any():
            return "number"
        if {word.lower() for word in cells.words} in [set(words) for words in BOOLEANS]:
            return "boolean"
        if cells.date_format:
            return "date"
        if cells.words_all_match(NUMBER_WITH_COMMA):
            _raise_for(name, cells, is_word, WRITTEN_WITH_COMMA, places)
        if is_word.sum() < (cells.codes >= 0).sum() / 2:
            _raise_for(name, cells, is_word, NO_NUMBER, places)
    if len(cells.words) <= MOST_CATEGORIES:
        return "category"
    # Many shops or towns have a few words each, and each is in several rows.
    is_repeated = len(cells.words) <= MOST_SHARE * (cells.codes >= 0).sum()
    return "category" if is_repeated and _are_short(pd.Series(cells.words)) else "text"


def _convert(column: Column, cells: Cells, places: Sequence[str]) -> Series:
    """Return the values of a column. Raises DataError for a cell of another kind."""
    name = column.name
    index = cells.column.index
    match column.kind:
        case "number":
            _raise_for(name, cells, np.isinf(cells.numbers), NO_NUMBER, places)
            return pd.Series(cells.numbers, index)
        case "boolean":
            _raise_for(name, cells, np.isinf(cells.booleans), NO_BOOLEAN, places)
            return pd.Series(cells.booleans, index)
        case "date":
            dates = cells.dates(column.date_format)
            example = column.date_format or ISO
            problem = f"is no date (such as {'2003-09-19' if example == ISO else example})"
            _raise_for(name, cells, np.isnat(dates) & (cells.codes >= 0), problem, places)
            return pd.Series(dates, index)
        case "category" | "text":
            return pd.Series(cells.values, index, dtype="object")
        case other:
            assert_never(other)


def _raise_for(
    name: str, cells: Cells, faulty: NDArray[np.bool_], problem: str, places: Sequence[str]
) -> None:
    """Raise DataError with the first faulty cell of a column, if there is one."""
    count = int(faulty.sum())
    if not count:
        return
    row = int(np.argmax(faulty))
    cell = cut(cells.texts[row].strip(), 40)
    place = f"{places[row]}: " if places else ""
    more = f", nor {count - 1:,} more" if count > 1 else ""
    raise DataError(f"{place}column {name!r}: {cell!r} {problem}{more}")


def _raise_errors(
    collector: ErrorCollector,
    faulty: Sequence[str],
    kinds: Mapping[str, ColumnKind],
    ignore: Sequence[str],
) -> None:
    """Raise all errors of columns as one, with the words to paste that leave these columns out."""
    hint = f"correct the columns, or leave them out: `{_set('data.ignore', [*ignore, *faulty])}`"
    categories = [name for name in faulty if name not in kinds]
    if categories:
        declared = {**kinds, **dict.fromkeys(categories, "category")}
        hint += f"; `{_set('data.kinds', declared)}` reads their cells as categories"
    for error in collector.errors:
        error.hint = hint
    collector.raise_all(most=MOST_PROBLEMS)


@dataclass(frozen=True)
class Remark:
    """Says of a column what a user should know.

    instead: the kind that the config may declare, so that the column is read without a remark.
    """

    column: str
    text: str
    is_left_out: bool = True
    instead: ColumnKind | None = None


def _find_remark(column: Column, cells: Cells, values: Series) -> Remark | None:
    """Find out whether a column has no use, names the rows, or could be read otherwise."""
    present = values.dropna()
    if present.empty:
        return Remark(column.name, "no row has a value")
    if len(present) == len(values) and (present == present.iloc[0]).all():
        return Remark(column.name, "all rows have the same value")
    match column.kind:
        case "number":
            return _remark_on_numbers(column, present, len(values))
        case "category":
            return _remark_on_category(column, present)
        case "text":
            return _remark_on_texts(column, present)
        case "date" | "boolean":
            return _remark_on_dates(column, cells)
        case other:
            assert_never(other)


def _remark_on_numbers(column: Column, present: Series, rows: int) -> Remark | None:
    """Find numbers that are those from some number on, each once, in any order."""
    if column.declared or present.max() - present.min() != rows - 1:
        return None
    if present.nunique() < rows or not np.array_equal(present, np.floor(present)):
        return None
    text = "read, although its numbers only count the rows"
    return Remark(column.name, text, is_left_out=False, instead="number")


def _remark_on_category(column: Column, present: Series) -> Remark | None:
    """Find categories that name the rows, or that are too many."""
    different = present.nunique()
    if not column.declared and different >= NAMES_SHARE * len(present):
        return Remark(column.name, "nearly every value is there only once", instead="category")
    if different > MOST_LEVELS:
        text = f"only the {MOST_LEVELS} most frequent of {different:,} values are levels"
        return Remark(column.name, text, is_left_out=False, instead="text")
    return None


def _remark_on_texts(column: Column, present: Series) -> Remark | None:
    """Find short texts that name the rows, and texts without a frequent word."""
    different = present.nunique()
    least = least_rows_of_text_word(len(present))
    instead: ColumnKind | None = "text" if _has_frequent_word(present, least) else None
    is_short = _are_short(present)
    if not column.declared and is_short and different >= NAMES_SHARE * len(present):
        return Remark(column.name, "nearly every value is there only once", instead=instead)
    if not instead:
        return Remark(column.name, f"no word of its texts is in {least:,} rows")
    return None


def _are_short(texts: Series) -> bool:
    """Return whether texts have few words, as names do."""
    return bool(texts.str.count(r"\S+").median() <= MOST_WORDS_OF_NAME)


def least_rows_of_text_word(rows: int) -> int:
    """Return how many of the rows must have a word of a text, so that models read the word."""
    return max(LEAST_TEXT_ROWS, math.ceil(LEAST_TEXT_SHARE * rows))


def words_of_text(text: str) -> set[str]:
    """Return the different words of a text in small letters."""
    return set(re.findall(TEXT_WORD, text.lower()))


def _has_frequent_word(texts: Series, least: int) -> bool:
    """Return whether a word is in so many texts; usually the first texts say that one is."""
    rows_by_word: Counter[str] = Counter()
    for text in texts:
        words = words_of_text(text)
        rows_by_word.update(words)
        if any(rows_by_word[word] >= least for word in words):
            return True
    return False


def _remark_on_dates(column: Column, cells: Cells) -> Remark | None:
    """Find dates whose days and months could all be exchanged."""
    month_first = column.date_format or ""
    day_first = re.sub("^%m(.)%d", r"%d\1%m", month_first)
    if day_first == month_first:
        return None
    dates = read_dates(cells.words, month_first)
    other_dates = read_dates(cells.words, day_first)
    is_other = dates != other_dates
    if np.isnat(other_dates).any() or not is_other.any():
        return None
    first = int(np.argmax(is_other))
    example = f"{cells.words[first]} is read as {dates[first].astype('M8[D]')}, the month first"
    text = f"{example}; if the day is first, write {other_dates[first].astype('M8[D]')}"
    return Remark(column.name, text, is_left_out=False)


def _describe_remarks(
    remarks: Sequence[Remark], kinds: Mapping[str, ColumnKind], ignore: Sequence[str]
) -> list[str]:
    """Write a warning for all columns with the same remark.

    The words to paste leave out all columns that have been left out, so that one paste is enough.
    """
    left_out = [remark.column for remark in remarks if remark.is_left_out]
    warnings: list[str] = []
    for text in dict.fromkeys(remark.text for remark in remarks):
        same = [remark for remark in remarks if remark.text == text]
        names = [remark.column for remark in same]
        columns = f"column {names[0]!r}" if len(names) == 1 else f"columns {shorten_list(names)}"
        because = "left out, because " if same[0].is_left_out else ""
        ignored = [*ignore, *dict.fromkeys([*left_out, *names])]
        remedy = f"`{_set('data.ignore', ignored)}` leaves out without this warning"
        instead = {remark.column: remark.instead for remark in same if remark.instead}
        if instead:
            remedy += f", `{_set('data.kinds', {**kinds, **instead})}` reads without it"
        warnings.append(f"{columns}: {because}{text}; {remedy}")
    return warnings


def _set(key: str, value: object) -> str:
    """Write words to paste for a key of the config."""
    return f"--set {shlex.quote(format_override(key, value))}"
