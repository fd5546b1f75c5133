"""Show the results of a run: its metrics beside the published ones, and remarks on them."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dlrun.metrics import VALID, format_interval, format_metric
from dlrun.runs.descriptions import describe_data, describe_device
from dlrun.runs.folder import RESULTS
from dlrun.runs.published import published_metrics
from dlrun.runs.ranked_metrics import main_metric
from dlrun.runs.record import ACCURACY, RunRecord
from dlrun.stats import wilson_interval
from dlrun.system.console import Screen
from dlrun.system.text import pluralize, printable

NOTABLE = 0.02  # share of the best validation metric by which a worse last epoch is noted
# It is above the rounding of a metric by float32; a mean of accuracies by class is further away.
SINGLE_PRECISION_ERROR = 1e-6
HOLD_OUT = "`--set data.validation=0.2` holds training rows out"


def interval_of_test_accuracy(record: RunRecord) -> tuple[float, float] | None:
    """The interval is the 95 % confidence interval of the test accuracy.

    A mean of accuracies by class has none, because it is no share of the rows.
    """
    accuracy = record.metrics.get(ACCURACY)
    if accuracy is None or not record.test_rows or not 0 <= accuracy <= 1:
        return None
    correct = round(accuracy * record.test_rows)
    if abs(correct / record.test_rows - accuracy) > SINGLE_PRECISION_ERROR:
        return None
    return wilson_interval(correct, record.test_rows)


def add_accuracy_of_largest_class(
    record: RunRecord, metrics: Mapping[str, object]
) -> dict[str, object]:
    """The accuracy of always predicting the largest class follows the test accuracy."""
    if ACCURACY not in metrics or not record.classes:
        return dict(metrics)
    place = list(metrics).index(ACCURACY) + 1
    items = list(metrics.items())
    share = ("always the largest class", record.classes.share)
    return dict([*items[:place], share, *items[place:]])


def metrics_table(record: RunRecord) -> Table:
    """The published metrics and a confidence interval stand beside the metrics of the run."""
    table = Table(box=None, pad_edge=False)
    references: dict[str, Mapping[str, object]] = {}
    if interval := interval_of_test_accuracy(record):
        references["interval of a test set"] = {ACCURACY: format_interval(interval)}
    references |= published_metrics(record)
    for column in ("metric", record.experiment, *references):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for metric, value in add_accuracy_of_largest_class(record, record.metrics).items():
        others = [format_metric(values.get(metric)) for values in references.values()]
        table.add_row(Text(printable(metric)), format_metric(value), *others)
    return table


def remarks_on_metrics(record: RunRecord) -> list[tuple[str, str]]:
    """Each remark has a label; one says, for example, that an earlier epoch was better."""
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
    """The metric is too good because the test rows were used to validate."""
    return f"the validation rows are the test rows: {what} is too good; {HOLD_OUT}"


def print_results(record: RunRecord, screen: Screen, before: Iterable[RenderableType]) -> None:
    """Print the results of a run; a closed terminal or pipe is only a warning.

    before: what the experiment shows before the metrics.
    """
    with _shown_or_warned(screen):
        for part in before:
            screen.show(part)
        if any(isinstance(value, float) for value in record.metrics.values()):
            screen.show(metrics_table(record))
        else:  # photographs: their labels were printed above
            counts = ", ".join(f"{name}: {value}" for name, value in record.metrics.items())
            screen.show(counts)
        screen.show_labelled(
            ("data", describe_data(record)),
            *_remarks_on_rows(record),
            *remarks_on_metrics(record),
        )


def print_files(record: RunRecord, folder: Path, screen: Screen) -> None:
    """Print the time and the files of a finished run; a closed terminal is only a warning."""
    with _shown_or_warned(screen):
        screen.show_labelled(
            ("time", f"{record.seconds.get('total', 0):.1f} s {describe_device(record)}"),
            *[("figure", str(folder / figure)) for figure in record.figures],
            ("run", str(folder)),
        )


@contextlib.contextmanager
def _shown_or_warned(screen: Screen) -> Iterator[None]:
    """Warn if nobody reads the output of a `with` block, as after `| head`: the run goes on."""
    try:
        yield
    except (OSError, SystemExit) as error:  # rich ends the process if a pipe is closed
        why = getattr(error, "strerror", None) or "nobody reads it"
        screen.warn(f"the result is not shown ({why}): it is in {RESULTS}")


def _remarks_on_rows(record: RunRecord) -> list[tuple[str, str]]:
    """A table of which rows were left out has a remark that says why."""
    counts = record.rows
    if counts is None or not counts.left_out:
        return []
    used = f"{counts.used:,} of {pluralize(counts.in_files, 'row')} used"
    text = f"{used}; left out: {counts.reasons}"
    return [("rows", text)]


def print_results_json(folder: Path, screen: Screen) -> None:
    screen.print_raw((folder / RESULTS).read_text(encoding="utf-8"))
