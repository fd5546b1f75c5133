"""Read the cells of a column as numbers, booleans or dates, each different cell once."""

import contextlib
import math
import re
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

GAPS = frozenset(("", "na", "n/a", "nan", "null", "none", "?", ".", "-"))  # in small letters
USUAL_GAPS = ("", "NA", "?", ".")  # found faster than all others
LARGEST = 1e19  # number: the square of a larger one is infinite in single precision

# A sum of money, whose thousands may be marked by commas, or a percentage.
WITH_UNIT = (
    r"(?P<sign>[-+]?)(?P<currency>[$€£]?) ?"
    r"(?P<number>(\d{1,3}(,\d{3})+|\d+)(\.\d+)?) ?(?P<percent>%?)"
)

BOOLEANS = ({"true": 1.0, "false": 0.0}, {"yes": 1.0, "no": 0.0}, {"t": 1.0, "f": 0.0})
BOOLEAN_VALUES = {"1": 1.0, "0": 0.0} | BOOLEANS[0] | BOOLEANS[1] | BOOLEANS[2]

# The forms of dates in the order in which they are tried. Where a day and a month can be exchanged,
# the month is first, as pandas reads such dates; with dots the day is.
ISO = "ISO8601"  # pandas' name of the ISO forms, with `/` in place of `-` too
DATES = [
    *(f"%m{mark}%d{mark}%{year}" for mark in "/-" for year in "Yy"),
    *(f"%d{mark}%m{mark}%{year}" for mark in "/-." for year in "Yy"),
    *(f"%d{mark}%b{mark}%{year}" for mark in ("-", "/", " ", "") for year in "Yy"),
    *(f"%{month} %d{mark} %Y" for month in "bB" for mark in ("", ",")),
    *("%d %B %Y", "%b %Y", "%B %Y", "%b-%Y", "%b-%y", "%m/%Y", "%b-%d-%Y", "%Y-%b-%d", "%Y.%m.%d"),
]
TIMES = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p")
# pandas writes the whole numbers of a column with gaps so: they are the same words as without.
WHOLE_WITH_DECIMAL = r"(0|-?[1-9]\d*)\.0"
TIME_ZONE = r"(:\d\d(?:[.,]\d+)?) ?(?:Z|[+-]\d\d(?::?\d\d)?)$"  # after a time
# The words of a column are tried as dates only if the first is like this.
DATE_LIKE = r"(?=.*\d)(?=.*\D)[\w/.,: +-]{6,35}"

Series: TypeAlias = "pd.Series[Any]"  # a column of any type
Words = NDArray[np.object_]  # of str
Dates = NDArray[np.datetime64]


class Cells:
    """Reads the cells of a column by its different words, of which there are fewer.

    The words have no blanks around them. A gap, a cell without a value, is no word.
    """

    def __init__(self, column: Series, *, only_empty_is_gap: bool = False) -> None:
        self.column = column
        self.gaps = frozenset(("",)) if only_empty_is_gap else GAPS
        # Whether the type of the column says that its cells are numbers or booleans.
        self.has_numbers = pd.api.types.is_numeric_dtype(column.dtype)
        self.has_dates = pd.api.types.is_datetime64_any_dtype(column.dtype)

    @cached_property
    def texts(self) -> Words:
        """The cells as texts, "" for no value. A whole number has no decimals, as in CSV files."""
        cells: Words = self.column.to_numpy(object, copy=True)
        if not isinstance(self.column.dtype, pd.StringDtype):
            cells = np.array([_write(cell) for cell in cells], object)
        cells[self.column.isna().to_numpy(bool)] = ""
        return cells

    @property
    def codes(self) -> NDArray[np.intp]:
        """Of each cell the number of its word, -1 for a gap."""
        return self._codes_and_words[0]

    @property
    def words(self) -> Words:
        """The different words."""
        return self._codes_and_words[1]

    @cached_property
    def _codes_and_words(self) -> tuple[NDArray[np.intp], Words]:
        codes, texts = pd.factorize(self.texts)
        numbers: dict[str, int] = {}
        of_texts: list[int] = []
        for text in texts.tolist():
            word = text.strip()
            if word.endswith(".0") and re.fullmatch(WHOLE_WITH_DECIMAL, word):
                word = word.removesuffix(".0")
            is_gap = word.lower() in self.gaps
            of_texts.append(-1 if is_gap else numbers.setdefault(word, len(numbers)))
        return np.array(of_texts, np.intp)[codes], np.array([*numbers], object)

    @cached_property
    def values(self) -> Words:
        """The words of the cells, None for a gap."""
        return np.array([*self.words, None], object)[self.codes]

    @cached_property
    def numbers(self) -> NDArray[np.float64]:
        """The cells as numbers, NaN for a gap, infinite for a word that is no number."""
        if self.has_numbers:
            numbers = self.column.to_numpy(np.float64, na_value=np.nan)
        else:
            numbers = self._read_numbers()
        return np.where(np.abs(numbers) > LARGEST, np.inf, numbers)

    def _read_numbers(self) -> NDArray[np.float64]:
        """Read the numbers as Python does; `to_numeric` of pandas 2 differs in the last digit."""
        texts = self.texts
        if "_" not in "".join(texts):  # Python reads 1_000
            # Two quick ways, which a word ends: without gaps, and with the usual ones.
            with contextlib.suppress(ValueError):
                return texts.astype(np.float64)
            is_gap = pd.Index(texts, dtype="object").isin(USUAL_GAPS)
            with contextlib.suppress(ValueError):
                numbers = np.full(len(texts), np.nan)
                numbers[~is_gap] = texts[~is_gap].astype(np.float64)
                return numbers
        return self._of_cells(
            _read_units(self.words) or [_read_number(word) for word in self.words]
        )

    @cached_property
    def booleans(self) -> NDArray[np.float64]:
        """The cells as 0 and 1, NaN for a gap, infinite for a word that is no boolean."""
        return self._of_cells([BOOLEAN_VALUES.get(word.lower(), math.inf) for word in self.words])

    def _of_cells(self, values: list[float]) -> NDArray[np.float64]:
        """Return the value of each cell from that of each word, NaN for a gap."""
        return np.array([*values, math.nan], np.float64)[self.codes]

    def dates(self, date_format: str | None) -> Dates:
        """Return the cells as dates, NaT for a gap, and for a word that is no date.

        date_format: one of `strptime` or ISO; None means any that reads all words.
        """
        if self.has_dates:
            return self.column.dt.tz_localize(None).to_numpy("datetime64[us]")
        of_words = read_dates(self.words, date_format or self.date_format or ISO)
        return np.append(of_words, np.datetime64("NaT"))[self.codes]

    @cached_property
    def date_format(self) -> str | None:
        """The first format that reads all words."""
        if not len(self.words) or not re.fullmatch(DATE_LIKE, self.words[0]):
            return None
        times = [f" {time}" for time in TIMES] if ":" in self.words[0] else [""]
        for date_format in [ISO, *(f"{date}{time}" for date in DATES for time in times)]:
            # The first word says quickly that a format is not the one.
            if np.isnat(read_dates(self.words[:1], date_format)).any():
                continue
            if not np.isnat(read_dates(self.words, date_format)).any():
                return date_format
        return None

    @cached_property
    def are_codes(self) -> bool:
        """Whether all words are digits, and begin with zeros in one, as 00042: no numbers."""
        if self.has_numbers or not np.array_equal(self.numbers, np.floor(self.numbers), True):
            return False
        are_digits = all(word.isdecimal() for word in self.words)
        return are_digits and any(re.fullmatch(r"0\d+", word) for word in self.words)

    def words_all_match(self, form: str) -> bool:
        """Return whether all words that are no numbers have a form."""
        no_numbers = [word for word in self.words if math.isinf(_read_number(word))]
        return all(re.fullmatch(form, word) for word in no_numbers)


def _write(cell: object) -> str:
    """Write a cell of a typed column as a CSV file has it."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)


def _read_number(word: str) -> float:
    """Read a number; a word that is no number is infinite."""
    try:
        number = float(word)
    except ValueError:
        return math.inf
    return number if abs(number) <= LARGEST and "_" not in word else math.inf


def _read_units(words: Words) -> list[float]:
    """Read numbers that all have one unit, as $1,234.50 or 12 %; return none if not all have."""
    matches = [match for word in words if (match := re.fullmatch(WITH_UNIT, word))]
    units = {match["currency"] + match["percent"] for match in matches}
    if len(matches) < len(words) or len(units) != 1 or units == {""}:
        return []
    return [float((match["sign"] + match["number"]).replace(",", "")) for match in matches]


def read_dates(words: Words, date_format: str) -> Dates:
    """Read dates and times of day at their places; a word that is no date becomes NaT."""
    texts = words.tolist()
    if date_format == ISO:
        texts = [re.sub(TIME_ZONE, r"\1", text) for text in texts]
    dates = pd.to_datetime(texts, format=date_format, errors="coerce", utc=True)
    without_zone: Dates = dates.tz_localize(None).to_numpy("datetime64[us]")
    return without_zone
