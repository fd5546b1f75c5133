"""Runs side by side on the page: mean and spread over seeds, accuracies, curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dlrun.experiments.base import CHANCE
from dlrun.reports.aggregate import MetricSpread, group_by_config, metric_spread
from dlrun.reports.charts import LEFT, RIGHT, Axis, Chart, NumberedRun, overlay_charts
from dlrun.reports.run_section import RunSection
from dlrun.run_folder.metrics import ACCURACY, TESTED


@dataclass(frozen=True)
class EqualConfigs:
    """Several finished runs of one experiment whose configs differ by the seed at most."""

    sections: list[RunSection]

    @property
    def first(self) -> RunSection:
        """Return the run that stands for what all runs have in common."""
        return self.sections[0]

    @property
    def differing(self) -> dict[str, Any]:
        """Return the settings of the common config that are not the default."""
        found = self.first.differing or {}
        return {key: value for key, value in found.items() if key not in CHANCE}

    @property
    def spreads(self) -> list[MetricSpread]:
        """Return mean and spread of each test metric that all runs have."""
        metrics = [section.record.metrics for section in self.sections]
        found = (metric_spread(metric, metrics) for metric in test_metrics([self.first]))
        return [spread for spread in found if spread is not None]


@dataclass(frozen=True)
class Comparison:
    """Several runs on the same data: their curves, and a chart of their 95 % intervals."""

    data: str
    charts: list[Chart]
    measured: list[RunSection]  # the runs with an interval; none if there is only one

    @cached_property
    def axis(self) -> Axis:
        """Return the axis of the intervals, which holds the published values too."""
        ends = [end for one in self.measured for end in one.interval or ()]
        ends += [value for one in self.measured for value in one.published_accuracies.values()]
        margin = 0.04 * (max(ends) - min(ends)) or 0.01
        return Axis(min(ends) - margin, max(ends) + margin, LEFT, RIGHT)

    @property
    def editions(self) -> list[str]:
        """Return the editions whose published accuracies are drawn."""
        names = (name for one in self.measured for name in one.published_accuracies)
        return list(dict.fromkeys(names))


def test_metrics(sections: Sequence[RunSection]) -> list[str]:
    """Return the test metrics of the runs, the accuracy first."""
    names = dict.fromkeys(name for one in sections for name in one.record.metrics)
    return sorted((name for name in names if name.startswith(TESTED)), key=ACCURACY.__ne__)


def find_equal_configs(sections: Sequence[RunSection]) -> list[EqualConfigs]:
    """Group the finished runs whose configs are equal but for chance; each seed counts once."""
    finished = [one for one in sections if one.state == "finished" and one.values]
    groups = group_by_config(finished, lambda one: one.values, lambda one: one.record.experiment)
    found = []
    for group in groups:
        # A run that was repeated says nothing about the spread over seeds.
        by_seed = {
            one.run.name if one.record.seed is None else one.record.seed: one for one in group
        }
        found.append(EqualConfigs(list(by_seed.values())))
    return [group for group in found if len(group.sections) > 1]


def compare_on_data(sections: Sequence[RunSection]) -> list[Comparison]:
    """Compare the runs that are on the same data, if there are several."""
    groups: dict[str, list[RunSection]] = {}
    for one in sections:
        groups.setdefault(_data(one, sections), []).append(one)
    found = []
    for data, group in groups.items():
        measured = [one for one in group if one.interval]
        charts = overlay_charts(
            [
                NumberedRun(one.number, f"No. {one.number} {one.title}", one.record, one.table)
                for one in group
                if one.table
            ]
        )
        if len(measured) > 1 or charts:
            found.append(Comparison(data, charts, measured if len(measured) > 1 else []))
    return found


def _data(section: RunSection, others: Sequence[RunSection]) -> str:
    """Return the name of a run's data, without the seed by which runs of one config differ.

    A run that is not finished has no name of its data; it takes that of a run with its config.
    """
    for one in (section, *others):
        same = one.record.experiment == section.record.experiment and (
            _data_config(one) == _data_config(section)
        )
        if same and one.record.data:
            seeded = one.values.get("data.split_seed") is None
            return one.record.data.replace(f", seed {one.record.seed}" if seeded else "", "")
    return f"{section.record.experiment}, {section.record.source or 'its data'}"


def _data_config(section: RunSection) -> dict[str, Any]:
    return {key: value for key, value in section.values.items() if key.startswith("data.")}
