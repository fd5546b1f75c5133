"""Group the runs of a page by config and by experiment, and tag what weakens their results."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from dlrun.config.data_sections import FOLD
from dlrun.config.sections import DATA_PLACES
from dlrun.config.yaml_loader import format_settings_briefly
from dlrun.experiments.comparable_with_published import CHANCE
from dlrun.experiments.saved_run import find_copies
from dlrun.metrics import TESTED
from dlrun.reports.run_data import ONE_SEED, RunSection, Tag
from dlrun.reports.spread import MetricSpread, RunGroup
from dlrun.run_folder.recorded_metrics import main_metric
from dlrun.system.console import pluralize

SAMPLE = "sample"  # the source of generated data


@dataclass(frozen=True)
class ConfigGroup(RunGroup):
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
    def name(self) -> str:
        """Return the name of the experiment, and the settings that tell the config from others."""
        return f"{self.sections[0].record.experiment} {self.title}".rstrip()

    @cached_property
    def spreads(self) -> list[MetricSpread]:
        """Return the spread of each test metric that all counted runs have, the main one first."""
        spreads = map(self.spread, test_metric_names(self.counted))
        return [spread for spread in spreads if spread]

    @property
    def main(self) -> MetricSpread | None:
        """Return the spread of the metric by which the runs are judged, or None."""
        return self.spreads[0] if self.spreads else None

    @property
    def rank(self) -> float:
        """Return a sort key of configs, best first, by the mean of the main metric."""
        main = self.main
        return -main.metric.sign * main.mean if main else float("inf")

    @property
    def typical(self) -> RunSection | None:
        """Return the counted run with the median of the main metric, or None."""
        main = self.main
        if main is None:
            return self.counted[0] if self.counted else None
        by_value = sorted(self.counted, key=lambda run: run.record.metrics[main.metric.name] or 0)
        return by_value[(len(by_value) - 1) // 2]

    @property
    def tags(self) -> list[Tag]:
        """Return what weakens the result of the config."""
        tags = dict.fromkeys(tag for run in self.sections for tag in run.tags)
        if len(self.counted) == 1 and self.main and self.depends_on_seed(self.main):
            tags[ONE_SEED] = None
        return list(tags)


@dataclass(frozen=True)
class ExperimentGroups:
    """Holds the configs of one experiment on the page."""

    experiment: str
    groups: list[ConfigGroup]

    @property
    def sections(self) -> list[RunSection]:
        """Return the experiment's runs in the order of the page."""
        runs = [run for group in self.groups for run in group.sections]
        return sorted(runs, key=lambda run: run.number)

    @property
    def judged(self) -> list[ConfigGroup]:
        """Return the configs with the main metric that most of them have, the best first.

        Configs on generated data are left out beside others: their numbers cannot be compared.
        """
        real = [group for group in self.groups if group.sections[0].record.source != SAMPLE]
        groups = real or self.groups
        metrics = [group.main.metric for group in groups if group.main]
        chosen = max(metrics, key=metrics.count, default=None)
        judged = [group for group in groups if group.main and group.main.metric == chosen]
        return sorted(judged, key=lambda group: group.rank)

    @property
    def tags(self) -> list[tuple[Tag, list[int]]]:
        """Return what weakens the results, each with the numbers of its runs."""
        numbers: dict[Tag, list[int]] = {}
        for group in self.groups:
            for tag in group.tags:
                runs = [run for run in group.sections if tag is ONE_SEED or tag in run.tags]
                numbers.setdefault(tag, []).extend(run.number for run in runs)
        return [(tag, sorted(found)) for tag, found in numbers.items()]


def group_by_experiment(groups: Sequence[ConfigGroup]) -> list[ExperimentGroups]:
    """Return the configs of each experiment of a page, in the order of the page."""
    by_name: dict[str, list[ConfigGroup]] = {}
    for group in groups:
        by_name.setdefault(group.sections[0].record.experiment, []).append(group)
    return [ExperimentGroups(name, found) for name, found in by_name.items()]


def test_metric_names(sections: Sequence[RunSection]) -> list[str]:
    """Return the names of the test metrics that any of the runs has, the main ones first."""
    names = dict.fromkeys(name for run in sections for name in run.record.metrics)
    tested = (name for name in names if name.startswith(TESTED))
    main = main_metric_names(sections)
    return sorted(tested, key=lambda name: name not in main)


def main_metric_names(sections: Sequence[RunSection]) -> set[str | None]:
    """Return the names of the metrics by which the runs are judged."""
    return {main_metric(run.record) for run in sections}


def _add_varied_settings_to_titles(sections: Sequence[RunSection], data: dict[int, str]) -> None:
    """Add to each run's title the settings in which its experiment's runs on its data differ."""
    groups: dict[tuple[str, str], list[RunSection]] = {}
    for run in sections:
        if run.values:
            groups.setdefault((run.record.experiment, data[run.number]), []).append(run)
    for first, *others in groups.values():
        keys = {key for other in others for key in first.values | other.values}
        varied = {
            key
            for key in keys - CHANCE - DATA_PLACES | {FOLD}
            if any(other.values.get(key) != first.values.get(key) for other in others)
        }
        for run in (first, *others):
            settings = {key: value for key, value in run.values.items() if key in varied}
            if settings:
                run.title += f", {format_settings_briefly(settings)}"
            settings.pop(FOLD, None)
            run.varied = format_settings_briefly(settings)


def group_by_config(sections: Sequence[RunSection]) -> list[ConfigGroup]:
    """Group runs on the same data whose configs differ at most in seed, fold and paths of data.

    The median run of each config stands for its finished runs. The settings in which the runs of an
    experiment differ become parts of their titles. A copy of another run counts nowhere.
    """
    copies = find_copies(run.run.identity for run in sections)
    for run in sections:
        run.copy = copies.get(run.run.folder, "")
    by_config: dict[object, list[RunSection]] = {}
    data = _data_names(sections)
    _add_varied_settings_to_titles(sections, data)
    for run in sections:
        ignored = CHANCE | DATA_PLACES
        settings = {key: value for key, value in run.values.items() if key not in ignored}
        compared = [run.record.experiment, data[run.number], settings]
        key = json.dumps(compared, sort_keys=True, default=str) if run.values else run.number
        by_config.setdefault(key, []).append(run)
    return [_group_of(data[runs[0].number], runs) for runs in by_config.values()]


def _group_of(data: str, sections: list[RunSection]) -> ConfigGroup:
    """Return runs of one config as a group; of repeated runs only the last one counts."""
    finished = [run for run in sections if run.state == "finished" and not run.copy]
    finished.sort(key=lambda run: run.record.started or "")
    newest = {run.repeat: run for run in finished}
    counted = sorted(newest.values(), key=lambda run: run.number)
    group = ConfigGroup(
        {run.repeat: run.run for run in counted},
        data,
        sections[0].varied,
        sections,
        counted,
        with_published=sections[0].shows_published,
    )
    typical = group.typical
    for run in finished:
        run.representative = typical or run
        if newest[run.repeat] is not run:
            run.repeated_by = newest[run.repeat].number
    return group


def describe_repeated(sections: Sequence[RunSection]) -> str:
    """Return that runs are left out: others repeat them, or they are copies; empty if none is."""
    count = sum(run.is_left_out for run in sections)
    if not count:
        return ""
    copies = "".join(f"; No. {run.number} is {run.copy}" for run in sections if run.copy)
    return (
        f"{pluralize(count, 'run')} left out of means and curves: of runs with the same config, "
        f"seed and data only the one that began last counts, and no copy of a run{copies}"
    )


def _data_names(sections: Sequence[RunSection]) -> dict[int, str]:
    """Return a description of the data of each run, by its number, without the run's seed.

    An unfinished run has none in its record; it gets that of a run with the same data settings.
    """

    def settings(run: RunSection) -> str:
        data = {key: value for key, value in run.values.items() if key.startswith("data.")}
        return json.dumps([run.record.experiment, data], sort_keys=True, default=str)

    own = {
        run.number: run.record.data_without_chance(run.values)
        for run in sections
        if run.record.data
    }
    known = {settings(run): own[run.number] for run in sections if run.number in own}
    return {
        run.number: own.get(run.number)
        or known.get(settings(run))
        or f"{run.record.experiment}, {run.record.source or 'its data'}"
        for run in sections
    }
