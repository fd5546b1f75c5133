"""The summary of a run: its metrics beside the published ones, and notes for their reader."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from dlrun.errors import DlrunError
from dlrun.run_context import Results
from dlrun.run_folder.folder import RunFolder, to_json
from dlrun.run_folder.record import RESULTS, Record
from dlrun.runs.key_metric import ACCURACY, VALID
from dlrun.system.console import Screen, pluralize, printable

EDITIONS = ("book", "notebook")  # of the published metrics
NOTABLE = 0.02  # share of the best validation by which a worse last epoch is noted


def show(
    record: Record, results: Results, folder: Path, screen: Screen, *, summary: bool = False
) -> None:
    """Print the last lines of a run: its result, the published metrics, where its files are."""
    for part in results.shown:
        screen.show(part)
    if any(isinstance(value, float) for value in record.metrics.values()):
        screen.show(metrics_table(record))
    else:  # photographs: their labels stand above
        counts = ", ".join(f"{name}: {value}" for name, value in record.metrics.items())
        screen.show(Text(counts))
    if summary and not (folder / "summary.txt").exists():
        screen.note(f"{record.experiment} has no layers to summarise")
    lines = [("data", record.data), *notes(record)]
    lines.append(("time", f"{record.seconds.get('total', 0):.1f} s{computed_on(record)}"))
    lines += [("figure", str(folder / figure)) for figure in record.figures]
    lines.append(("run", str(folder)))
    for label, text in lines:
        screen.show(Text(f"{label:<7}", style="bold") + Text(text))


def print_json(folder: RunFolder, screen: Screen) -> None:
    """Print results.json on stdout. Raises OSError if stdout was closed."""
    with contextlib.suppress(FileNotFoundError):  # an error message says why it is missing
        screen.out.file.write((folder.path / RESULTS).read_text(encoding="utf-8"))
        screen.out.file.flush()


@contextlib.contextmanager
def errors_as_json(screen: Screen, *, wanted: bool) -> Iterator[None]:
    """Print an error of the block as a JSON object on stdout too, if wanted."""
    try:
        yield
    except DlrunError as error:
        if wanted:
            about = {"status": "failed", "error": error.message, "hint": error.hint}
            screen.out.file.write(to_json(about))
        raise


def computed_on(record: Record) -> str:
    """Return what a run computed on: ` on cpu, 2 processes of 1 thread`; empty if unknown."""
    if record.accelerator is None:
        return ""
    threads = pluralize(record.threads, "thread") if isinstance(record.threads, int) else ""
    processes = f"{record.processes} processes" if (record.processes or 1) > 1 else ""
    parts = (record.accelerator.used, " of ".join(filter(None, (processes, threads))))
    return " on " + ", ".join(filter(None, parts))


def published_metrics(
    record: Record, *, ignoring_differences: bool = False
) -> dict[str, dict[str, float]]:
    """Return the published metrics by edition, if they can be compared with the run's."""
    if record.reference_differs and not ignoring_differences:
        return {}
    return {
        edition: values
        for edition in EDITIONS
        if isinstance(values := record.reference.get(edition), dict)
        and any(isinstance(value, float) for value in values.values())
    }


def notes(record: Record) -> list[tuple[str, str]]:
    """Return what a reader of the metrics should know, each with its label."""
    found = []
    best = record.best_epoch
    last = record.metrics.get(best.metric) if best else None
    if best and last is not None and abs(best.value - last) > NOTABLE * abs(best.value):
        name = best.metric.removeprefix(VALID).replace("_", " ")
        values = f"{format_metric(last)} at the last epoch, best {format_metric(best.value)}"
        found.append(("valid", f"validation {name} {values} at epoch {best.epoch}"))
    for metric, one in record.expected.items():
        name, ends = metric.replace("_", " "), format_interval((one.low, one.high))
        seeds = pluralize(one.seeds, "seed")
        found.append(("seeds", f"95 % of runs end at a {name} of {ends} ({seeds})"))
    editions = published_metrics(record, ignoring_differences=True)
    if record.reference_differs and editions:
        accuracy = editions.get("book", {}).get(ACCURACY)
        theirs = f" (its {ACCURACY} {format_metric(accuracy)})" if accuracy else ""
        found.append(("book", f"not compared{theirs}: {record.reference_differs}"))
    return found


def with_baseline(record: Record, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics with macro-F1 and the largest class's accuracy after the test accuracy."""
    found: dict[str, Any] = {}
    for name, value in metrics.items():
        found[name] = value
        if name == ACCURACY and (classes := record.classes):
            if classes.macro_f1 is not None:
                found["test_macro_f1"] = classes.macro_f1
            found["largest_class"] = classes.share
    return found


def metrics_table(record: Record) -> Table:
    """Return the table of a run's metrics, their interval and the published metrics."""
    table = Table(box=None, pad_edge=False)
    references = reference_columns(record)
    for column in ("metric", record.experiment, *references):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for metric, value in with_baseline(record, record.metrics).items():
        others = [format_metric(values.get(metric)) for values in references.values()]
        table.add_row(Text(printable(metric)), format_metric(value), *others)
    return table


def reference_columns(record: Record) -> dict[str, dict[str, Any]]:
    """Return the columns beside a run's metrics: the interval of chance, the published metrics."""
    columns: dict[str, dict[str, Any]] = {}
    if record.interval:
        columns["95 % interval"] = {ACCURACY: format_interval(record.interval)}
    return columns | published_metrics(record)


def format_interval(ends: tuple[float, float]) -> str:
    """Return an interval as text: `0.8484-0.8571`."""
    between = "-" if ends[0] >= 0 else " to "  # the interval of a mean over two seeds is wide
    return f"{ends[0]:.4f}{between}{ends[1]:.4f}"


def format_metric(value: Any) -> str:
    """Return a metric as text; empty for None."""
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    if not isinstance(value, float):
        return escape(printable(str(value)))
    return f"{value:.4f}" if abs(value) < 1e6 else f"{value:.4g}"
