"""`dlrun runs compare`: show how runs differ in config, code and data, with their metrics."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Self

from dlrun import stats
from dlrun.cli import options as opt
from dlrun.cli.opened_runs import EMPTY, open_run_or_sweep
from dlrun.config.yaml_loader import format_setting
from dlrun.errors import ConfigError
from dlrun.metrics import TESTED, VALID, agreed_directions, describe_metric, format_metric
from dlrun.runs.compare import Comparison, compare_groups, why_not_comparable
from dlrun.runs.descriptions import describe_data
from dlrun.runs.find import run_name_without_time
from dlrun.runs.groups import Group, group_runs, mean_seconds
from dlrun.runs.provenance import RunProvenance
from dlrun.runs.run import Run
from dlrun.runs.run_tables import SECONDS
from dlrun.system.console import Screen
from dlrun.system.text import LINE_WIDTH, cut, format_text_table, printable, shorten_paths

LONGEST = 30  # a cell is cut to so many characters
VARIES = "varies"  # a key in which the runs of one config differ, such as their code


@dataclass(frozen=True)
class _Column:
    """Shows a run, or the runs of a config.

    values: the settings, code, packages and machine. metrics: of a config their means, of a run
    that has not finished the newest. seconds: of a whole run, or the mean.
    """

    name: str
    runs: Sequence[Run]
    values: Mapping[str, object]
    metrics: Mapping[str, float | None]
    seconds: float | None

    @classmethod
    def of_run(cls, run: Run, name: str) -> Self:
        seconds = run.record.seconds.get("total")
        return cls(name, [run], _compared_values(run), run.newest_metrics, seconds)

    @classmethod
    def of_config(cls, group: Group, name: str) -> Self:
        runs = list(group.counted.values()) or group.runs
        count = len(group.counted)
        named = len(group.runs)
        return cls(
            name=name,
            runs=runs,
            values={"runs": count if count == named else f"{count} of {named}", **_shared(runs)},
            metrics={name: spread.mean for name, spread in group.spreads.items()},
            seconds=mean_seconds(runs, "total"),
        )

    def rows_of(self, metric: str) -> set[str | None]:
        """Two columns with the same rows of a metric have equal sets."""
        return {run.record.rows_of(metric) for run in self.runs}


@dataclass(frozen=True)
class _Row:
    """Holds what the columns have of one key; best: whether a value is the best of all."""

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

    Only metrics on the same rows are marked. Runs that differ by their seeds or folds alone are one
    config; several of them share a column with their means. Each config is compared with the first
    one by the interval of the mean difference.

    Examples:
    dlrun runs compare imdb-dense/latest imdb-lstm/latest
    dlrun runs compare ab12 ff75 --json
    dlrun runs compare three
    """
    screen = Screen()
    groups = _open_groups(runs, runs_dir)
    columns = _make_columns(groups)
    rows = _differing_rows(columns)
    rows += _metric_rows(columns)
    compared_configs = _compare_configs(groups)
    if json:
        screen.print_json(
            {
                "columns": [
                    {"name": column.name, "runs": [run.name for run in column.runs]}
                    for column in columns
                ],
                "rows": [{"key": row.key, "values": row.values, "best": row.best} for row in rows],
                "comparisons": [compared.as_object() for compared in compared_configs],
            }
        )
        return
    head = "run" if all(len(column.runs) == 1 for column in columns) else "mean of"
    heads = [cut(printable(column.name), LONGEST) for column in columns]
    table = [[head, *heads], *([row.key, *row.cells] for row in rows)]
    screen.show("\n".join(format_text_table(table)))
    for kind, stage in (("test", TESTED), ("validation", VALID)):
        if not _are_on_same_rows(columns, stage):
            screen.note(f"not on the same {kind} rows: no {kind} metric is marked as the best")
    for compared in compared_configs:
        lines = textwrap.wrap(printable(compared.describe()), LINE_WIDTH, break_long_words=False)
        screen.show("\n".join(lines))


def _open_groups(names: Sequence[str], runs_dir: Path | None) -> Sequence[Group]:
    """Group the named runs by config, or give the configs of a sweep, the best one first.

    Raises ConfigError if there are fewer than two runs, or one is named twice.
    """
    opened = [open_run_or_sweep(name, runs_dir) for name in names]
    groups: Sequence[Group]
    if len(opened) == 1 and not isinstance(opened[0], Run):
        groups = opened[0].groups_best_first
    else:
        of_names = [[each] if isinstance(each, Run) else each.finished_runs for each in opened]
        groups = group_runs(chain.from_iterable(of_names))
    folders = [run.folder for group in groups for run in group.runs]
    if len(set(folders)) < max(2, len(folders)):
        raise ConfigError("a comparison needs at least two different runs", "name two or more")
    return groups


def _make_columns(groups: Sequence[Group]) -> list[_Column]:
    """Each run has a column, unless there are several configs with several runs."""
    runs = [run for group in groups for run in group.runs]
    if 1 < len(groups) < len(runs):
        names = [group.name for group in groups]
        if len(set(names)) < len(names):  # some have the same settings on other data
            names = [group.runs[0].name for group in groups]
        return [_Column.of_config(group, name) for group, name in zip(groups, names, strict=True)]
    names = [run_name_without_time(run.folder) for run in runs]
    if len(set(names)) < len(names):
        names = [run.name for run in runs]
    return [_Column.of_run(run, name) for run, name in zip(runs, names, strict=True)]


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


def _shared(runs: Sequence[Run]) -> dict[str, object]:
    """A value that the runs do not share is VARIES."""
    of_runs = [_compared_values(run) for run in runs]
    shared: dict[str, object] = {}
    for key in dict.fromkeys(key for values in of_runs for key in values):
        first, *others = [values.get(key) for values in of_runs]
        shared[key] = first if all(other == first for other in others) else VARIES
    return shared


def _differing_rows(columns: Sequence[_Column]) -> list[_Row]:
    """Only a key whose values are not equal in all columns has a row."""
    keys = dict.fromkeys(key for column in columns for key in column.values)
    rows = [_Row(key, [column.values.get(key) for column in columns]) for key in keys]
    return [row for row in rows if len(set(map(repr, row.values))) > 1]


def _are_on_same_rows(columns: Sequence[_Column], metric: str) -> bool:
    rows = columns[0].rows_of(metric)
    return None not in rows and all(column.rows_of(metric) == rows for column in columns)


def _metric_rows(columns: Sequence[_Column]) -> list[_Row]:
    """Make the rows of the metrics, and of the seconds.

    The best value is marked where all runs computed the metric on the same rows.
    """
    rows = []
    directions = agreed_directions(
        run.record.directions for column in columns for run in column.runs
    )
    for name in dict.fromkeys(name for column in columns for name in column.metrics):
        values = [column.metrics.get(name) for column in columns]
        is_comparable = _are_on_same_rows(columns, name)
        sign = describe_metric(name, directions).sign if is_comparable else 0
        top = max((sign * value for value in values if value is not None), default=0)
        best = [
            value is not None and not stats.zero_if_rounding_error(top - sign * value, top)
            for value in values
        ]
        worse = [value for value, is_best in zip(values, best, strict=True) if not is_best]
        is_ranked = sign != 0 and any(value is not None for value in worse)
        rows.append(_Row(name, values, format_metric, best if is_ranked else ()))
    return [*rows, _Row("seconds", [column.seconds for column in columns], SECONDS.format)]
