"""Group the runs of a page by config and by data, and draw the curves that compare them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from dlrun.config.data_sections import COPY_KEYS, FOLD, OWN_DATA_KEYS
from dlrun.config.yaml_loader import format_settings_briefly
from dlrun.errors import DlrunError
from dlrun.experiments.comparable_with_published import CHANCE
from dlrun.reports.charts import (
    PARTS,
    Axis,
    Chart,
    ChartBand,
    ChartCurve,
    curve_css_classes,
    mean_curve,
    measured_curve,
    metric_names_without_split,
    padded_range,
    published_levels,
)
from dlrun.reports.run_data import RunSection
from dlrun.reports.spread import Interval, MetricSpread, metric_spread, place_in_range
from dlrun.run_folder.record import ACCURACY
from dlrun.run_folder.recorded_metrics import (
    EDITIONS,
    TESTED,
    main_metric,
    metric_direction,
)
from dlrun.system.console import pluralize

COLOURED = 5  # curves of a chart; the others are thin and grey
FEWEST_FOR_MEAN = 3  # runs of one config that a chart shows as their mean
MOST_NAMES = 20  # runs that a sentence names, at most
PLACES = COPY_KEYS | OWN_DATA_KEYS  # keys that say where data lie, not what they are
STRIP_LEFT, STRIP_RIGHT = 6.0, 214.0  # ends of the picture of a config's results, in SVG units


@dataclass(frozen=True)
class ConfigGroup:
    """Holds the runs of a page with one config and the same data; only seed and fold may differ.

    data: a description, without the seed. title: the settings in which the config differs from the
    experiment's others on the same data. counted: the finished runs, of each seed and fold the one
    that began last.
    """

    data: str
    title: str
    sections: list[RunSection]
    counted: list[RunSection]

    @property
    def experiment(self) -> str:
        """Return the name of the experiment."""
        return self.sections[0].record.experiment

    @property
    def name(self) -> str:
        """Return the name of the experiment, and the settings that tell the config from others."""
        return f"{self.experiment} {self.title}".rstrip()

    @cached_property
    def spreads(self) -> list[MetricSpread]:
        """Return the spread of each test metric that all counted runs have, the main one first."""
        metrics = [one.record.metrics for one in self.counted]
        folds = [one.values.get(FOLD) for one in self.counted]
        found = (metric_spread(name, metrics, folds) for name in test_metric_names(self.counted))
        return [one for one in found if one]

    @property
    def main(self) -> MetricSpread | None:
        """Return the spread of the metric by which the runs are judged, or None."""
        return self.spreads[0] if self.spreads else None

    @property
    def values_by_repeat(self) -> dict[object, float]:
        """Return the values of the main metric by seed, or by fold in a cross-validation."""
        repeats = (one.values.get(FOLD) or one.record.seed for one in self.counted)
        values = self.main.values if self.main else []
        return dict(zip(dict.fromkeys(repeats), values, strict=False))

    @property
    def rank(self) -> float:
        """Return a sort key of configs, best first, by the mean of the main metric."""
        main = self.main
        return -metric_direction(main.metric) * main.mean if main else float("inf")

    @property
    def typical(self) -> RunSection | None:
        """Return the counted run with the median of the main metric, or None."""
        main = self.main
        if main is None:
            return self.counted[0] if self.counted else None
        values = sorted(self.counted, key=lambda one: one.record.metrics[main.metric] or 0)
        return values[(len(values) - 1) // 2]

    def depends_on_seed(self, spread: MetricSpread) -> bool:
        """Return whether the seed changes a metric; also if that is unknown.

        Of several runs their values say so, of a single one its config.
        """
        if len(self.counted) > 1:
            return len(set(spread.values)) > 1
        try:
            return self.counted[0].run.config.depends_on_seed
        except DlrunError:  # the experiment is not installed
            return True

    @property
    def published(self) -> Mapping[str, Mapping[str, float]]:
        """Return the published metrics by edition of the book, if they are comparable."""
        return self.sections[0].published

    @property
    def reruns(self) -> list[tuple[str, dict[str, float]]]:
        """Return the source and the metrics of each of the authors' earlier runs."""
        return self.sections[0].reruns

    def published_values(self, metric: str) -> list[tuple[str, float]]:
        """Return the published values of a metric with their editions of the book."""
        return [(edition, one[metric]) for edition, one in self.published.items() if metric in one]

    def rerun_values(self, metric: str) -> list[tuple[str, float]]:
        """Return the values of a metric in the authors' earlier runs with their sources."""
        return [(source, one[metric]) for source, one in self.reruns if metric in one]

    def interval(self, spread: MetricSpread) -> Interval | None:
        """Return where 95 % of runs lie; of a single run, the interval of its test accuracy."""
        if len(self.counted) == 1 and spread.metric == ACCURACY:
            return self.counted[0].interval
        return spread.range

    def place(self, spread: MetricSpread, edition: str) -> str | None:
        """Return where a published number lies: `yes` (in the interval), `above` or `below`.

        If the metric depends on no seed, `yes` is `equal`.
        """
        value = self.published.get(edition, {}).get(spread.metric)
        if self.depends_on_seed(spread):
            return place_in_range(value, self.interval(spread))
        place = place_in_range(value, (spread.mean, spread.mean))
        return "equal" if place == "yes" else place


@dataclass(frozen=True)
class DataComparison:
    """Holds what compares the runs on the same data: configs, charts, an axis for each metric."""

    data: str
    groups: list[ConfigGroup]
    charts: list[Chart]

    @property
    def rows(self) -> list[tuple[ConfigGroup, MetricSpread]]:
        """Return what is compared: the main metric of each config, of several runs each metric."""
        return [
            (group, spread)
            for group in self.groups
            for spread in group.spreads
            if spread is group.main or len(group.counted) > 1
        ]

    @cached_property
    def marks(self) -> set[str]:
        """Return what the pictures show: `range`, `interval` (of one run), editions, `rerun`."""
        found = set[str]()
        for group, spread in self.rows:
            if group.interval(spread):
                found.add("range" if spread.range else "interval")
            found.update(edition for edition, _ in group.published_values(spread.metric))
            if group.rerun_values(spread.metric):
                found.add("rerun")
        return found

    @property
    def editions(self) -> list[str]:
        """Return the editions of the book that have numbers of any of the rows."""
        return [one for one in EDITIONS if one in self.marks]

    @cached_property
    def axes(self) -> dict[str, Axis]:
        """Return by test metric the axis of its values, intervals and published numbers."""
        values: dict[str, list[float]] = {}
        for group in self.groups:
            for spread in group.spreads:
                found = values.setdefault(spread.metric, [])
                found += [*spread.values, *(group.interval(spread) or ())]
                found += [value for _, value in group.published_values(spread.metric)]
                found += [value for _, value in group.rerun_values(spread.metric)]
        ends = {metric: padded_range(found, 0.02) for metric, found in values.items()}
        return {metric: Axis(*both, STRIP_LEFT, STRIP_RIGHT) for metric, both in ends.items()}


def test_metric_names(sections: Sequence[RunSection]) -> list[str]:
    """Return the names of the test metrics that any of the runs has, the main ones first."""
    names = dict.fromkeys(name for one in sections for name in one.record.metrics)
    tested, main = (name for name in names if name.startswith(TESTED)), main_metric_names(sections)
    return sorted(tested, key=lambda name: name not in main)


def main_metric_names(sections: Sequence[RunSection]) -> set[str | None]:
    """Return the names of the metrics by which the runs are judged."""
    return {main_metric(one.record) for one in sections}


def add_varied_settings_to_titles(sections: Sequence[RunSection]) -> None:
    """Add to each run's title the settings in which its experiment's runs on its data differ."""
    groups: dict[tuple[str, str], list[RunSection]] = {}
    data = _data_names(sections)
    for one in sections:
        if one.values:
            groups.setdefault((one.record.experiment, data[one.number]), []).append(one)
    for first, *others in groups.values():
        keys = {key for other in others for key in first.values | other.values}
        varied = {
            key
            for key in keys - CHANCE - PLACES | {FOLD}
            if any(other.values.get(key) != first.values.get(key) for other in others)
        }
        for one in (first, *others):
            settings = {key: value for key, value in one.values.items() if key in varied}
            if settings:
                one.title += f", {format_settings_briefly(settings)}"
            settings.pop(FOLD, None)
            one.varied = format_settings_briefly(settings)


def group_by_config(sections: Sequence[RunSection]) -> list[ConfigGroup]:
    """Group runs on the same data whose configs differ at most in seed, fold and paths of data."""
    groups: dict[object, list[RunSection]] = {}
    data = _data_names(sections)
    for one in sections:
        # A run that failed before it read its data has no description of them: only the paths
        # tell such runs apart.
        ignored = CHANCE | PLACES if one.record.data else CHANCE
        settings = {key: value for key, value in one.values.items() if key not in ignored}
        compared = [one.record.experiment, data[one.number], settings]
        key = json.dumps(compared, sort_keys=True, default=str) if one.values else one.number
        groups.setdefault(key, []).append(one)
    found = []
    for group in groups.values():
        repeats: dict[object, list[RunSection]] = {}
        for one in sorted(group, key=lambda one: one.record.started or ""):
            if one.state == "finished":
                # A run that was repeated says nothing about the spread over seeds.
                seed = one.run.name if one.record.seed is None else one.record.seed
                repeats.setdefault((seed, one.values.get(FOLD)), []).append(one)
        for *earlier, last in repeats.values():
            for one in earlier:
                one.repeated_by = last.number
        counted = (runs[-1] for runs in repeats.values())
        first, runs = group[0], sorted(counted, key=lambda one: one.number)
        found.append(ConfigGroup(data[first.number], first.varied, group, runs))
    return found


def describe_repeated(names: Sequence[str]) -> str:
    """Return that runs are left out because others repeat them, in words; empty if none is."""
    if not names:
        return ""
    shown = ", ".join(names[:MOST_NAMES])
    return (
        f"{pluralize(len(names), 'finished run')} left out of means and curves "
        f"({shown}{', ...' if len(names) > MOST_NAMES else ''}): of runs with the same "
        "config, seed and data only the one that began last counts"
    )


def choose_representatives(groups: Sequence[ConfigGroup]) -> None:
    """Let the median run of each config stand for the finished runs of the config."""
    for group in groups:
        for one in group.sections:
            if one.state == "finished" and group.typical:
                one.representative = group.typical


def compare_by_data(groups: Sequence[ConfigGroup]) -> list[DataComparison]:
    """Compare the configs on the same data, the best first; leave out data with a single run."""
    by_data: dict[str, list[ConfigGroup]] = {}
    for group in sorted(groups, key=lambda one: one.rank):
        by_data.setdefault(group.data, []).append(group)
    return [
        DataComparison(data, found, charts_of_several_runs(found))
        for data, found in by_data.items()
        if sum(len(group.sections) for group in found) > 1
    ]


def charts_of_several_runs(groups: Sequence[ConfigGroup]) -> list[Chart]:
    """Return a chart for each metric that two or more runs recorded by epoch or by penalty.

    groups: the best first, for the first have colours. Several runs of one config are one curve,
    their mean.
    """
    runs = [one for group in groups for one in group.sections if len(one.steps) > 1]
    panels = dict.fromkeys(
        (next(iter(run.table)), metric)
        for run in runs
        for metric in metric_names_without_split(run.table)
    )
    found = (_chart_of_several_runs(groups, step, metric) for step, metric in panels)
    return [chart for chart in found if chart]


def _chart_of_several_runs(groups: Sequence[ConfigGroup], step: str, metric: str) -> Chart | None:
    """Return the chart of one metric of configs; None if fewer than two runs have a curve."""
    curves: list[tuple[ChartCurve, ChartBand | None]] = []
    faint: list[ChartCurve] = []
    drawn: list[RunSection] = []
    for group in groups:
        kept = [one for one in group.sections if not one.repeated_by]
        found = {one.number: _run_line(one, step, metric) for one in kept}
        known = {number: line for number, line in found.items() if line}
        counted = [one.number for one in group.counted if one.number in known]
        drawn += [one for one in group.sections if one.number in known]
        mean = None
        if len(counted) >= FEWEST_FOR_MEAN:
            part = PARTS[known[counted[0]][0]]
            name = f"mean of {len(counted)} runs ({part})"
            name = f"{group.name}, {name}" if len(groups) > 1 else name
            mean = mean_curve(name, [known[number][1] for number in counted])
        if mean:
            curves.append(mean)
            if len(groups) == 1:
                faint += [line for _, line in known.values()]
                continue
        for number, (_, line) in known.items():
            if not (mean and number in counted):
                curves.append((line, None))
    if len(drawn) < 2:
        return None
    faint += [line for line, _ in curves[COLOURED:]]
    looks = [curve_css_classes(place) for place in range(COLOURED)]
    coloured = [
        (replace(line, look=look), band and replace(band, look=look))
        for (line, band), look in zip(curves, looks, strict=False)
    ]
    levels = dict.fromkeys(
        replace(level, name=f"{level.name} of {one.record.experiment}")
        for one in drawn
        for level in published_levels(one.record, metric)
    )
    return Chart(
        f"{metric} by {step}",
        step,
        metric,
        [line for line, _ in coloured],
        list(levels),
        bands=[band for _, band in coloured if band],
        faint=faint,
    )


def _run_line(run: RunSection, step: str, metric: str) -> tuple[str, ChartCurve] | None:
    """Return the part (`valid`, ...) and the curve of a run in a chart of several runs, or None."""
    if len(run.steps) < 2 or next(iter(run.table)) != step:
        return None
    for part in ("valid", "test", "train"):  # the first that has a value is drawn
        if values := run.table.get(f"{part}_{metric}"):
            name, record = f"{run.name} ({PARTS[part]})", run.record
            if record.stopped_epoch:
                name += f", stopped after epoch {record.stopped_epoch}"
            if record.earlier_epoch:
                name += f", kept epoch {record.earlier_epoch}"
            line = measured_curve(name, run.steps, values, "", str(run.number))
            if line.is_drawable:
                return part, replace(line, kept=record.earlier_epoch)
    return None


def _data_names(sections: Sequence[RunSection]) -> dict[int, str]:
    """Return a description of the data of each run, by its number, without the run's seed.

    An unfinished run has none in its record; it gets that of a run with the same data settings.
    """

    def settings(one: RunSection) -> str:
        data = {key: value for key, value in one.values.items() if key.startswith("data.")}
        return json.dumps([one.record.experiment, data], sort_keys=True, default=str)

    known, names = {}, {}
    for one in reversed(sections):
        if one.record.data:
            known[settings(one)] = one.record.data_without_chance(one.values)
    for one in sections:
        name = known.get(
            settings(one), f"{one.record.experiment}, {one.record.source or 'its data'}"
        )
        has_data = bool(one.record.data)
        names[one.number] = one.record.data_without_chance(one.values) if has_data else name
    return names
