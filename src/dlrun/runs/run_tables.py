"""Define tables of runs once for all outputs: terminal, JSON, CSV and the HTML report."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dlrun.config.yaml_loader import Values, format_setting, format_settings_briefly
from dlrun.metrics import format_interval, format_metric
from dlrun.runs.csv_tables import to_csv
from dlrun.runs.notes import RunNotes
from dlrun.runs.published import published_metrics
from dlrun.runs.ranked_metrics import main_metric
from dlrun.runs.run import Run, UnreadableRun
from dlrun.runs.shown_results import interval_of_test_accuracy
from dlrun.system.console import Screen
from dlrun.system.text import cut, format_text_table, printable, shorten_paths

LONG = 40  # characters to which a terminal cuts a cell
WHOLE = ("name", "folder")  # columns whose cells are not cut
ENDS = ("low", "high")  # the two columns of an interval in a CSV table
Row = Mapping[str, object]


@dataclass(frozen=True)
class Column:
    """Describes a column of a table: its key in the rows, its heading, and its format.

    title: the heading; empty for the name. is_number: whether it is aligned to the right.
    """

    name: str
    title: str = ""
    format: Callable[[object], str] = format_setting
    is_number: bool = False

    @classmethod
    def number(cls, name: str, title: str = "") -> "Column":
        """A metric or a count is aligned to the right."""
        return cls(name, title, format_metric, is_number=True)

    @property
    def heading(self) -> str:
        return self.title or self.name

    def text(self, row: Row) -> str:
        """A row without a value has an empty cell."""
        value = row.get(self.name)
        return "" if value is None else self.format(value)


def _format_ends(value: object) -> str:
    return format_interval(value) if isinstance(value, tuple) else ""


def _format_seconds(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) and value < 1000 else f"{value:.0f}"


def _format_settings(value: object) -> str:
    return format_settings_briefly(value) if isinstance(value, dict) else str(value)


def _join(values: object) -> str:
    return ",".join(values) if isinstance(values, list) else str(values)


def _one_line(value: object) -> str:
    return cut(" ".join(str(value).split()), LONG)


SECONDS = Column("seconds", "sec", _format_seconds, is_number=True)
# What is known of a group of runs and a metric: `MetricComparisonRow.as_object` of reports/.
MEAN = Column.number("mean")
SD = Column.number("sd")
INTERVAL_OF_MEAN = Column("interval_of_mean", "interval of the mean", _format_ends, True)
RANGE_OF_RUNS = Column("range_of_runs", "range of runs", _format_ends, True)
INTERVAL_OF_TEST_SET = Column("interval_of_test_set", "interval of a test set", _format_ends, True)
# Published numbers stand as they were published.
PUBLISHED = (
    Column("book", format=repr, is_number=True),
    Column("book_is", "the book is"),
    Column("notebook", format=repr, is_number=True),
    Column("notebook_is", "the notebook is"),
)
GROUP_COLUMNS = (
    *(Column("config"), Column("metric"), Column.number("count", "n"), MEAN, SD),
    *(INTERVAL_OF_MEAN, RANGE_OF_RUNS, INTERVAL_OF_TEST_SET, *PUBLISHED),
)
# What is known of a run: `run_row`.
RUN_COLUMNS = (
    Column("name"),
    Column("experiment"),
    Column("state"),
    Column("metric"),
    Column.number("value"),
    INTERVAL_OF_TEST_SET,
    Column.number("book"),
    Column("reference_differs"),
    SECONDS,
    Column("tags", format=_join),
    Column("differs", format=_format_settings),
    Column("note", format=_one_line),
    Column("began"),
    Column("folder", format=lambda value: shorten_paths(str(value))),
    Column("problem"),
)


def run_row(run: Run, notes: RunNotes, differs: Values) -> Values:
    """The row has what tables show of a run: state, main metric, duration, tags and more.

    differs: the settings that differ from the shipped config.
    """
    record = run.record
    parent = run.folder.parent.name  # handed in, it may lie below a student
    metric = main_metric(record)
    return {
        "name": run.name if parent == record.experiment else f"{parent}/{run.name}",
        "experiment": record.experiment,
        "state": run.state,
        "metric": metric,
        "value": record.metrics[metric] if metric else None,
        "interval_of_test_set": interval_of_test_accuracy(record),
        "book": published_metrics(record).get("book", {}).get(metric or ""),
        "reference_differs": record.reference_differs,
        "seconds": record.seconds.get("total"),
        "tags": notes.tags,
        "differs": differs,
        "note": notes.note or None,
        "began": record.started,
        "folder": str(run.folder),
        "problem": None,
    }


def unreadable_run_row(run: UnreadableRun) -> Values:
    """The row says where a run is that cannot be read, and why it cannot."""
    row: Values = dict.fromkeys(column.name for column in RUN_COLUMNS)
    return row | {
        "name": run.name,
        "experiment": run.experiment,
        "state": run.state,
        "tags": [],
        "differs": {},
        "folder": str(run.folder),
        "problem": run.problem,
    }


def used_columns(columns: Sequence[Column], rows: Sequence[Row]) -> list[Column]:
    """A column that is empty in all rows is left out."""
    return [column for column in columns if any(column.text(row) for row in rows)]


def table_lines(
    columns: Sequence[Column], rows: Sequence[Row], screen: Screen, *, empty: str = ""
) -> list[str]:
    """The first line is the heading; empty columns are left out.

    A terminal gets lines that fit its width. empty: the text of an empty cell, for programs that
    split a line into words; then only a terminal gets no empty columns.
    """
    on_terminal = screen.out.is_terminal
    cells: dict[Column, list[str]] = {}
    for column in columns:
        texts = [printable(column.text(row)) for row in rows]
        if any(texts) or (empty and not on_terminal):
            is_cut = on_terminal and column.name not in WHOLE
            cells[column] = [(cut(text, LONG) if is_cut else text) or empty for text in texts]
    left = {number for number, column in enumerate(cells) if not column.is_number}
    heads = [column.heading for column in cells]
    lines = format_text_table([heads, *zip(*cells.values(), strict=True)], left=left, gap=1)
    return [cut(line, screen.out.width) for line in lines] if on_terminal else lines


def table_csv(keys: Sequence[str], rows: Sequence[Row]) -> bytes:
    """Each key has a column; an interval has two."""
    intervals = {key for key in keys if key.startswith(("interval_", "range_"))}
    heads: list[str] = []
    for key in keys:
        heads += [f"{key}_{end}" for end in ENDS] if key in intervals else [key]
    table: list[list[object]] = [list(heads)]
    for row in rows:
        cells: list[object] = []
        for key in keys:
            value = row.get(key)
            if key in intervals:
                cells += value if isinstance(value, tuple) else (None, None)
            else:
                cells.append(format_setting(value) if isinstance(value, dict | list) else value)
        table.append(cells)
    return to_csv(table)
