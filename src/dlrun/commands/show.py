"""Everything about one run."""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.text import Text

from dlrun.commands.list_runs import bytes_in_words, word
from dlrun.errors import ConfigError
from dlrun.run_folder.folder import to_json
from dlrun.runs import console_summary
from dlrun.runs.run import Run
from dlrun.runs.run_config import changed_settings
from dlrun.system.console import Screen, pluralize

WIDTH = 9  # of the labels


def show(run: str, runs_dir: Path | None, *, as_json: bool) -> None:
    """Show a run. Raises ConfigError where there is none, DlrunError where it cannot be read."""
    screen, opened = Screen(), Run.open(run, runs_dir)
    if as_json:
        screen.out.file.write(to_json(about(opened)))
        return
    for label, text in _head(opened):
        _line(screen, label, text)
    if opened.newest:
        record = opened.record.model_copy(update={"metrics": opened.newest})
        screen.show(console_summary.metrics_table(record))
    for label, text in _rest(opened):
        _line(screen, label, text)


def about(run: Run) -> dict[str, Any]:
    """The same by the names that scripts use."""
    sizes = run.sizes
    return {
        "name": run.name,
        "folder": str(run.folder),
        "experiment": run.record.experiment,
        "state": run.state,
        "differs": _differing(run),
        "metrics": run.newest,
        "interval": run.record.interval,
        "published": console_summary.published_metrics(run.record),
        "size": sum(sizes.values()),
        "files": sizes,
        "figures": [str(figure) for figure in run.figures],
        "resume": run.resume_command,
        "repeat": run.repeat_command,
        "record": run.record.model_dump(mode="json"),
        "environment": run.environment.model_dump(mode="json"),
    }


def _line(screen: Screen, label: str, text: str) -> None:
    lines = [text]
    if ", " in text:  # an enumeration; a path or a command stays whole, to be copied
        width = max(20, screen.out.width - WIDTH)
        lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    for place, line in enumerate(lines):
        screen.show(Text(f"{'' if place else label:<{WIDTH}}", style="bold") + Text(line))


def _differing(run: Run) -> dict[str, Any] | None:
    """None where the experiment is not installed: nobody knows what it was shipped with."""
    try:
        return changed_settings(run)
    except ConfigError:
        return None


def _head(run: Run) -> Iterator[tuple[str, str]]:
    record, differs = run.record, _differing(run)
    yield "run", f"{record.experiment} {run.name}"
    done = f", {pluralize(record.steps, 'step')}" if record.steps else ""
    times = [(word, getattr(record, word)) for word in ("started", "resumed", "ended")]
    when = "".join(f", {word} {_time(value)}" for word, value in times if value)
    yield "state", f"{run.state}{done}{when}"
    if record.error:
        yield "error", record.error
    if record.data:
        yield "data", record.data
    if differs is None:
        yield "differs", f"{record.experiment} is not installed: nobody knows its defaults"
    else:
        values = ", ".join(f"{key}={word(value)}" for key, value in differs.items())
        yield "differs", values or "in nothing from the shipped config"


def _rest(run: Run) -> Iterator[tuple[str, str]]:
    record, environment = run.record, run.environment
    yield from console_summary.notes(record)
    if record.seconds:
        parts = ", ".join(f"{name} {value:.1f} s" for name, value in record.seconds.items())
        yield "time", f"{parts}{console_summary.computed_on(record)}"
    more = environment.model_extra or {}
    versions = {"dlrun": environment.dlrun, "code": environment.code, "python": more.get("python")}
    known = {name: one for name, one in (versions | environment.packages).items() if one}
    yield "versions", ", ".join(f"{name} {version}" for name, version in known.items())
    machine = [str(more[name]) for name in ("platform", "processor") if more.get(name)]
    if machine:
        yield "machine", ", ".join(machine)
    sizes = run.sizes
    files = ", ".join(f"{name} {bytes_in_words(size)}" for name, size in sizes.items())
    yield "size", f"{bytes_in_words(sum(sizes.values()))}: {files}"
    for figure in run.figures:
        yield "figure", str(figure)
    yield "folder", str(run.folder)
    if command := run.resume_command:
        yield "resume", command
    yield "repeat", run.repeat_command


def _time(text: str) -> str:
    """`2026-11-25 12:57:56 UTC` of `2026-11-25T12:57:56+00:00`."""
    return text.replace("T", " ").replace("+00:00", " UTC")
