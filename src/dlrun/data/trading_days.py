"""Make a table of NYSE's trading days: each row has the values of the days before."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dlrun.config.data_sections import IS_TRAIN, SERIES, VOLUME, WEEKDAY
from dlrun.data.sources import ReadContext
from dlrun.data.table_columns import TableColumns, encode_rows, to_number
from dlrun.data.tables import Table, TablePart, digest_of_rows
from dlrun.data.text_files import Record
from dlrun.errors import DataError


def _read_series(records: Sequence[Record]) -> NDArray[np.float64]:
    return np.array(
        encode_rows(records, lambda day: [to_number(name, day[name]) for name in SERIES])
    )


def make_lagged_days(context: ReadContext) -> Table:
    """Return trading days as a table: a row has the values of the days before, perhaps the weekday.

    The series are standardised over all days, the oldest comes first; the target is the volume.
    """
    lags = context.config.lags
    (records,) = context.source.read(context)
    values = _read_series(records)
    pairs = zip(values.mean(0).tolist(), values.std(0).tolist(), strict=True)
    scales = dict(zip(SERIES, pairs, strict=True))
    lagged = [(f"{name}_{lag}", lag, name) for lag in range(lags, 0, -1) for name in SERIES]
    days: list[Record] = []
    for row, (day, place) in enumerate(records[lags:], start=lags):
        before = {column: records[row - lag][0][name] for column, lag, name in lagged}
        days.append((before | day, place))
    is_train = np.array([day[IS_TRAIN].strip().lower() == "true" for day, _ in days], bool)
    if not 1 < is_train.sum() < len(days):
        problem = f"{is_train.sum():,} of {len(days):,} days to train with"
        why = f"the first {lags} days serve only as lags"
        remedy = "choose a smaller data.lags, or other days"
        raise DataError(f"{context.origin.text}: {problem}: {why}", remedy)
    levels: dict[str, list[str]] = {column: [] for column, _, _ in lagged}
    if getattr(context.config, "day_of_week", False):
        levels[WEEKDAY] = sorted({day[WEEKDAY].strip() for day, _ in days})
    columns = TableColumns(
        levels=levels, first_level=0, scales={column: scales[name] for column, _, name in lagged}
    )
    X = np.array(encode_rows(days, columns.encode))
    all_rows = TablePart(X, values[lags:, SERIES.index(VOLUME)], days)
    fitted = np.flatnonzero(is_train)
    tested = np.flatnonzero(~is_train)
    digest = digest_of_rows(X, all_rows.targets, fitted, tested)
    return Table(
        columns,
        VOLUME,
        all_rows.take(fitted),
        all_rows.take(tested),
        context.origin,
        digest,
        target_moments=scales[VOLUME],
        is_series=True,
    )
