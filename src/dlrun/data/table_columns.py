"""Read the cells of a table's columns as numbers and categories, and say in words what is wrong."""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from pydantic import BaseModel

from dlrun.config.data_sections import HittersDataConfig, OwnTableDataConfig
from dlrun.config.yaml_loader import format_override
from dlrun.data.sources import ReadContext
from dlrun.data.splits import shorten_list
from dlrun.data.text_files import Record
from dlrun.errors import DataError, Faults
from dlrun.system.console import cut, pluralize

MISSING = frozenset(("", "na", "n/a", "nan", "null"))  # cells without a value, in small letters
FILLED = "missing"  # category of a missing word; an indicator column's name
MOST_LEVELS = 100  # categories of a column, at most
MOST_PROBLEMS = 10  # shown
LARGEST = 1e19  # number: the square of a larger one is infinite in single precision
# What all words of a column may be instead of categories: form, name, remedy.
FORMS = (
    (r"[-+]?(\d+,\d+|\d{1,3}(,\d{3})+(\.\d+)?|\d{1,3}(\.\d{3})+,\d+)", "numbers with commas",
     "write decimal points, and no separator of thousands"),
    (r"\d{4}[-/.]\d\d?([-/.]\d\d?([T ].*)?)?|\d\d?[-/.]\d\d?[-/.]\d{2,4}", "dates",
     "write numbers, such as days since the first"),
)  # fmt: skip

T = TypeVar("T")
TableDataConfig = HittersDataConfig | OwnTableDataConfig
Cells = Mapping[str, str]  # cells of a row, by column
Word = tuple[str, object]  # a cell that is no number, and its place


class TableColumns(BaseModel, frozen=True):
    """Describes how the cells of a table row become numbers: categories, scales, filled gaps."""

    levels: dict[str, list[str]]  # sorted categories by column; none for numbers
    first_level: int = 1  # the first category that has a 0/1 column of the matrix
    scales: dict[str, tuple[float, float]] = {}  # mean and sd of a standardised column
    medians: dict[str, float] = {}  # what a missing number of a column is filled with
    indicators: list[str] = []  # columns that are followed by a 0/1 column: was the number filled?

    @property
    def names(self) -> list[str]:
        """Return the names of the matrix's columns, such as `Hits` and `League[N]`."""
        names: list[str] = []
        for name, levels in self.levels.items():
            names += [f"{name}[{level}]" for level in levels[self.first_level :]] or [name]
            if name in self.indicators:
                names.append(f"{name}[{FILLED}]")
        return names

    def encode(self, cells: Cells) -> list[float]:
        """Return a table row as numbers; raise DataError for a missing or unknown cell."""
        row: list[float] = []
        for name, levels in self.levels.items():
            encode = self._encode_word if levels else self._encode_number
            row += encode(name, cells.get(name, ""))
        return row

    def _encode_word(self, name: str, cell: str) -> list[float]:
        levels = self.levels[name]
        word = FILLED if is_missing(cell) else cell.strip()
        if word not in levels and is_missing(cell):
            raise DataError(f"no value in column {name!r}")
        if word not in levels:
            known = shorten_list(levels)
            raise DataError(f"column {name!r}: {cut(word, 40)!r} is not one of these: {known}")
        return [float(word == level) for level in levels[self.first_level :]]

    def _encode_number(self, name: str, cell: str) -> list[float]:
        centre, scale = self.scales.get(name, (0, 1))
        is_gap = is_missing(cell)
        if is_gap and name not in self.medians:
            raise DataError(f"no value in column {name!r}")
        value = self.medians[name] if is_gap else to_number(name, cell)
        scaled = (value - centre) / scale
        return [scaled, float(is_gap)] if name in self.indicators else [scaled]


def is_missing(cell: str) -> bool:
    """Return whether a cell has no value."""
    return cell.strip().lower() in MISSING


def is_number(cell: str) -> bool:
    """Return whether a cell is a finite number that single precision can square."""
    try:
        return abs(float(cell)) <= LARGEST and "_" not in cell
    except ValueError:
        return False


def to_number(name: str, cell: str) -> float:
    """Return the number in a cell of a column; raise DataError if the cell is no number."""
    if not is_number(cell):
        shown = cut(cell.strip(), 40)
        raise DataError(
            f"column {name!r}: {shown!r} is no number (such as 1851.5, up to {LARGEST:g})"
        )
    return float(cell)


def encode_rows(records: Sequence[Record], read: Callable[[Cells], T]) -> list[T]:
    """Return what `read` makes of the cells of each row; raise DataError if one is unreadable."""
    values: list[T] = []
    for cells, place in records:
        try:
            values.append(read(cells))
        except DataError as error:
            remedy = "correct the cells, or delete the rows"
            raise DataError(f"{place}: {error.message}", remedy) from None
    return values


def usable_rows(
    records: Sequence[Record], names: Sequence[str], context: ReadContext
) -> list[Record]:
    """Return the table rows without a missing value; gaps that medians fill do not count."""
    config = context.config
    needed = [config.target, *(names if config.missing != "median" else ())]
    gaps = {name: [place for cells, place in records if is_missing(cells[name])] for name in needed}
    incomplete = {place for places in gaps.values() for place in places}
    complete = [(cells, place) for cells, place in records if place not in incomplete]
    if not complete:
        worst = max(gaps, key=lambda name: len(gaps[name]))
        problem = f"{records[0][1]}: no row has a value in every column, {worst!r} has the fewest"
        remedy = "`--set data.missing=median` fills columns, data.ignore leaves them out"
        raise DataError(problem, remedy)
    if incomplete:
        counts = f"{len(incomplete):,} of {len(records):,}"
        context.screen.note(f"rows left out, because a value is missing: {counts}")
    return complete


def read_levels(
    names: Sequence[str], parts: Sequence[Sequence[Record]], config: TableDataConfig
) -> dict[str, list[str]]:
    """Return the categories of each column in a table's first part; none for a column of numbers.

    Raises DataError with all that is wrong in these columns, and in the targets of all parts.
    """
    levels: dict[str, list[str]] = {}
    faults = Faults()
    for name in names:
        with faults.collected():
            levels[name] = _read_levels_of_column(name, parts[0])
    faulty = [name for name in names if name not in levels]
    ignored = format_override("data.ignore", [*config.ignore, *faulty])
    for error in faults.errors:
        error.hint = f"correct the columns, or leave them out: `--set {shlex.quote(ignored)}`"
    for part in parts if config.task == "regression" else ():
        with faults.collected():
            _check_are_numbers(config.target, _find_words(config.target, part))
    faults.raise_all(most=MOST_PROBLEMS)
    return levels


def _read_levels_of_column(name: str, records: Sequence[Record]) -> list[str]:
    """Return the categories of a column, none of numbers. Raises DataError if it has neither."""
    values = {FILLED if is_missing(cells[name]) else cells[name].strip() for cells, _ in records}
    if len(values) == 1:
        rows = pluralize(len(records), "row")
        raise DataError(f"{records[0][1]}: column {name!r} has one value in all of {rows}")
    words = _find_words(name, records)
    if not words:
        return []
    gaps = sum(is_missing(cells[name]) for cells, _ in records)
    if len(words) < (len(records) - gaps) / 2:
        _check_are_numbers(name, words)
    _check_form(name, words)
    if len(values) > MOST_LEVELS:
        problem = f"has words, and {len(values):,} different ones are no categories"
        raise DataError(f"{words[0][1]}: column {name!r} {problem}")
    return sorted(values)


def _find_words(name: str, records: Sequence[Record]) -> list[Word]:
    """Return the cells of a column that have a value, but no number."""
    cells = [(cells[name].strip(), place) for cells, place in records]
    return [(cell, place) for cell, place in cells if not (is_missing(cell) or is_number(cell))]


def _check_are_numbers(name: str, words: Sequence[Word]) -> None:
    """Raise DataError if a column of numbers has words."""
    if not words:
        return
    _check_form(name, words)
    first, place = words[0]
    try:
        to_number(name, first)
    except DataError as error:
        more = f", nor {len(words) - 1:,} more" if words[1:] else ""
        remedy = "correct the cells; `data.task=classification` predicts words"
        raise DataError(f"{place}: {error.message}{more}", remedy) from None


def _check_form(name: str, words: Sequence[Word]) -> None:
    """Raise DataError if all words of a column are numbers or dates in another form."""
    first, place = words[0]
    for form, what, remedy in FORMS:
        if all(re.fullmatch(form, word) for word, _ in words):
            raise DataError(f"{place}: column {name!r} has {what} such as {first}: {remedy}")


def fill_by_medians(levels: dict[str, list[str]], rows: Sequence[Cells]) -> TableColumns:
    """Return table columns whose missing numbers become the medians of the training rows."""
    numbers = {
        name: [float(cells[name]) for cells in rows if not is_missing(cells[name])]
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
