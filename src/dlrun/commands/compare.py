"""`dlrun runs compare`: show how runs differ in config, code and data, with their metrics."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from dlrun import stats
from dlrun.commands import options as opt
from dlrun.commands.opened_runs import EMPTY
from dlrun.commands.show import notes_or_warning
from dlrun.config.yaml_loader import Values, format_setting
from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments.saved_run import Run
from dlrun.groups import add_data
from dlrun.metrics import agreed_directions, describe_metric
from dlrun.reports.evaluation import compare_test_rows
from dlrun.rows import INTERVAL_OF_TEST_SET, SECONDS
from dlrun.run_folder import recorded_metrics as metrics
from dlrun.run_folder.find import run_name_without_time
from dlrun.run_folder.record import ACCURACY, RunNotes
from dlrun.system.console import Screen, format_text_table, printable, shorten_paths

MAX_CELL = 30  # characters; longer values stand above the table


@dataclass(frozen=True)
class _Row:
    """Holds what the runs have of one key; best: whether a run's value is the best of all."""

    key: str
    values: Sequence[object]
    format: Callable[[object], str] = format_setting
    best: Sequence[bool] = ()

    @property
    def cells(self) -> list[str]:
        """Return a text for each run."""
        has_null = self.format is format_setting  # a config does
        texts = [
            self.format(value) if has_null or value is not None else EMPTY for value in self.values
        ]
        marks = [" *"[best] for best in self.best] or [""] * len(texts)
        return [
            printable(shorten_paths(text)) + mark for text, mark in zip(texts, marks, strict=True)
        ]


def compare(
    runs: Annotated[
        list[str], opt.argument("Each by folder, name or suffix, latest.", "RUN", opt.complete_runs)
    ],
    json: opt.Json = False,
    runs_dir: opt.RunsDir = None,
) -> None:
    """Show what differs between runs, and their metrics side by side, the best of each marked *.

    Examples:
    dlrun runs compare imdb-dense/latest imdb-lstm/latest
    dlrun runs compare ab12 ff75 --json
    """
    screen = Screen()
    opened = list({run.folder: run for run in (Run.open(name, runs_dir) for name in runs)}.values())
    if len(opened) < max(2, len(runs)):
        raise ConfigError("a comparison needs at least two different runs", "name two or more")
    suffixes = [run_name_without_time(run.folder) for run in opened]
    heads = suffixes if len(set(suffixes)) == len(runs) else [run.name for run in opened]
    described = [_describe(run, notes_or_warning(run, screen)) for run in opened]
    rows = []
    for group, format_value in (("run", str), ("config", format_setting), ("versions", str)):
        values = [groups[group] for groups in described]
        if group == "config" and len({run.record.experiment for run in opened}) > 1:
            screen.note("config: keys that not all of these experiments have are left out")
            common = set(values[0]).intersection(*values)
            values = [{key: config[key] for key in config if key in common} for config in values]
        differing = _differing(values, format_value)
        if not differing and group != "run":
            screen.note(f"{group}: no difference")
        rows += differing
    is_same_source = len({run.record.data for run in opened}) == 1
    known: dict[object, str] = {}
    same_data = all(add_data(known, run) for run in opened)
    if not same_data:
        screen.note("not on the same data: no metric is marked as the best")
    rows += _metrics(opened, mark_best=same_data)
    comparison = None
    if len(opened) == 2 and is_same_source:
        try:
            comparison = compare_test_rows(opened[1], opened[0])
        except DlrunError as error:
            screen.note(f"no difference row by row: {error.message}")
    if json:
        screen.print_json(
            {
                "runs": [run.name for run in opened],
                "rows": [{"key": row.key, "values": row.values, "best": row.best} for row in rows],
                "test_rows": comparison and comparison.as_object(),
            }
        )
        return
    _show(rows, heads, screen)
    if any(any(row.best) for row in rows):
        screen.note("*: the best of the runs")
    if comparison is not None:
        text = comparison.describe(heads[1], heads[0])
        screen.show(
            f"{text}. This is about these two runs only: other seeds give other differences"
        )


def _describe(run: Run, notes: RunNotes) -> dict[str, Values]:
    """Return what is compared besides the metrics, in three groups of values by name."""
    record = run.record
    provenance = run_provenance(run)
    machine = {f"machine: {name}": value for name, value in provenance["machine"].items()}
    return {
        "run": {
            "experiment": record.experiment,
            "state": run.state,
            "data": record.data,
            "tags": ", ".join(notes.tags) or EMPTY,
            "note": notes.note or EMPTY,
        },
        "config": run.settings,
        "versions": {**provenance["code"], **provenance["packages"], **machine},
    }


def run_provenance(run: Run) -> dict[str, Values]:
    """Return the code, packages, machine and data of a run; None for a value it did not record."""
    environment = run.environment
    record = run.record
    return {
        "code": {
            "dlrun": environment.dlrun,
            "digest": environment.code,
        },
        "packages": {"python": environment.python, **environment.packages},
        "machine": {
            "system": environment.platform,
            "processor": environment.processor,
            "cores": environment.threads,
            "threads": record.threads,
            "accelerator": record.accelerator.used if record.accelerator else None,
        },
        "data": {"origin": record.data, "digest": record.data_digest},
    }


def _differing(
    runs: Sequence[Mapping[str, object]], format_value: Callable[[object], str]
) -> list[_Row]:
    """Return a row for each key whose values are not equal in all runs."""
    keys = dict.fromkeys(key for values in runs for key in values)
    rows = [_Row(key, [values.get(key) for values in runs], format_value) for key in keys]
    return [row for row in rows if len(set(row.cells)) > 1]


def _metrics(runs: Sequence[Run], *, mark_best: bool) -> list[_Row]:
    """Return the rows of the metrics (the best value marked), and of the seconds."""
    rows = []
    metrics_of_runs = [run.newest_metrics for run in runs]
    directions = agreed_directions(run.record.directions for run in runs)
    judged_by = {metrics.main_metric(run.record) for run in runs}
    for name in dict.fromkeys(name for values in metrics_of_runs for name in values):
        values = [run_metrics.get(name) for run_metrics in metrics_of_runs]
        sign = describe_metric(name, directions).sign if mark_best else 0
        known = [sign * value for value in values if value is not None]
        behind = [
            value is not None and stats.without_rounding(max(known) - sign * value, max(known))
            for value in values
        ]
        has_best = sign != 0 and any(behind)
        best = [
            has_best and value is not None and not gap
            for value, gap in zip(values, behind, strict=True)
        ]
        rows.append(_Row(name, values, metrics.format_metric, best))
        if name == ACCURACY:
            ends = [run.record.interval for run in runs]
            rows.append(_Row("interval of a test set", ends, INTERVAL_OF_TEST_SET.format))
        if name in judged_by:
            published = [metrics.published_metrics(run.record) for run in runs]
            for edition in metrics.EDITIONS:
                numbers = [editions.get(edition, {}).get(name) for editions in published]
                if any(number is not None for number in numbers):
                    rows.append(_Row(f"{edition}'s {name}", numbers, metrics.format_metric))
    totals = [run.record.seconds.get("total") for run in runs]
    return [*rows, _Row("seconds", totals, SECONDS.format)]


def _show(rows: Sequence[_Row], heads: Sequence[str], screen: Screen) -> None:
    """Print the rows as a table with a column for each run; long values stand above it."""
    table = [["run", *heads]]
    for row in rows:
        if max(map(len, row.cells)) <= MAX_CELL:
            table.append([row.key, *row.cells])
        else:
            values = zip(heads, row.cells, strict=True)
            screen.show("\n  ".join([row.key, *(f"{head}: {cell}" for head, cell in values)]))
    screen.show("\n".join(format_text_table(table)))
