"""Several runs side by side: equal configs with their mean and spread, curves over each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dlrun.experiments.base import CHANCE
from dlrun.reports.aggregate import MetricSpread, group_by_config, metric_spread
from dlrun.reports.charts import LEFT, RIGHT, Axis, Chart, look
from dlrun.reports.curves import NumberedRun, overlay_charts
from dlrun.reports.run_section import RunSection
from dlrun.runs.key_metric import ACCURACY, TESTED

ROW = 22  # of a run, in the picture's units


@dataclass(frozen=True)
class Equal:
    """Two or more finished runs of one experiment whose configs differ by the seed at most."""

    chapters: list[RunSection]

    @property
    def first(self) -> RunSection:
        """Which stands for what all have in common."""
        return self.chapters[0]

    @property
    def differing(self) -> dict[str, Any]:
        """What of their common config is not the default."""
        found = self.first.differing or {}
        return {key: value for key, value in found.items() if key not in CHANCE}

    @property
    def spreads(self) -> list[MetricSpread]:
        """Of each test metric that all of them have."""
        metrics = [one.record.metrics for one in self.chapters]
        found = (metric_spread(metric, metrics) for metric in test_metrics([self.first]))
        return [one for one in found if one is not None]


@dataclass(frozen=True)
class Bar:
    """A run's test accuracy, its interval and the published ones, in the picture's units."""

    chapter: RunSection
    row: int
    at: float
    low: float
    high: float
    published: list[tuple[str, float]]
    look: str


@dataclass(frozen=True)
class Forest:
    """The test accuracies of runs on the same data with their intervals, below each other."""

    chapters: list[RunSection]

    @property
    def height(self) -> int:
        """Of the picture."""
        return ROW * len(self.chapters) + 40

    @cached_property
    def axis(self) -> Axis:
        """It holds every interval and every published value."""
        ends = [end for one in self.chapters for end in one.interval or ()]
        ends += [value for one in self.chapters for _, value in _published(one)]
        margin = 0.04 * (max(ends) - min(ends)) or 0.01
        return Axis(min(ends) - margin, max(ends) + margin, LEFT, RIGHT)

    @property
    def bars(self) -> list[Bar]:
        """A bar for each run."""
        found = []
        for place, one in enumerate(self.chapters):
            low, high = one.interval or (0.0, 0.0)
            found.append(
                Bar(
                    one,
                    row=ROW * place + 16,
                    at=self.axis.at(one.accuracy or 0.0),
                    low=self.axis.at(low),
                    high=self.axis.at(high),
                    published=[(name, self.axis.at(value)) for name, value in _published(one)],
                    look=look(one.number),
                )
            )
        return found

    @property
    def editions(self) -> list[str]:
        """Whose published accuracies are drawn."""
        return list(dict.fromkeys(name for one in self.chapters for name, _ in _published(one)))


@dataclass(frozen=True)
class Comparison:
    """Two or more runs on the same data."""

    data: str
    forest: Forest | None
    charts: list[Chart]


def test_metrics(chapters: Sequence[RunSection]) -> list[str]:
    """What the runs were tested by, the accuracy first."""
    names = dict.fromkeys(name for one in chapters for name in one.record.metrics)
    return sorted((name for name in names if name.startswith(TESTED)), key=ACCURACY.__ne__)


def equal(chapters: Sequence[RunSection]) -> list[Equal]:
    """The finished runs by config, each seed's last, where several are equal but for chance."""
    finished = [one for one in chapters if one.state == "finished" and one.values]
    groups = group_by_config(finished, lambda one: one.values, lambda one: one.record.experiment)
    # A run that was repeated says nothing of the spread over seeds.
    by_seed = [list({_seed(one): one for one in group}.values()) for group in groups]
    return [Equal(group) for group in by_seed if len(group) > 1]


def _seed(chapter: RunSection) -> int | str:
    return chapter.run.name if chapter.record.seed is None else chapter.record.seed


def compare(chapters: Sequence[RunSection]) -> list[Comparison]:
    """The runs by their data, where several are on the same."""
    groups: dict[str, list[RunSection]] = {}
    for one in chapters:
        groups.setdefault(_data(one, chapters), []).append(one)
    found = []
    for data, group in groups.items():
        measured = [one for one in group if one.interval]
        forest = Forest(measured) if len(measured) > 1 else None
        runs = [
            NumberedRun(one.number, f"No. {one.number} {one.title}", one.record, one.table)
            for one in group
        ]
        charts = overlay_charts([run for run in runs if run.table])
        if forest or charts:
            found.append(Comparison(data, forest, charts))
    return found


def _published(chapter: RunSection) -> list[tuple[str, float]]:
    """The published test accuracies by edition."""
    return [(name, found[ACCURACY]) for name, found in chapter.beside.items() if ACCURACY in found]


def _data(chapter: RunSection, others: Sequence[RunSection]) -> str:
    """What its data are; generated ones name their seed, by which runs of one config differ.

    A run that is not finished does not say it: it has those of a finished one with its config.
    """
    for one in (chapter, *others):
        same = one.record.experiment == chapter.record.experiment and (
            _data_config(one) == _data_config(chapter)
        )
        if same and one.record.data:
            own_seed = one.values.get("data.split_seed") is None
            return one.record.data.replace(f", seed {one.record.seed}" if own_seed else "", "")
    return f"{chapter.record.experiment}, {chapter.record.source or 'its data'}"


def _data_config(chapter: RunSection) -> dict[str, Any]:
    return {key: value for key, value in chapter.values.items() if key.startswith("data.")}
