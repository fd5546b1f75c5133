"""The end of a run: its figures, and the last lines on the screen."""

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from dlrun.config.sections import ExperimentConfig
from dlrun.errors import DlrunError, first_line
from dlrun.experiments.base import AnyExperiment
from dlrun.run_context import Results
from dlrun.run_folder.folder import RunFolder, to_json
from dlrun.run_folder.record import RESULTS, Record
from dlrun.run_folder.stored_run import StoredRun
from dlrun.runs.key_metric import ACCURACY, VALID
from dlrun.system.console import Screen, pluralize, printable

EDITIONS = ("book", "notebook")  # of the published figures
NOTABLE = 0.02  # share of the best validation by which the last epoch may be worse unsaid
log = logging.getLogger("dlrun")


def draw(
    experiment: AnyExperiment,
    config: ExperimentConfig,
    run: StoredRun,
    folder: RunFolder,
    screen: Screen,
) -> list[str]:
    """Draw a run's figures into a folder; their names. One that fails loses nothing else."""
    from dlrun.plots.style import to_png  # slow: matplotlib

    try:
        figures = {name: to_png(figure) for name, figure in experiment.draw(run, config).items()}
    except (Exception, SystemExit) as error:  # a font, a backend: no reason to lose the result
        log.exception("the figures")
        screen.warn(f"the figures could not be drawn: {first_line(error)}")
        return []
    for name, content in figures.items():
        folder.write(name, content)
    return list(figures)


def print_json(folder: RunFolder, screen: Screen) -> None:
    """results.json on stdout. Raises OSError where stdout takes it no more."""
    with contextlib.suppress(FileNotFoundError):  # it could not be written, and the error says so
        screen.out.file.write((folder.path / RESULTS).read_text(encoding="utf-8"))
        screen.out.file.flush()


@contextlib.contextmanager
def errors_as_json(screen: Screen, *, wanted: bool) -> Iterator[None]:
    """Before a run has a record: what goes wrong in the block is a JSON object on stdout too."""
    try:
        yield
    except DlrunError as error:
        if wanted:
            about = {"status": "failed", "error": error.message, "hint": error.hint}
            screen.out.file.write(to_json(about))
        raise


def show(
    record: Record, results: Results, folder: Path, screen: Screen, *, summary: bool = False
) -> None:
    """The last lines: the result, the published figures beside it, where everything is."""
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


def computed_on(record: Record) -> str:
    """What a run computed on: ` on cpu, 2 processes of 1 thread`; empty where that is not known."""
    if record.accelerator is None:
        return ""
    threads = pluralize(record.threads, "thread") if isinstance(record.threads, int) else ""
    together = f"{record.processes} processes" if (record.processes or 1) > 1 else ""
    how = " of ".join(filter(None, (together, threads)))
    return " on " + ", ".join(filter(None, (record.accelerator.used, how)))


def published_metrics(
    record: Record, *, ignoring_differences: bool = False
) -> dict[str, dict[str, float]]:
    """The published metrics by edition, where they may stand beside this run's."""
    if record.reference_differs and not ignoring_differences:
        return {}
    return {
        edition: values
        for edition in EDITIONS
        if isinstance(values := record.reference.get(edition), dict)
        and any(isinstance(value, float) for value in values.values())
    }


def not_compared(record: Record) -> str | None:
    """Why the published figures are not beside a run's metrics, and the book's accuracy."""
    editions = published_metrics(record, ignoring_differences=True)
    if not (record.reference_differs and editions):
        return None
    accuracy = editions.get("book", {}).get(ACCURACY)
    theirs = f" (its {ACCURACY} {format_metric(accuracy)})" if accuracy else ""
    return f"not compared{theirs}: {record.reference_differs}"


def notes(record: Record) -> list[tuple[str, str]]:
    """What a reader of the metrics should know, each with its label."""
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
    if why := not_compared(record):
        found.append(("book", why))
    return found


def with_baseline(record: Record, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics; after the test accuracy macro-F1, and the accuracy of the largest class."""
    found: dict[str, Any] = {}
    for name, value in metrics.items():
        found[name] = value
        if name == ACCURACY and (classes := record.classes):
            if classes.macro_f1 is not None:
                found["test_macro_f1"] = classes.macro_f1
            found["largest_class"] = classes.share
    return found


def metrics_table(record: Record) -> Table:
    """A run's metrics, beside them what chance leaves open and what is published."""
    table = Table(box=None, pad_edge=False)
    beside = beside_it(record)
    for column in ("metric", record.experiment, *beside):
        table.add_column(column, justify="left" if column == "metric" else "right")
    for metric, value in with_baseline(record, record.metrics).items():
        others = [format_metric(values.get(metric)) for values in beside.values()]
        table.add_row(Text(printable(metric)), format_metric(value), *others)
    return table


def beside_it(record: Record) -> dict[str, dict[str, Any]]:
    """The columns beside a run's metrics: how far chance may have moved them, what is published."""
    columns: dict[str, dict[str, Any]] = {}
    if record.interval:
        columns["95 % interval"] = {ACCURACY: format_interval(record.interval)}
    return columns | published_metrics(record)


def format_interval(ends: tuple[float, float]) -> str:
    """An interval as it is shown."""
    between = "-" if ends[0] >= 0 else " to "  # of a mean over two seeds it may be wide
    return f"{ends[0]:.4f}{between}{ends[1]:.4f}"


def format_metric(value: Any) -> str:
    """A metric as it is shown."""
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    if not isinstance(value, float):
        return escape(printable(str(value)))
    return f"{value:.4f}" if abs(value) < 1e6 else f"{value:.4g}"
