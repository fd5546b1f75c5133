"""`dlrun runs show`: everything about one run."""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.text import Text

from dlrun.commands.list_runs import format_value
from dlrun.errors import ConfigError
from dlrun.experiments.run import Run
from dlrun.run_folder import metrics
from dlrun.run_folder.folder import to_json
from dlrun.system.console import Screen, format_size, pluralize

LABEL_WIDTH = 9


def show(run: str = "latest", *, json: bool = False, runs_dir: Path | None = None) -> None:
    """Show a run's state, result, versions, files, and the commands that resume and repeat it.

    Raises ConfigError if there is no such run, DlrunError if it cannot be read.
    """
    screen, opened = Screen(), Run.open(run, runs_dir)
    if json:
        screen.out.file.write(to_json(describe_run(opened)))
        return
    for label, text in _lines_before_metrics(opened):
        _print(screen, label, text)
    if opened.newest_metrics:
        record = opened.record.model_copy(update={"metrics": opened.newest_metrics})
        screen.show(metrics.metrics_table(record))
    for label, text in _lines_after_metrics(opened):
        _print(screen, label, text)


def describe_run(run: Run) -> dict[str, Any]:
    """Return everything about a run under the names that scripts use."""
    sizes = run.sizes
    return {
        "name": run.name,
        "folder": str(run.folder),
        "experiment": run.record.experiment,
        "state": run.state,
        "differs": _changed_settings(run),
        "metrics": run.newest_metrics,
        "interval": run.record.interval,
        "published": metrics.published_metrics(run.record),
        "size": sum(sizes.values()),
        "files": sizes,
        "figures": [str(figure) for figure in run.figures],
        "resume": run.resume_command,
        "repeat": run.repeat_command,
        "record": run.record.model_dump(mode="json"),
        "environment": run.environment.model_dump(mode="json"),
    }


def _print(screen: Screen, label: str, text: str) -> None:
    lines = [text]
    if ", " in text:  # only lists are wrapped: a path or command must stay whole to be copied
        width = max(20, screen.out.width - LABEL_WIDTH)
        lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    for place, line in enumerate(lines):
        head = "" if place else label
        screen.show(Text(f"{head:<{LABEL_WIDTH}}", style="bold") + Text(line))


def _changed_settings(run: Run) -> dict[str, Any] | None:
    """Return what differs from the shipped config; None if the experiment is not installed."""
    try:
        return run.changed_settings()
    except ConfigError:
        return None


def _lines_before_metrics(run: Run) -> Iterator[tuple[str, str]]:
    record, differs = run.record, _changed_settings(run)
    yield "run", f"{record.experiment} {run.name}"
    parts = [str(run.state)]
    if record.steps:
        parts.append(pluralize(record.steps, "step"))
    for event in ("started", "resumed", "ended"):
        if stamp := getattr(record, event):
            parts.append(f"{event} {stamp.replace('T', ' ').replace('+00:00', ' UTC')}")
    yield "state", ", ".join(parts)
    if record.error:
        yield "error", record.error
    if record.data:
        yield "data", record.data
    if differs is None:
        yield "differs", f"unknown, because {record.experiment} is not installed"
    else:
        values = ", ".join(f"{key}={format_value(value)}" for key, value in differs.items())
        yield "differs", values or "in nothing from the shipped config"


def _lines_after_metrics(run: Run) -> Iterator[tuple[str, str]]:
    record, environment = run.record, run.environment
    yield from metrics.notes(record)
    if record.seconds:
        parts = ", ".join(f"{name} {value:.1f} s" for name, value in record.seconds.items())
        yield "time", f"{parts}{record.computed_on}"
    more = environment.model_extra or {}
    versions = {"dlrun": environment.dlrun, "code": environment.code, "python": more.get("python")}
    known = [f"{name} {one}" for name, one in (versions | environment.packages).items() if one]
    yield "versions", ", ".join(known)
    if machine := [str(more[name]) for name in ("platform", "processor") if more.get(name)]:
        yield "machine", ", ".join(machine)
    sizes = run.sizes
    files = ", ".join(f"{name} {format_size(size)}" for name, size in sizes.items())
    yield "size", f"{format_size(sum(sizes.values()))}: {files}"
    for figure in run.figures:
        yield "figure", str(figure)
    yield "folder", str(run.folder)
    if command := run.resume_command:
        yield "resume", command
    yield "repeat", run.repeat_command
