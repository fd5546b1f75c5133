"""Find out what each column of a table is: numbers, categories, booleans, dates or texts."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel

from dlrun.config.data_sections import ColumnKind
from dlrun.config.yaml_loader import format_override
from dlrun.errors import DataError, ErrorCollector
from dlrun.system.text import cut, pluralize

GAPS = frozenset(("", "na", "n/a", "nan", "null", "none", "?", ".", "-"))  # in small letters
MOST_LEVELS = 100  # a column with more different words has texts
MOST_PROBLEMS = 10  # shown
LARGEST = 1e19  # number: the square of a larger one is infinite in single precision
NEARLY_ALL = 0.95  # if so many of a column's words are different, they name the rows
FEW_ROWS = 10  # with at most so many different words, a column does not name the rows
WORDS_OF_A_NAME = 3  # a text of more words is no name
NUMBER_WITH_COMMA = r"[-+]?(\d+,\d+|\d{1,3}(,\d{3})+(\.\d+)?|\d{1,3}(\.\d{3})+,\d+)"
ZERO_IN_FRONT = r"0\d+"
BOOLEANS = (("false", "true"), ("no", "yes"), ("f", "t"), ("n", "y"))
ISO = "ISO8601"  # as pandas calls every form such as 2003-09-19 or 2003-09-19T12:00
# Dates in other forms. Of two that all cells may have, the first is taken, with a warning.
DATE_FORMATS = (
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%Y-%m",
    "%Y/%m",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%m-%d-%Y",
    "%d-%m-%Y",
    "%d.%m.%Y",
    "%m/%d/%y",
    "%d/%m/%y",
    "%d.%m.%y",
    "%d-%b-%y",
    "%d-%b-%Y",
    "%d %b %Y",
    "%d %B %Y",
    "%b %d %Y",
    "%b %d, %Y",
    "%B %d, %Y",
    "%b %Y",
    "%B %Y",
    "%b-%y",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M:%S",
)
COMPACT_DATE = "%Y%m%d"  # only of a column that the config calls a date

Cells: TypeAlias = "pd.Series[Any]"
PlaceOfRow: TypeAlias = Callable[[int], str]
Mask = NDArray[np.bool_]


class Column(BaseModel, frozen=True):
    """Describes a column of a table.

    date_format: the form of a date's text, as pandas.to_datetime takes it.
    true_word: the word of a boolean that counts as 1.
    only_empty_is_gap: whether words such as NA are values too.
    left_out: why no model reads the column; empty if models do.
    """

    name: str
    kind: ColumnKind
    date_format: str = ISO
    true_word: str = ""
    only_empty_is_gap: bool = False
    left_out: str = ""


@dataclass(frozen=True)
class InspectedColumns:
    """Holds the columns of a table, and the warnings about them."""

    columns: list[Column]
    warnings: list[str]


def inspect_columns(
    frame: pd.DataFrame,
    kinds: Mapping[str, ColumnKind],
    place_of: PlaceOfRow,
    ignored: Sequence[str] = (),
) -> InspectedColumns:
    """Find out what each column is.

    frame: the columns that a model may read, as `read_table` returns them.
    kinds: what the config says of some columns (`data.kinds`).
    place_of: returns the place of a row by its index, such as `cars.csv:3`, for errors.
    ignored: the columns that the config leaves out already.

    Raises DataError with all that is wrong in the columns.
    """
    columns: list[Column] = []
    warnings: list[str] = []
    collector = ErrorCollector()
    for name in frame.columns:
        with collector.collected():
            columns.append(_inspect_column(frame[name], kinds.get(name), place_of, warnings))
    faulty = [name for name in frame.columns if name not in {column.name for column in columns}]
    for error in collector.errors:
        error.hint = f"correct the columns, or leave them out: {_ignore([*ignored, *faulty])}"
    collector.raise_all(most=MOST_PROBLEMS)
    if left_out := [column.name for column in columns if column.left_out]:
        warnings += [
            f"column {column.name!r} is left out: {column.left_out}"
            for column in columns
            if column.left_out
        ]
        warnings[-1] += f"; {_ignore([*ignored, *left_out])} says so without a warning"
    return InspectedColumns(columns, warnings)


def convert_columns(
    frame: pd.DataFrame, columns: Sequence[Column], place_of: PlaceOfRow
) -> pd.DataFrame:
    """Return the columns that models read, by their kinds.

    Numbers and booleans are float64 (NaN: a gap), dates datetime64, categories and texts str
    (None: a gap). Raises DataError, with its place, for a cell that has another kind.
    """
    converted: dict[str, Cells] = {}
    for column in columns:
        if column.left_out:
            continue
        values, is_faulty = _convert(frame[column.name], column)
        for row in np.flatnonzero(is_faulty)[:1].tolist():
            problem = _describe_faulty(column, str(frame[column.name].iloc[row]))
            more = f", nor {is_faulty.sum() - 1:,} more" if is_faulty.sum() > 1 else ""
            remedy = "correct the cells; `data.kinds` says what a column is"
            raise DataError(f"{place_of(row)}: {problem}{more}", remedy)
        converted[column.name] = values
    return pd.DataFrame(converted, index=frame.index)


def convert_rows(
    frame: pd.DataFrame, columns: Sequence[Column]
) -> tuple[pd.DataFrame, list[str | None]]:
    """Convert the rows that have no faulty cell; see `convert_columns`.

    Also returns what is wrong with each row; None if nothing is.
    """
    converted: dict[str, Cells] = {}
    errors: list[str | None] = [None] * len(frame)
    for column in columns:
        if column.left_out:
            continue
        converted[column.name], is_faulty = _convert(frame[column.name], column)
        for row in np.flatnonzero(is_faulty).tolist():
            errors[row] = errors[row] or _describe_faulty(column, str(frame[column.name].iloc[row]))
    is_right = np.array([error is None for error in errors], bool)
    return pd.DataFrame(converted, index=frame.index)[is_right], errors


def is_gap(cells: Cells, *, only_empty: bool = False) -> Mask:
    """Return which cells have no value (n,)."""
    texts = _cell_texts(cells)
    if only_empty:
        return (texts == "").to_numpy(bool)
    return texts.str.lower().isin(GAPS).to_numpy(bool)


def _cell_texts(cells: Cells) -> Cells:
    """Return cells as texts without blanks around them; "" for a gap."""
    if pd.api.types.is_float_dtype(cells) and (cells.dropna() % 1 == 0).all():
        cells = cells.astype("Int64")  # a column of integers with gaps
    if not pd.api.types.is_string_dtype(cells) or cells.isna().any():
        cells = cells.astype(object).where(cells.notna(), "").map(str)
    texts: Cells = cells.str.strip()
    return texts


def _inspect_column(
    cells: Cells, declared: ColumnKind | None, place_of: PlaceOfRow, warnings: list[str]
) -> Column:
    """Find out what a column is; raise DataError if it is nothing that models read."""
    name = str(cells.name)
    only_empty = declared == "category"
    known = cells[~is_gap(cells, only_empty=only_empty)]
    texts = _cell_texts(known)
    different = texts.nunique()
    if different == 0:
        return Column(name=name, kind=declared or "category", left_out="it has no value")
    if different == 1 and len(known) == len(cells):
        return Column(
            name=name,
            kind=declared or "category",
            left_out=f"all {pluralize(len(cells), 'row')} have the value {cut(texts.iloc[0], 40)}",
        )
    if declared is not None:
        return _declared_column(known, texts, declared, place_of, warnings)
    if pd.api.types.is_bool_dtype(cells):
        return Column(name=name, kind="boolean", true_word="true")
    if pd.api.types.is_datetime64_any_dtype(cells):
        return Column(name=name, kind="date")
    numbers, is_word = _to_numbers(known, texts)
    if not is_word.any() and not texts.str.fullmatch(ZERO_IN_FRONT).any():
        if _counts_rows(numbers, len(cells)):
            problem = f"column {name!r} counts the rows: if it only names them"
            warnings.append(f"{problem}, {_ignore([name])} leaves it out")
        return Column(name=name, kind="number")
    return _column_of_words(texts, is_word, place_of, warnings)


def _column_of_words(
    texts: Cells, is_word: Mask, place_of: PlaceOfRow, warnings: list[str]
) -> Column:
    """Return a column whose texts are not all numbers; is_word says which are none (n,)."""
    name = str(texts.name)
    different = texts.nunique()
    lowered = set(texts.str.lower().unique())
    for pair in BOOLEANS:
        if lowered == set(pair):
            true_word = next(word for word in texts.unique() if word.lower() == pair[1])
            return Column(name=name, kind="boolean", true_word=true_word)
    if formats := _find_date_formats(texts):
        return _date_column(name, formats, warnings)
    _check_words(texts, is_word, place_of)
    if _names_rows(texts, different):
        used = f"`--set 'data.kinds={{{name}: category}}'` uses it"
        why = f"it names the rows, with {different:,} different words in {len(texts):,} ({used})"
        return Column(name=name, kind="category", left_out=why)
    return Column(name=name, kind="category" if different <= MOST_LEVELS else "text")


def _names_rows(texts: Cells, different: int) -> bool:
    """Return whether nearly each row has another word, or another few words."""
    if different <= FEW_ROWS or different < NEARLY_ALL * len(texts):
        return False
    words = texts.map(lambda text: len(text.split()))
    return different <= MOST_LEVELS or bool(words.median() <= WORDS_OF_A_NAME)


def _declared_column(
    known: Cells,
    texts: Cells,
    kind: ColumnKind,
    place_of: PlaceOfRow,
    warnings: list[str],
) -> Column:
    """Return a column whose kind the config says; raise DataError if a cell has another."""
    name = str(known.name)
    column = Column(name=name, kind=kind, only_empty_is_gap=kind == "category")
    if kind == "date" and not pd.api.types.is_datetime64_any_dtype(known):
        formats = _find_date_formats(texts, further=[COMPACT_DATE])
        if not formats:
            place = place_of(known.index[0])
            example = cut(texts.iloc[0], 40)
            raise DataError(
                f"{place}: column {name!r}: no form of a date that all cells have, "
                f"such as {example!r}"
            )
        return _date_column(name, formats, warnings)
    if kind == "boolean":
        words = sorted(texts.unique(), key=str.lower)
        pairs = [*BOOLEANS, ("0", "1")]
        if tuple(word.lower() for word in words) not in pairs:
            place = place_of(known.index[0])
            raise DataError(f"{place}: column {name!r} has not two words such as yes and no")
        return column.model_copy(update={"true_word": words[1]})
    if kind == "number":
        _, is_word = _to_numbers(known, texts)
        _check_are_numbers(texts[is_word], place_of)
    return column


def _date_column(name: str, formats: Sequence[str], warnings: list[str]) -> Column:
    """Return a column of dates; warn if they can be read in two ways."""
    if len(formats) > 1:
        readings = " or ".join(formats)
        warnings.append(f"column {name!r} has dates that are {readings}: read as the first")
    return Column(name=name, kind="date", date_format=formats[0])


def _find_date_formats(texts: Cells, further: Sequence[str] = ()) -> list[str]:
    """Return the forms of dates that all texts have."""
    distinct = pd.Series(texts.unique())
    few = distinct[:20]
    if not few.str.contains(r"\d").all():
        return []
    return [
        form
        for form in (*further, ISO, *DATE_FORMATS)
        if _to_dates(few, form).notna().all() and _to_dates(distinct, form).notna().all()
    ][: 1 if further else None]


def _to_dates(cells: Cells, form: str) -> "pd.Series[pd.Timestamp]":
    """Read texts, or dates, as dates without a time zone; NaT where they have another form."""
    dates = pd.to_datetime(cells, format=form, errors="coerce", utc=True)
    return dates.dt.tz_localize(None)


def _to_numbers(cells: Cells, texts: Cells) -> tuple[NDArray[np.float64], Mask]:
    """Return cells that are no gaps as numbers (n,), and which of them are none (n,)."""
    if pd.api.types.is_numeric_dtype(cells):
        numbers = cells.to_numpy(np.float64)
    else:
        words = texts.to_numpy(object)
        try:
            numbers = words.astype(np.float64)  # exact, as pandas.to_numeric is not
        except ValueError:
            codes, different = pd.factorize(words)
            numbers = np.array([_to_number(word) for word in different], np.float64)[codes]
        numbers[texts.str.contains("_", regex=False).to_numpy(bool)] = np.nan
    return numbers, ~(np.abs(numbers) <= LARGEST)


def _to_number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return np.nan


def _counts_rows(numbers: NDArray[np.float64], rows: int) -> bool:
    """Return whether numbers are different integers, one for each row, without a hole."""
    if len(numbers) != rows or rows <= FEW_ROWS or (numbers % 1 != 0).any():
        return False
    return bool(numbers.max() - numbers.min() == rows - 1 and len(np.unique(numbers)) == rows)


def _check_words(texts: Cells, is_word: Mask, place_of: PlaceOfRow) -> None:
    """Raise DataError if a column of numbers has words, or numbers with commas."""
    words = texts[is_word]
    if 0 < len(words) < len(texts) / 2:
        _check_are_numbers(words, place_of)
    _check_commas(words, place_of)


def _check_are_numbers(words: Cells, place_of: PlaceOfRow) -> None:
    """Raise DataError for words in a column of numbers. words: their index is that of the rows."""
    if words.empty:
        return
    _check_commas(words, place_of)
    problem = _describe_no_number(str(words.name), words.iloc[0])
    more = f", nor {len(words) - 1:,} more" if len(words) > 1 else ""
    remedy = "correct the cells; `data.task=classification` predicts words"
    raise DataError(f"{place_of(words.index[0])}: {problem}{more}", remedy)


def _check_commas(words: Cells, place_of: PlaceOfRow) -> None:
    """Raise DataError if words are numbers with commas."""
    if not words.empty and words.str.fullmatch(NUMBER_WITH_COMMA).all():
        place = place_of(words.index[0])
        problem = f"column {words.name!r} has numbers with commas such as {words.iloc[0]}"
        raise DataError(f"{place}: {problem}: write numbers such as 1851.5")


def _convert(cells: Cells, column: Column) -> tuple[Cells, Mask]:
    """Return cells by the column's kind, and which of them have another (n,)."""
    gap = is_gap(cells, only_empty=column.only_empty_is_gap)
    values: Cells
    match column.kind:
        case "number":
            numbers = np.full(len(cells), np.nan)
            is_faulty = np.zeros(len(cells), bool)
            known = cells[~gap]
            numbers[~gap], is_faulty[~gap] = _to_numbers(known, _cell_texts(known))
            return pd.Series(numbers, cells.index), is_faulty
        case "boolean":
            words = _cell_texts(cells).str.lower()
            true = column.true_word.lower()
            pair = next(pair for pair in (*BOOLEANS, ("0", "1")) if pair[1] == true)
            values = words.map({pair[0]: 0.0, pair[1]: 1.0}).astype(np.float64)
            return values, (values.isna() & ~gap).to_numpy(bool)
        case "date":
            dated = cells
            if not pd.api.types.is_datetime64_any_dtype(cells):
                dated = _cell_texts(cells)
            values = _to_dates(dated, column.date_format)
            return values, (values.isna() & ~gap).to_numpy(bool)
    values = _cell_texts(cells).astype(object).where(~gap, None)
    return values, np.zeros(len(cells), bool)


def _describe_faulty(column: Column, cell: str) -> str:
    """Return what is wrong with a cell that has another kind than its column."""
    if column.kind == "number":
        return _describe_no_number(column.name, cell)
    kinds = {"boolean": f"neither {column.true_word!r} nor its opposite", "date": "no such date"}
    return f"column {column.name!r}: {cut(cell.strip(), 40)!r} is {kinds[column.kind]}"


def _describe_no_number(name: str, cell: str) -> str:
    """Return a message about a cell that is no number in a column of numbers."""
    shown = cut(cell.strip(), 40)
    return f"column {name!r}: {shown!r} is no number (such as 1851.5, up to {LARGEST:g})"


def _ignore(names: Sequence[str]) -> str:
    """Return the option that leaves columns out, to paste."""
    return f"`--set {shlex.quote(format_override('data.ignore', list(names)))}`"
