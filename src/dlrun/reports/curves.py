"""metrics.csv as curves: a run's by parts of the data, several runs' over each other."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dlrun.reports.charts import Chart, Level, Line, Mark, can_be_drawn, look
from dlrun.run_folder.record import FORMAT, Record
from dlrun.runs.console_summary import published_metrics
from dlrun.runs.key_metric import is_plottable

PARTS = {"train": "training", "valid": "validation", "test": "test"}
PART_OF = {name: part for part, name in PARTS.items()}
COMPARED = (
    "valid",
    "test",
    "train",
)  # the part that stands for a run among others: the first it has

Table = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class NumberedRun:
    """A run among others: its number on the page, its name in a legend, its record, its table."""

    number: int
    name: str
    record: Record
    table: Table


def thinned(table: Table, cells: int) -> dict[str, list[float]]:
    """About so many cells of a table at most: rows evenly chosen, the first and the last too."""
    length = min(map(len, table.values()), default=0)
    every = math.ceil(length * len(table) / cells) or 1
    kept = sorted({*range(0, length, every), *range(length)[-1:]})
    return {name: [values[row] for row in kept] for name, values in table.items()}


def measured(table: Table) -> list[str]:
    """What is measured in parts of the data: `train_loss` and `valid_loss` are the loss."""
    parts = (name.partition("_") for name in table)
    return list(dict.fromkeys(metric for part, _, metric in parts if part in PARTS and metric))


def charts(table: Table, record: Record) -> list[Chart]:
    """A run's charts: one for what is measured in parts of the data, one for what else it found."""
    step, metrics = next(iter(table), ""), measured(table)
    if not metrics or not table[step]:
        return []
    groups = {
        metric: {f"{part}_{metric}": name for part, name in PARTS.items()} for metric in metrics
    }
    in_parts = {column for group in groups.values() for column in group}
    others = [name for name in record.metrics if name in table and name not in (step, *in_parts)]
    groups |= {name: {name: name} for name in others}
    found = []
    for metric, columns in groups.items():
        lines = [
            Line(name, table[step], table[column], PART_OF.get(name, "other"))
            for column, name in columns.items()
            if column in table
        ]
        if lines := [line for line in lines if can_be_drawn(line)]:
            levels = [] if f"test_{metric}" in table else _final(record, metric)
            levels += _books(record, metric)
            found.append(
                Chart(metric, step, metric, lines, levels, _mark(record, table[step], step))
            )
    return found


def overlay_charts(runs: Sequence[NumberedRun]) -> list[Chart]:
    """A chart for each metric that several runs have by the same kind of step."""
    steps = dict.fromkeys(next(iter(run.table), "") for run in runs)
    found = []
    for step in steps:
        alike = [run for run in runs if next(iter(run.table), "") == step]
        for metric in dict.fromkeys(metric for run in alike for metric in measured(run.table)):
            lines = [line for run in alike for line in _line(run, step, metric)]
            if len(lines) > 1:
                books = dict.fromkeys(
                    replace(book, name=f"{book.name} of {run.record.experiment}")
                    for run in alike
                    for book in _books(run.record, metric)
                )
                found.append(Chart(f"{metric} by {step}", step, metric, lines, list(books)))
    return found


def _line(run: NumberedRun, step: str, metric: str) -> list[Line]:
    for part in COMPARED:
        if values := run.table.get(f"{part}_{metric}"):
            name = f"{run.name} ({PARTS[part]})"
            line = Line(name, run.table[step], values, look(run.number), str(run.number))
            return [line] if can_be_drawn(line) else []
    return []


def beside(record: Record) -> dict[str, dict[str, float]]:
    """The published metrics by edition, where they may stand beside the run's.

    dlrun 0.1 did not note whether its run was of the same data.
    """
    editions = published_metrics(record) if record.format >= FORMAT else {}
    return {
        edition: {name: float(found) for name, found in values.items() if _is_number(found)}
        for edition, values in editions.items()
    }


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and is_plottable(value)


def _final(record: Record, metric: str) -> list[Level]:
    value = record.metrics.get(f"test_{metric}")
    return [Level("test, at the end", float(value or 0), "test")] if _is_number(value) else []


def _books(record: Record, metric: str) -> list[Level]:
    return [
        Level(f"{edition}'s test", values[f"test_{metric}"], edition)
        for edition, values in beside(record).items()
        if f"test_{metric}" in values
    ]


def _mark(record: Record, steps: Sequence[float], name: str) -> Mark | None:
    """The step that the result is of, where it is not the last."""
    chosen = record.metrics.get(name)
    near = [step for step in steps if chosen is not None and math.isclose(step, chosen)]
    return Mark(f"chosen {name}", near[0]) if near else None
