"""Read the cells of a table's columns as numbers and categories, and describe each invalid cell."""

import re
import shlex
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from dlrun.config.data_sections import HittersDataConfig, UserTableDataConfig
from dlrun.config.yaml_loader import format_override
from dlrun.data.datasets_and_sources import ReadContext
from dlrun.data.text_files import Record, RowPlace
from dlrun.errors import DataError, ErrorCollector
from dlrun.system.text import cut, pluralize, shorten_list

MISSING = frozenset(("", "na", "n/a", "nan", "null"))  # cells without a value, in small letters
MOST_LEVELS = 100  # categories of a column, at most
MOST_PROBLEMS = 10  # shown
LARGEST = 1e19  # number: the square of a larger one is infinite in single precision
# What all words of a column may be instead of categories.
NUMBER_WITH_COMMA = r"[-+]?(\d+,\d+|\d{1,3}(,\d{3})+(\.\d+)?|\d{1,3}(\.\d{3})+,\d+)"
DATE = r"\d{4}[-/.]\d\d?([-/.]\d\d?([T ].*)?)?|\d\d?[-/.]\d\d?[-/.]\d{2,4}"

TableDataConfig = HittersDataConfig | UserTableDataConfig
Cells = Mapping[str, str]  # cells of a row, by column
Word = tuple[str, object]  # a cell that is no number, and its place


class TableColumns(BaseModel, frozen=True):
    """Describes how the cells of a table row become numbers: categories and scales."""

    levels: dict[str, list[str]]  # sorted categories by column; none for numbers
    first_level: int = 1  # the first category that has a 0/1 column of the matrix
    scales: dict[str, tuple[float, float]] = {}  # mean and sd of a standardised column

    @property
    def names(self) -> list[str]:
        """Return the names of the matrix's columns, such as `Hits` and `League[N]`."""
        names: list[str] = []
        for name, levels in self.levels.items():
            names += [f"{name}[{level}]" for level in levels[self.first_level :]] or [name]
        return names

    def encode_rows(self, records: Sequence[Record]) -> NDArray[np.float64]:
        """Return table rows as a matrix (rows, columns); raise DataError, with its place, for one.

        The error is that of the first row with a missing or unknown cell.
        """
        rows: list[list[float]] = []
        for record in records:
            try:
                rows.append(self.encode_row(record.cells))
            except DataError as error:
                remedy = "correct the cells, or delete the rows"
                raise DataError(f"{record.place}: {error.message}", remedy) from None
        return np.array(rows)

    def encode_row(self, cells: Cells) -> list[float]:
        """Return a table row as numbers; raise DataError for a missing or unknown cell."""
        row: list[float] = []
        for name, levels in self.levels.items():
            cell = cells.get(name, "").strip()
            if is_missing(cell):
                raise DataError(f"no value in column {name!r}")
            if not levels:
                if not is_number(cell):
                    raise DataError(_describe_no_number(name, cell))
                centre, scale = self.scales.get(name, (0, 1))
                row.append((float(cell) - centre) / scale)
                continue
            if cell not in levels:
                known = shorten_list(levels)
                raise DataError(f"column {name!r}: {cut(cell, 40)!r} is not one of these: {known}")
            row += [float(cell == level) for level in levels[self.first_level :]]
        return row


def is_missing(cell: str) -> bool:
    """Return whether a cell has no value."""
    return cell.strip().lower() in MISSING


def is_number(cell: str) -> bool:
    """Return whether a cell is a finite number that single precision can square."""
    try:
        return abs(float(cell)) <= LARGEST and "_" not in cell
    except ValueError:
        return False


def _describe_no_number(name: str, cell: str) -> str:
    """Return a message about a cell that is no number in a column of numbers."""
    shown = cut(cell.strip(), 40)
    return f"column {name!r}: {shown!r} is no number (such as 1851.5, up to {LARGEST:g})"


def complete_rows(
    records: Sequence[Record], names: Sequence[str], context: ReadContext[TableDataConfig]
) -> list[Record]:
    """Return the table rows that have a value in each of the named columns.

    How many of a user's own rows are left out, and for which columns, is a warning.
    """
    gaps = {
        name: {place: cells[name].strip() for cells, place in records if is_missing(cells[name])}
        for name in names
    }
    incomplete = set().union(*gaps.values())
    complete = [record for record in records if record.place not in incomplete]
    worst = max(gaps, key=lambda name: len(gaps[name]))
    if not complete:
        problem = f"no row has a value in every column, {worst!r} has the fewest"
        raise DataError(
            f"{records[0].place}: {problem}", "data.ignore leaves columns out; or fill the gaps"
        )
    if incomplete:
        text = f"{len(incomplete):,} of {pluralize(len(records), 'row')} left out, because a value "
        text += f"is missing: {_describe_gaps(gaps)}"
        if isinstance(context.config, HittersDataConfig):  # the book leaves them out, too
            context.screen.note(text)
        else:
            context.screen.warn(f"{text}; data.ignore leaves out a column instead")
    return complete


def _describe_gaps(gaps: Mapping[str, Mapping[RowPlace | str, str]]) -> str:
    """Return in how many rows each column has no value, and which words stand for none.

    gaps: by column, the cells without a value by their places.
    """
    texts: list[str] = []
    for name in sorted(gaps, key=lambda name: -len(gaps[name])):
        words = sorted({repr(cell) for cell in gaps[name].values() if cell})
        if gaps[name]:
            written = f" (as {shorten_list(words)})" if words else ""
            texts.append(f"{len(gaps[name]):,} in {name!r}{written}")
    return shorten_list(texts)


def read_levels(
    names: Sequence[str], files: Sequence[Sequence[Record]], config: TableDataConfig
) -> dict[str, list[str]]:
    """Return the categories of each column in a table's first file; none for a column of numbers.

    Raises DataError with all that is wrong in these columns, and in the targets of all files.
    """
    levels: dict[str, list[str]] = {}
    collector = ErrorCollector()
    for name in names:
        with collector.collected():
            levels[name] = _read_levels_of_column(name, files[0])
    faulty = [name for name in names if name not in levels]
    ignored = format_override("data.ignore", [*config.ignore, *faulty])
    for error in collector.errors:
        error.hint = f"correct the columns, or leave them out: `--set {shlex.quote(ignored)}`"
    for records in files if config.task == "regression" else ():
        with collector.collected():
            _check_are_numbers(config.target, _find_words(config.target, records))
    collector.raise_all(most=MOST_PROBLEMS)
    return levels


def _read_levels_of_column(name: str, records: Sequence[Record]) -> list[str]:
    """Return the categories of a column, none of numbers. Raises DataError if it has neither."""
    values = {record.cells[name].strip() for record in records}
    if len(values) == 1:
        rows = pluralize(len(records), "row")
        raise DataError(f"{records[0].place}: column {name!r} has one value in all of {rows}")
    words = _find_words(name, records)
    if not words:
        return []
    if len(words) < len(records) / 2:
        _check_are_numbers(name, words)
    _check_form(name, words)
    if len(values) > MOST_LEVELS:
        problem = f"has words, and {len(values):,} different ones are no categories"
        raise DataError(f"{words[0][1]}: column {name!r} {problem}")
    return sorted(values)


def _find_words(name: str, records: Sequence[Record]) -> list[Word]:
    """Return the cells of a column that are no numbers."""
    cells = [(cells[name].strip(), place) for cells, place in records]
    return [(cell, place) for cell, place in cells if not is_number(cell)]


def _check_are_numbers(name: str, words: Sequence[Word]) -> None:
    """Raise DataError if a column of numbers has words."""
    if not words:
        return
    _check_form(name, words)
    first, place = words[0]
    more = f", nor {len(words) - 1:,} more" if words[1:] else ""
    remedy = "correct the cells; `data.task=classification` predicts words"
    raise DataError(f"{place}: {_describe_no_number(name, first)}{more}", remedy)


def _check_form(name: str, words: Sequence[Word]) -> None:
    """Raise DataError if all words of a column are numbers or dates in another form."""
    first, place = words[0]
    for form, what in ((NUMBER_WITH_COMMA, "numbers with commas"), (DATE, "dates")):
        if all(re.fullmatch(form, word) for word, _ in words):
            problem = f"{place}: column {name!r} has {what} such as {first}"
            raise DataError(f"{problem}: write numbers such as 1851.5")
