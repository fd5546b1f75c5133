"""Make a table of NYSE's trading days: each row has the values of the days before."""

import numpy as np
import pandas as pd

from dlrun.config.data_sections import (
    DATE,
    IS_TRAIN,
    SERIES,
    VOLUME,
    WEEKDAY,
    TradingDaysDataConfig,
)
from dlrun.data.datasets_and_sources import ReadContext
from dlrun.data.scaling import is_constant
from dlrun.errors import DataError
from dlrun.tables.column_kinds import Column, convert_columns
from dlrun.tables.encoding import (
    CategoryEncoding,
    Encoding,
    Matrix,
    NumberEncoding,
    TableEncoder,
)
from dlrun.tables.read_table import ReadTable
from dlrun.tables.table import RowPlaces, Table, TablePart, hash_rows

MONTH = "month"
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()


def make_lagged_days(context: ReadContext[TradingDaysDataConfig]) -> Table:
    """Return a table of trading days: each row holds the days before, and if asked its own factors.

    The factors are the day of the week and the month of the predicted day.

    The series are standardised over all days, the oldest comes first; the target is the volume.
    """
    config = context.config
    (days,) = context.source.read(context)
    series = _read_series(days)
    # Not by StandardScaler, whose import would be a tenth of a run of nyse-rnn.
    means = series.mean(axis=0)
    scales = np.where([is_constant(column) for column in series.T], 1.0, series.std(axis=0))
    columns: list[Column] = []
    encodings: list[Encoding] = []
    moments: list[tuple[float, float]] = []
    inputs: dict[str, object] = {}
    for lag in range(config.lags, 0, -1):
        for index, name in enumerate(SERIES):
            column = f"{name}_{lag}"
            columns.append(Column(name=column, kind="number"))
            encodings.append(NumberEncoding(name=column))
            moments.append((float(means[index]), float(scales[index])))
            inputs[column] = series[config.lags - lag : len(series) - lag, index]
    cells = days.frame.iloc[config.lags :].reset_index(drop=True)
    factors: dict[str, tuple[pd.Series[str], list[str]]] = {}  # words of the days, and levels
    if config.day_of_week:
        weekdays = cells[WEEKDAY].str.strip()
        factors[WEEKDAY] = weekdays, sorted(set(weekdays))
    if config.month:
        factors[MONTH] = _read_months(days)[config.lags :], MONTHS
    for name, (words, levels) in factors.items():
        columns.append(Column(name=name, kind="category"))
        encodings.append(CategoryEncoding(name=name, levels=levels, drop_first=False))
        moments += [(0.0, 1.0)] * len(levels)
        inputs[name] = words.to_numpy()
    is_train = (cells[IS_TRAIN].str.strip().str.lower() == "true").to_numpy()
    if not 1 < is_train.sum() < len(cells):
        problem = f"{is_train.sum():,} of {len(cells):,} days to train with"
        why = f"the first {config.lags} days serve only as lags"
        remedy = "choose a smaller data.lags, or other days"
        raise DataError(f"{context.origin.text}: {problem}: {why}", remedy)
    volume = SERIES.index(VOLUME)
    lagged_days = TablePart(
        pd.DataFrame(inputs),
        series[config.lags :, volume],
        cells.assign(**inputs),
        hash_rows(cells),  # whatever number of lags stands beside each day
        lines=None if context.origin.is_generated else days.lines[config.lags :],
    )
    return Table(
        columns,
        VOLUME,
        lagged_days.take(np.flatnonzero(is_train)),
        lagged_days.take(np.flatnonzero(~is_train)),
        context.origin,
        encoder=TableEncoder(encodings=encodings, moments=moments),
        target_moments=(float(means[volume]), float(scales[volume])),
        is_series=True,
    )


def _read_series(days: ReadTable) -> Matrix:
    """Return the series (days, 3). Raises DataError if a day has no value."""
    series = _read_columns(days, [Column(name=name, kind="number") for name in SERIES])
    # The order in memory changes the last bits of means.
    return np.ascontiguousarray(series.to_numpy(np.float64))


def _read_months(days: ReadTable) -> "pd.Series[str]":
    """Return the name of each day's month. Raises DataError if a day has no date."""
    dates = _read_columns(days, [Column(name=DATE, kind="date")])[DATE]
    months: pd.Series[str] = dates.dt.month.map(dict(enumerate(MONTHS, start=1)))
    return months


def _read_columns(days: ReadTable, columns: list[Column]) -> pd.DataFrame:
    """Return columns by their kinds. Raises DataError if a day has no value."""
    places = RowPlaces([days.path], np.zeros(len(days.lines), np.int64), days.lines)
    values = convert_columns(days.frame, columns, places)
    for name in values.columns:
        gaps = np.flatnonzero(values[name].isna())
        if len(gaps):
            raise DataError(
                f"{places[gaps[0]]}: no value in column {name!r}",
                "correct the cells, or delete the rows",
            )
    return values
