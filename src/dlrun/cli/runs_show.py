"""`dlrun runs show`: show everything about one run."""

import contextlib
import textwrap
from collections.abc import Mapping, Sequence

from rich.text import Text

from dlrun.cli import options as opt
from dlrun.cli.opened_runs import notes_or_warning
from dlrun.config.yaml_loader import format_override
from dlrun.errors import ConfigError
from dlrun.experiments.resuming import resume_command
from dlrun.experiments.saved_runs import changed_settings
from dlrun.runs import shown_results as metrics
from dlrun.runs.descriptions import describe_data, describe_device
from dlrun.runs.notes import RunNotes
from dlrun.runs.published import published_metrics
from dlrun.runs.run import Run
from dlrun.system.console import Screen
from dlrun.system.text import format_size, pluralize

LABEL_WIDTH = 9
Lines = Sequence[tuple[str, str | None]]  # labels and texts
Settings = Mapping[str, object]  # values of the config by dotted keys


def show(run: opt.RunName = "latest", json: opt.Json = False, runs_dir: opt.RunsDir = None) -> None:
    """Show one run: result, data, versions, files, and the commands to resume and repeat it.

    Examples:
    dlrun runs show imdb-dense/latest
    dlrun runs show ff75 --json
    """
    screen = Screen()
    opened = Run.open(run, runs_dir)
    differs = None
    with contextlib.suppress(ConfigError):  # its experiment is not installed
        differs = changed_settings(opened)
    notes = notes_or_warning(opened, screen)
    if json:
        screen.print_json(_run_as_object(opened, differs, notes))
        return
    _show_lines(_lines_of_origin(opened, differs, notes), screen)
    if opened.newest_metrics:
        record = opened.record.model_copy(update={"metrics": opened.newest_metrics})
        screen.show(metrics.metrics_table(record))
    _show_lines(_lines_of_files_and_versions(opened), screen)


def _run_as_object(run: Run, differs: Settings | None, notes: RunNotes) -> dict[str, object]:
    sizes = run.sizes
    return {
        "name": run.name,
        "folder": str(run.folder),
        "experiment": run.record.experiment,
        "state": run.state,
        "tags": notes.tags,
        "note": notes.note or None,
        "differs": differs,
        "metrics": run.newest_metrics,
        "interval_of_test_set": metrics.interval_of_test_accuracy(run.record),
        "published": published_metrics(run.record),
        "size": sum(sizes.values()),
        "files": sizes,
        "figures": [str(figure) for figure in run.figures],
        "resume": resume_command(run),
        "repeat": run.repeat_command,
        "record": run.record.model_dump(),
        "environment": run.environment.model_dump(),
    }


def _show_lines(lines: Lines, screen: Screen) -> None:
    """Print each text beside its label; what is empty has no line."""
    for label, text in lines:
        if text:
            indented = textwrap.indent(text, " " * LABEL_WIDTH).lstrip()
            screen.show(Text(f"{label:<{LABEL_WIDTH}}", style="bold") + Text(indented))


def _lines_of_origin(run: Run, differs: Settings | None, notes: RunNotes) -> Lines:
    record = run.record
    state = [str(run.state)]
    if record.steps:
        state.append(pluralize(record.steps, "step"))
    if record.continues:
        state.append(f"continues {record.continues}")
    for event in ("started", "resumed", "ended"):
        if stamp := getattr(record, event):
            state.append(f"{event} {stamp.replace('T', ' ').replace('+00:00', ' UTC')}")
    changes = f"unknown, because {record.experiment} is not installed"
    if differs is not None:
        changes = ", ".join(format_override(key, value) for key, value in differs.items())
    return [
        ("run", f"{record.experiment} {run.name}"),
        ("state", ", ".join(state)),
        ("error", record.error),
        ("tags", ", ".join(notes.tags)),
        ("note", notes.note),
        ("data", describe_data(record)),
        ("differs", changes or "in nothing from the shipped config"),
    ]


def _lines_of_files_and_versions(run: Run) -> Lines:
    record = run.record
    environment = run.environment
    sizes = run.sizes
    seconds = ", ".join(f"{name} {value:.1f} s" for name, value in record.seconds.items())
    versions = {"dlrun": environment.dlrun, "code": environment.code, **environment.packages}
    known = [f"{name} {version}" for name, version in versions.items() if version]
    files = ", ".join(f"{name} {format_size(size)}" for name, size in sizes.items())
    python = environment.python and f"Python {environment.python}"
    machine = [python, environment.platform, environment.processor]
    return [
        *metrics.remarks_on_metrics(record),
        ("time", f"{seconds} {describe_device(record)}".strip()),
        ("versions", ", ".join(known)),
        ("machine", ", ".join(filter(None, machine))),
        ("size", f"{format_size(sum(sizes.values()))}: {files}"),
        *(("figure", str(figure)) for figure in run.figures),
        ("folder", str(run.folder)),
        ("resume", resume_command(run)),
        ("repeat", run.repeat_command),
    ]
