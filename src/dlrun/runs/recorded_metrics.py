"""Read the metrics of a run from metrics.csv, choose the main metric, and format metrics."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from dlrun.errors import DataError
from dlrun.metrics import TESTED, VALID, Directions, Metric, describe_metric
from dlrun.runs.csv_tables import parse_csv
from dlrun.runs.record import ACCURACY, BestEpoch, RunRecord
from dlrun.system.console import pluralize, printable

STEP, LR, SECONDS = "epoch", "lr", "seconds"
NO_METRICS = (STEP, LR, SECONDS)  # columns of metrics.csv
SMALL, LARGE = 1e-3, 1e6  # a smaller number has three significant digits, a larger one an exponent
NOTABLE = 0.02  # share of the best validation metric by which a worse last epoch is noted
MAX_PLOTTABLE = 1e100  # a run that diverged may have more
# The editions of the published metrics, and what each is.
EDITIONS = {
    "book": "the first printing of 2023",
    "notebook": "the authors' rerun of 2026-02-04 on an Apple GPU (MPS)",
}
ABOUT_EDITIONS = " ".join(f"{edition.capitalize()}: {text}." for edition, text in EDITIONS.items())
HOLD_OUT = "`--set data.validation=0.2` holds training rows out"


def newest_metrics(rows: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Return the newest value of each metric in rows of metrics.csv.

    That is its value in the last row where it is not NaN: not every epoch is validated.
    """
    return {
        name: value
        for row in rows
        for name, value in row.items()
        if name not in NO_METRICS and not math.isnan(value)
    }


def parse_metrics_csv(content: bytes, path: Path) -> dict[str, list[float]]:
    """Parse a metrics.csv, and return its columns by name; `3` becomes an int, `3.0` a float.

    An empty cell becomes NaN. A last row without a line end, as a power cut may leave it, is
    dropped. Raises DataError, which names its path, if it is damaged.
    """
    try:
        whole_lines, _, _ = content.rpartition(b"\n")
        names, rows = parse_csv(whole_lines)
        cells = [[_parse_csv_number(cell) for cell in row] for row in rows]
    except (ValueError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    return {name: [row[column] for row in cells] for column, name in enumerate(names)}


def _parse_csv_number(cell: str) -> float:
    if cell.isdecimal() and len(cell) < 16:
        return int(cell)
    return float(cell) if cell else math.nan


def main_metric(record: RunRecord) -> str | None:
    """Return the name of a run's main metric: the first test metric that is no loss."""
    tested = (name for name in record.metrics if name.startswith(TESTED))
    return min(tested, key=lambda name: record.metric(name).is_loss, default=None)


def selection_metric(record: RunRecord, among: Iterable[str] | None = None) -> Metric | None:
    """Return the validation metric by which a sweep selects its best config, or None.

    It is the first with a direction that is no loss, or the loss. among: the names to choose from;
    None: those of the record's metrics.
    """
    names = record.metrics if among is None else among
    return _first_ranked_metric(record.metric(name) for name in names)


def _first_ranked_metric(metrics: Iterable[Metric]) -> Metric | None:
    validated = (metric for metric in metrics if metric.name.startswith(VALID) and metric.sign)
    return min(validated, key=lambda metric: metric.is_loss, default=None)


def best_epoch(
    rows: Sequence[Mapping[str, float]],
    directions: Directions,
    *,
    by: str | None = None,
) -> BestEpoch | None:
    """Return the epoch with the best validation metric, or None if no epoch was validated.

    directions: those that the config declares. by: the metric; None: the one by which a sweep
    selects.
    """
    if not rows or STEP not in rows[0]:
        return None
    names = [by] if by else rows[0]
    metric = _first_ranked_metric(describe_metric(name, directions) for name in names)
    validated = _rows_with(metric.name, rows) if metric else []
    if metric is None or not validated:
        return None
    best = max(validated, key=lambda row: metric.sign * row[metric.name])
    value = best[metric.name]
    return BestEpoch(metric=metric.name, epoch=int(best[STEP]), value=value)


def kept_epoch(rows: Sequence[Mapping[str, float]], directions: Directions, by: str | None) -> int:
    """Return the epoch whose weights are kept: the best by a validation metric, or the last."""
    best = best_epoch(rows, directions, by=by) if by else None
    return best.epoch if best else len(rows)


def is_stopped_early(
    rows: Sequence[Mapping[str, float]],
    metric: Metric,
    patience: int,
    min_delta: float,
) -> bool:
    """Return whether early stopping ends the training after these epochs.

    The rows alone decide, so that a resumed run ends where it would have ended.
    """
    best = -math.inf
    waited = 0
    for row in _rows_with(metric.name, rows):
        value = metric.sign * row[metric.name]
        if value - best > min_delta:
            best = value
            waited = 0
        else:
            waited += 1
    return waited >= patience


def _rows_with(metric: str, rows: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
    """Return the rows that have a metric: not every epoch is validated."""
    return [row for row in rows if math.isfinite(row.get(metric, math.nan))]


def is_plottable(value: float) -> bool:
    """Return whether a value can be drawn and averaged: not NaN, and at most 1e100 in size."""
    return abs(value) <= MAX_PLOTTABLE


def published_metrics(
    record: RunRecord, *, ignoring_differences: bool = False
) -> dict[str, dict[str, float]]:
    """Return the book ISLP's metrics for a run by edition; none if the run is not comparable."""
    if record.reference_differs and not ignoring_differences:
        return {}
    published = {
        edition: {
            name: float(value)
            for name, value in values.items()
            if isinstance(value, int | float) and is_plottable(value)
        }
        for edition in EDITIONS
        if isinstance(values := record.reference.get(edition), dict)
    }
    return {edition: values for edition, values in published.items() if values}


def add_accuracy_of_largest_class(
    record: RunRecord, metrics: Mapping[str, object]
) -> dict[str, object]:
    """Add the accuracy of always predicting the largest class of the training rows to metrics."""
    if ACCURACY not in metrics or not record.classes:
        return dict(metrics)
    *_, last = (number for number, name in enumerate(metrics, 1) if name.startswith(TESTED))
    items = [*metrics.items()]
    return dict([*items[:last], ("always the largest class", record.classes.share), *items[last:]])


def metrics_table(record: RunRecord) -> Table:
    """Return a table of a run's metrics beside its confidence interval and ISLP's metrics."""
    table = Table(box=None, pad_edge=False)
    references: dict[str, Mapping[str, object]] = {}
    if record.accuracy_interval:
        references["interval of a test set"] = {ACCURACY: format_interval(record.accuracy_interval)}
    references |= published_metrics(record)
    for column in ("metric", record.experiment, *references):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for metric, value in add_accuracy_of_largest_class(record, record.metrics).items():
        others = [format_metric(values.get(metric)) for values in references.values()]
        table.add_row(Text(printable(metric)), format_metric(value), *others)
    return table


def remarks_on_metrics(record: RunRecord) -> list[tuple[str, str]]:
    """Return (label, remark) pairs on a run's metrics, such as that an earlier epoch was better."""
    lines = []
    best = record.best_epoch
    if record.stopped_epoch:
        lines.append(("ended", f"the training stopped early, after epoch {record.stopped_epoch}"))
    if record.earlier_epoch:
        lines.append(("kept", f"the weights of epoch {record.earlier_epoch}, not of the last one"))
    last = record.metrics.get(best.metric) if best else None
    if best and last is not None and abs(best.value - last) > NOTABLE * abs(best.value):
        name = best.metric.removeprefix(VALID).replace("_", " ")
        epoch = f"epoch {record.earlier_epoch}" if record.earlier_epoch else "the last epoch"
        values = f"{format_metric(last)} at {epoch}, best {format_metric(best.value)}"
        same = " (of the test rows: they validate too)" if record.validates_on_test else ""
        lines.append(("valid", f"validation {name} {values} at epoch {best.epoch}{same}"))
    for metric, expected in record.expected.items():
        name = metric.replace("_", " ")
        ends = format_interval((expected.low, expected.high))
        seeds = f"{pluralize(expected.seeds, 'seed')} of the experiment's makers"
        lines.append(("seeds", f"the range of runs is {ends} in {name} ({seeds})"))
    editions = published_metrics(record, ignoring_differences=True)
    metric = main_metric(record) or ""
    if metric and (why := record.metric(metric).not_ranked):
        lines.append(("metric", why))
    if record.reference_differs:
        value = editions.get("book", {}).get(metric)
        theirs = "" if value is None else f" (its {metric} {format_metric(value)})"
        lines.append(("book", f"not compared{theirs}: {record.reference_differs}"))
    return lines


def too_good_by_test_rows(what: str) -> str:
    """Return the warning that a metric is too good, as the test rows were used to validate."""
    return f"the validation rows are the test rows: {what} is too good; {HOLD_OUT}"


def format_interval(ends: tuple[float, float]) -> str:
    """Return an interval as text, such as `0.8484-0.8571` or `1.00e-07 to 3.50e-07`."""
    between = "-" if ends[0] >= 0 else " to "  # the interval of a mean over two seeds is wide
    size = max(map(abs, ends))
    if 0 < size < SMALL or size >= LARGE:
        return f"{format_metric(ends[0])} to {format_metric(ends[1])}"
    decimals = 4 if size < 100 else 2 if size < 1000 else 0
    return f"{ends[0]:.{decimals}f}{between}{ends[1]:.{decimals}f}"


def format_metric(value: object) -> str:
    """Return the value of a metric as text; empty for None."""
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    if not isinstance(value, float):
        return escape(printable(str(value)))
    if 0 < abs(value) < SMALL:
        return f"{value:#.3g}"
    if abs(value) < LARGE:
        return f"{value:.{4 if abs(value) < 1e3 else 1 if abs(value) < 1e4 else 0}f}"
    return f"{value:.5g}"


def format_metrics_line(metrics: Mapping[str, object]) -> str:
    """Return metrics with short names as one line: `train loss 0.3 acc. 0.9  valid loss 0.4`."""
    texts: dict[str, str] = {}
    for name, value in metrics.items():
        part, _, metric = name.partition("_")
        text = f"{shorten_metric(metric)} {format_metric(value)}".lstrip()
        texts[part] = f"{texts.get(part, part)} {text}"
    return "  ".join(texts.values())


def shorten_metric(metric: str) -> str:
    """Return the name of a metric for a line or a heading: `valid acc.` for `valid_accuracy`."""
    return metric.replace("accuracy", "acc.").replace("_", " ")
