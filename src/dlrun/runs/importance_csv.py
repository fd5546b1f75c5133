"""Write and read importance.csv: by how much a model of a table needs each of its columns."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

from dlrun.runs.csv_tables import parse_csv, to_csv


@dataclass(frozen=True)
class ColumnImportance:
    """Says by how much a metric of the test set rises if a column is shuffled among its rows.

    metric: `log_loss` of classes, or `mae` of values.
    increase: the mean over some shuffles. low, high: the 95 % interval of this mean.
    """

    column: str
    metric: str
    increase: float
    low: float
    high: float


def importance_table(columns: Sequence[ColumnImportance]) -> bytes:
    header = [field.name for field in fields(ColumnImportance)]
    return to_csv([header, *map(astuple, columns)])


def parse_importance(content: bytes) -> list[ColumnImportance]:
    """Raises ValueError or csv.Error if the content is no importance.csv."""
    _, rows = parse_csv(content)
    return [
        ColumnImportance(column, metric, float(increase), float(low), float(high))
        for column, metric, increase, low, high in rows
    ]
