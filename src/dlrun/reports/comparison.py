"""Compare runs: metrics of runs with equal configs, and charts of runs on the same data."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from dlrun import stats
from dlrun.config.data_sections import FOLD
from dlrun.config.yaml_loader import Values, format_settings_briefly
from dlrun.experiments.comparable_with_published import CHANCE
from dlrun.reports.charts import (
    LEFT,
    PARTS,
    RIGHT,
    Axis,
    Chart,
    ChartCurve,
    curve_css_classes,
    measured_curve,
    metric_names_without_split,
    padded_range,
    published_levels,
)
from dlrun.reports.run_data import RunSection
from dlrun.run_folder.recorded_metrics import ACCURACY, TESTED, is_plottable, main_metric


@dataclass(frozen=True)
class MetricSpread:
    """Holds the values of one metric over the finished runs of one config."""

    metric: str
    values: list[float]

    @property
    def mean(self) -> float:
        """Return the mean of the metric over the runs."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """Return the sample standard deviation over the runs; None for a single run."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Return the 95 % interval of the mean over the runs; None for a single run."""
        return stats.mean_interval(self.values)


def metric_spread(
    metric: str, metrics: Iterable[Mapping[str, float | None]], folds: Sequence[object] = ()
) -> MetricSpread | None:
    """Return the spread of a metric over runs; None if any run lacks the metric.

    folds: of each run the number of its fold, or None; empty if no run has one. Runs of one fold,
    with several seeds, count as one value, their mean.
    """
    values = [one.get(metric) for one in metrics]
    known = [float(value) for value in values if value is not None and is_plottable(value)]
    if not known or len(known) < len(values):
        return None
    by_fold: dict[object, list[float]] = {}
    for place, value in enumerate(known):
        fold = folds[place] if folds else None
        by_fold.setdefault(f"run {place}" if fold is None else fold, []).append(value)
    return MetricSpread(metric, [statistics.fmean(one) for one in by_fold.values()])


def test_metric_names(sections: Sequence[RunSection]) -> list[str]:
    """Return the names of the test metrics that any of the runs has, the main ones first."""
    names = dict.fromkeys(name for one in sections for name in one.record.metrics)
    tested, main = (name for name in names if name.startswith(TESTED)), main_metric_names(sections)
    return sorted(tested, key=lambda name: name not in main)


def main_metric_names(sections: Sequence[RunSection]) -> set[str | None]:
    """Return the names of the metrics by which the runs are judged."""
    return {main_metric(one.record) for one in sections}


def add_varied_settings_to_titles(sections: Sequence[RunSection]) -> None:
    """Add to the title of each run the settings in which the runs of its experiment differ."""
    groups: dict[str, list[RunSection]] = {}
    for one in sections:
        if one.values:
            groups.setdefault(one.record.experiment, []).append(one)
    for first, *others in groups.values():
        keys = {key for other in others for key in first.values | other.values}
        varied = {
            key
            for key in keys - CHANCE | {FOLD}
            if any(other.values.get(key) != first.values.get(key) for other in others)
        }
        for one in (first, *others):
            settings = {key: value for key, value in one.values.items() if key in varied}
            if settings:
                one.title += f", {format_settings_briefly(settings)}"


def find_runs_with_equal_config(
    sections: Sequence[RunSection],
) -> list[tuple[list[RunSection], Values, list[MetricSpread]]]:
    """Group the finished runs whose configs differ at most in seed and fold; each counts once.

    Returns for each group its runs, the settings in which their common config differs from the
    shipped one, and the spread of each test metric that all these runs have.
    """
    groups: dict[str, dict[object, RunSection]] = {}
    for one in sections:
        if one.state == "finished" and one.values:
            settings = {key: value for key, value in one.values.items() if key not in CHANCE}
            compared = [one.record.experiment, settings]
            group = groups.setdefault(json.dumps(compared, sort_keys=True, default=str), {})
            # A run that was repeated says nothing about the spread over seeds.
            seed = one.run.name if one.record.seed is None else one.record.seed
            group[seed, one.values.get(FOLD)] = one
    equal = []
    for runs in (list(group.values()) for group in groups.values() if len(group) > 1):
        changed = {key: v for key, v in (runs[0].differing or {}).items() if key not in CHANCE}
        metrics = [one.record.metrics for one in runs]
        folds = [one.values.get(FOLD) for one in runs]
        spreads = [metric_spread(name, metrics, folds) for name in test_metric_names(runs[:1])]
        equal.append((runs, changed, [one for one in spreads if one]))
    return equal


def charts_and_intervals_by_data(
    sections: Sequence[RunSection],
) -> list[tuple[str, list[Chart], list[RunSection], Axis | None]]:
    """Group runs by their data; return charts and accuracy intervals that compare a group's runs.

    Returns for each group the data in words, the charts of the runs' curves, the runs whose test
    accuracy has a 95 % interval, and the axis of these intervals and of the published accuracies;
    no runs and None if fewer than two have an interval.
    """
    groups: dict[str, list[RunSection]] = {}
    for one in sections:
        groups.setdefault(_data_name(one, sections), []).append(one)
    compared = []
    for data, group in groups.items():
        charts = charts_of_several_runs(group)
        measured, axis = [one for one in group if one.interval], None
        if len(measured) > 1:
            values = [end for one in measured for end in one.interval or ()]
            values += [value for one in measured for value in one.published_accuracies.values()]
            reruns = (metrics for one in measured for _, metrics in one.reruns)
            values += [metrics[ACCURACY] for metrics in reruns if ACCURACY in metrics]
            axis = Axis(*padded_range(values, 0.04), LEFT, RIGHT)
        if charts or axis:
            compared.append((data, charts, measured if axis else [], axis))
    return compared


def charts_of_several_runs(sections: Sequence[RunSection]) -> list[Chart]:
    """Return a chart for each metric that two or more runs recorded by epoch or by penalty."""
    runs = [one for one in sections if one.table and len(next(iter(one.table.values()))) > 1]
    panels = dict.fromkeys(
        (next(iter(run.table)), metric)
        for run in runs
        for metric in metric_names_without_split(run.table)
    )
    charts = []
    for step, metric in panels:
        group = [run for run in runs if next(iter(run.table)) == step]
        lines = [line for run in group if (line := _run_line(run, step, metric))]
        levels = dict.fromkeys(
            replace(level, name=f"{level.name} of {run.record.experiment}")
            for run in group
            for level in published_levels(run.record, metric)
        )
        if len(lines) > 1:
            charts.append(Chart(f"{metric} by {step}", step, metric, lines, list(levels)))
    return charts


def _run_line(run: RunSection, step: str, metric: str) -> ChartCurve | None:
    """Return the curve of one run in a chart of several runs; None if it cannot be drawn."""
    for part in ("valid", "test", "train"):  # the first that has a value is drawn
        if values := run.table.get(f"{part}_{metric}"):
            name, record = f"{run.name} ({PARTS[part]})", run.record
            if record.stopped_epoch:
                name += f", stopped after epoch {record.stopped_epoch}"
            if record.earlier_epoch:
                name += f", kept epoch {record.earlier_epoch}"
            look = curve_css_classes(run.number)
            line = measured_curve(name, run.table[step], values, look, str(run.number))
            if line.is_drawable:
                return replace(line, kept=record.earlier_epoch)
    return None


def _data_name(section: RunSection, sections: Sequence[RunSection]) -> str:
    """Return a description of a run's data, without the run's seed.

    An unfinished run has none in its record; it gets that of a run with the same data settings.
    """

    def settings(one: RunSection) -> tuple[str, Values]:
        data = {key: value for key, value in one.values.items() if key.startswith("data.")}
        return one.record.experiment, data

    for one in (section, *sections):
        if one.record.data and settings(one) == settings(section):
            return one.record.data_without_chance(one.values)
    return f"{section.record.experiment}, {section.record.source or 'its data'}"
