"""`dlrun runs compare`: show how runs differ in config, code and data, with their metrics."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from dlrun import stats
from dlrun.cli import options as opt
from dlrun.cli.opened_runs import EMPTY, open_run_or_sweep
from dlrun.config.yaml_loader import format_setting
from dlrun.errors import ConfigError
from dlrun.metrics import TESTED, VALID, agreed_directions, describe_metric, format_metric
from dlrun.runs.compare import Comparison, compare_groups, why_not_comparable
from dlrun.runs.descriptions import describe_data
from dlrun.runs.find import run_name_without_time
from dlrun.runs.groups import Group, group_runs
from dlrun.runs.provenance import RunProvenance
from dlrun.runs.run import Run
from dlrun.runs.run_tables import SECONDS
from dlrun.system.console import Screen
from dlrun.system.text import LINE_WIDTH, cut, format_text_table, printable, shorten_paths

LONGEST = 30  # a cell is cut to so many characters


@dataclass(frozen=True)
class _Row:
    """Holds what the runs have of one key; best: whether a run's value is the best of all."""

    key: str
    values: Sequence[object]
    format: Callable[[object], str] = format_setting
    best: Sequence[bool] = ()

    @property
    def cells(self) -> list[str]:
        texts = [EMPTY if value is None else self.format(value) for value in self.values]
        texts = [cut(printable(shorten_paths(text)), LONGEST) for text in texts]
        if not self.best:
            return texts
        marks = ["*" if is_best else " " for is_best in self.best]
        return [text + mark for text, mark in zip(texts, marks, strict=True)]


def compare(
    runs: Annotated[list[str], opt.argument(f"{opt.RUN_HELP} Or a sweep.", "RUN")],
    json: opt.Json = False,
    runs_dir: opt.RunsDir = None,
) -> None:
    """Show what differs between runs, and their metrics side by side, the best of each marked *.

    Only metrics on the same rows are marked. Runs that differ by their seeds alone are one config;
    each config is compared with the first one by the interval of the mean difference.

    Examples:
    dlrun runs compare imdb-dense/latest imdb-lstm/latest
    dlrun runs compare ab12 ff75 --json
    dlrun runs compare three
    """
    screen = Screen()
    named = [run for name in runs for run in _open_runs(name, runs_dir)]
    opened = list({run.folder: run for run in named}.values())
    if len(opened) < max(2, len(named)):
        raise ConfigError("a comparison needs at least two different runs", "name two or more")
    rows = _differing_rows([_compared_values(run) for run in opened])
    rows += _metric_rows(opened)
    compared_configs = _compare_configs(group_runs(opened))
    if json:
        objects = [{"key": row.key, "values": row.values, "best": row.best} for row in rows]
        comparisons = [compared.as_object() for compared in compared_configs]
        screen.print_json(
            {"runs": [run.name for run in opened], "rows": objects, "comparisons": comparisons}
        )
        return
    heads = [run_name_without_time(run.folder) for run in opened]
    if len(set(heads)) < len(heads):
        heads = [run.name for run in opened]
    table = [["run", *heads], *([row.key, *row.cells] for row in rows)]
    screen.show("\n".join(format_text_table(table)))
    for kind, stage in (("test", TESTED), ("validation", VALID)):
        if not all(opened[0].record.has_rows_of(run.record, stage) for run in opened):
            screen.note(f"not on the same {kind} rows: no {kind} metric is marked as the best")
    for compared in compared_configs:
        lines = textwrap.wrap(printable(compared.describe()), LINE_WIDTH, break_long_words=False)
        screen.show("\n".join(lines))


def _open_runs(name: str, runs_dir: Path | None) -> list[Run]:
    """A sweep's name stands for its finished runs, those of its best config first."""
    opened = open_run_or_sweep(name, runs_dir)
    return [opened] if isinstance(opened, Run) else opened.finished_runs


@dataclass(frozen=True)
class _ComparedConfig:
    """Holds how the runs of a config compare with those of the first config.

    comparison: None if they cannot be compared; `why_not` then says why.
    """

    name: str
    first_name: str
    comparison: Comparison | None
    why_not: str

    def describe(self) -> str:
        if self.comparison is None:
            return f"{self.name}: not compared with {self.first_name}: {self.why_not}"
        return self.comparison.describe(self.name, self.first_name)

    def as_object(self) -> dict[str, object]:
        compared = {"config": self.name, "with": self.first_name}
        if self.comparison is None:
            return {**compared, "why_not": self.why_not}
        return {**compared, **self.comparison.as_object()}


def _compare_configs(groups: Sequence[Group]) -> list[_ComparedConfig]:
    """Each config but the first is compared with the first."""
    first = groups[0]
    if first.main_spread is None:
        return []
    metric = first.main_spread.metric.name
    compared = []
    for group in groups[1:]:
        name = group.name
        first_name = first.name
        if name == first_name:  # they have the same settings on other data
            name = group.runs[0].name
            first_name = first.runs[0].name
        comparison = compare_groups(group, first, metric)
        why_not = why_not_comparable(group, first, metric)
        compared.append(_ComparedConfig(name, first_name, comparison, why_not))
    return compared


def _compared_values(run: Run) -> Mapping[str, object]:
    """Metrics are compared apart from these values."""
    provenance = RunProvenance.of_run(run)
    return {
        "experiment": run.record.experiment,
        "state": run.state,
        "data": describe_data(run.record),
        **run.settings,
        **provenance.code,
        **provenance.packages,
        **{f"machine: {name}": value for name, value in provenance.machine.items()},
    }


def _differing_rows(runs: Sequence[Mapping[str, object]]) -> list[_Row]:
    """Only a key whose values are not equal in all runs has a row."""
    keys = dict.fromkeys(key for values in runs for key in values)
    rows = [_Row(key, [values.get(key) for values in runs]) for key in keys]
    return [row for row in rows if len(set(map(repr, row.values))) > 1]


def _metric_rows(runs: Sequence[Run]) -> list[_Row]:
    """Make the rows of the metrics, and of the seconds.

    The best value is marked where all runs computed the metric on the same rows.
    """
    rows = []
    metrics_of_runs = [run.newest_metrics for run in runs]
    directions = agreed_directions(run.record.directions for run in runs)
    for name in dict.fromkeys(name for values in metrics_of_runs for name in values):
        values = [run_metrics.get(name) for run_metrics in metrics_of_runs]
        is_comparable = all(runs[0].record.has_rows_of(run.record, name) for run in runs)
        sign = describe_metric(name, directions).sign if is_comparable else 0
        top = max((sign * value for value in values if value is not None), default=0)
        best = [
            value is not None and not stats.zero_if_rounding_error(top - sign * value, top)
            for value in values
        ]
        worse = [value for value, is_best in zip(values, best, strict=True) if not is_best]
        is_ranked = sign != 0 and any(value is not None for value in worse)
        rows.append(_Row(name, values, format_metric, best if is_ranked else ()))
    seconds = [run.record.seconds.get("total") for run in runs]
    return [*rows, _Row("seconds", seconds, SECONDS.format)]
