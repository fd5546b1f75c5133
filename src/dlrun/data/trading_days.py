"""Make a table of NYSE's trading days: each row has the values of the days before."""

import numpy as np

from dlrun.config.data_sections import (
    IS_TRAIN,
    SERIES,
    VOLUME,
    WEEKDAY,
    TradingDaysDataConfig,
    WeekdaysDataConfig,
)
from dlrun.data.datasets_and_sources import ReadContext
from dlrun.data.scaling import is_constant
from dlrun.data.table_columns import TableColumns
from dlrun.data.tables import Table, TargetsAndSplit, fingerprint_parts, hash_records
from dlrun.data.text_files import Record
from dlrun.errors import DataError


def make_lagged_days(context: ReadContext[TradingDaysDataConfig]) -> Table:
    """Return a table of trading days: each row holds the days before, and if asked the weekday.

    The series are standardised over all days, the oldest comes first; the target is the volume.
    """
    config = context.config
    lags = config.lags
    (records,) = context.source.read(context)
    values = TableColumns(levels={name: [] for name in SERIES}).encode_rows(records)
    # Not by StandardScaler, whose import would be a tenth of a run of nyse-rnn.
    scales = np.where([is_constant(series) for series in values.T], 1.0, values.std(0))
    pairs = zip(values.mean(0).tolist(), scales.tolist(), strict=True)
    moments = dict(zip(SERIES, pairs, strict=True))
    lagged = [(name, lag, f"{name}_{lag}") for lag in range(lags, 0, -1) for name in SERIES]
    days: list[Record] = []
    for row, day in enumerate(records[lags:], start=lags):
        cells_before = {column: records[row - lag].cells[name] for name, lag, column in lagged}
        days.append(Record(cells_before | day.cells, day.place))
    is_train = np.array([day.cells[IS_TRAIN].strip().lower() == "true" for day in days], bool)
    if not 1 < is_train.sum() < len(days):
        problem = f"{is_train.sum():,} of {len(days):,} days to train with"
        why = f"the first {lags} days serve only as lags"
        remedy = "choose a smaller data.lags, or other days"
        raise DataError(f"{context.origin.text}: {problem}: {why}", remedy)
    levels: dict[str, list[str]] = {column: [] for *_, column in lagged}
    if isinstance(config, WeekdaysDataConfig) and config.day_of_week:
        levels[WEEKDAY] = sorted({day.cells[WEEKDAY].strip() for day in days})
    scales_of_columns = {column: moments[name] for name, _, column in lagged}
    columns = TableColumns(levels=levels, first_level=0, scales=scales_of_columns)
    targets = values[lags:, SERIES.index(VOLUME)]
    divided = TargetsAndSplit(targets, np.flatnonzero(is_train), np.flatnonzero(~is_train))
    hashes = hash_records(records[lags:])  # whatever number of lags stands beside each day
    train, test = divided.parts(columns.encode_rows(days), days, hashes)
    return Table(
        columns,
        VOLUME,
        train,
        test,
        context.origin,
        fingerprint_parts(train, test),
        target_moments=moments[VOLUME],
        is_series=True,
    )
