"""Define the tables of the HTML report, whose markup is the macro `page_table` of parts.html."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dlrun.reports.svg_charts import Strip
from dlrun.runs.run_tables import Column, used_columns


@dataclass(frozen=True)
class PageRow:
    """Holds a row of a table: the values of its cells by column, and how the row is shown.

    is_quiet: whether its published numbers are grey, because they do not judge the runs. picture:
    what stands in the column `picture`. run_number: of the run that the row is about, if it is one.
    """

    cells: Mapping[str, object]
    is_quiet: bool
    picture: Strip | None = None
    run_number: int | None = None


@dataclass(frozen=True)
class PageTable:
    """Holds a table: its columns that are not empty in all rows, and its rows."""

    columns: Sequence[Column]
    rows: Sequence[PageRow]

    @classmethod
    def with_used_columns(cls, columns: Sequence[Column], rows: Sequence[PageRow]) -> "PageTable":
        return cls(used_columns(columns, [row.cells for row in rows]), rows)
