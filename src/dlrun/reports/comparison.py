"""Say what the runs of a page show: a sentence for each experiment, a table for each data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from markupsafe import Markup

from dlrun.config.data_sections import FOLD
from dlrun.config.yaml_loader import format_settings_briefly
from dlrun.groups import Group, Spread, repeat_of
from dlrun.metrics import TESTED
from dlrun.reports import charts
from dlrun.reports.charts import Axis, Chart, ChartCurve
from dlrun.reports.run_data import ONE_SEED, RunSection, Tag
from dlrun.rows import (
    COUNT,
    INTERVAL_OF_MEAN,
    INTERVAL_OF_TEST_SET,
    MEAN,
    RANGE_OF_RUNS,
    SD,
    Column,
    Row,
)
from dlrun.run_folder.recorded_metrics import EDITIONS, format_interval, format_metric, main_metric
from dlrun.system.console import pluralize

SAMPLE = "sample"  # the source of generated data
COLOURED = 5  # curves of a chart; the others are not drawn
FEWEST_FOR_MEAN = 3  # runs of one config that a chart shows as their mean
PRINTED, LINKED = 12, 20  # configs of a table that are printed; runs of a config with a link
STRIP_LEFT, STRIP_RIGHT = 6.0, 214.0  # ends of the picture of a config's results, in SVG units
LEAST_WIDTH = 0.005  # of the axis of a picture, as a share: rounding must not fill it
Sections = Mapping[Path, RunSection]  # by the folder of their run


def place_on_page(groups: Sequence[Group], sections: Sections) -> None:
    """Add to each section what its group says of it: settings, which run counts in its place."""
    for group in groups:
        for run in group.runs:
            section = sections[run.folder]
            settings = group.settings
            if (fold := run.settings.get(FOLD)) is not None:
                settings = settings | {FOLD: fold}
            if settings:
                section.title += f", {format_settings_briefly(settings)}"
            section.copy = group.copies.get(run.folder, "")
            if run.is_finished and not section.copy:
                section.representative = sections[(group.median_run or run).folder]
                counted = group.counted[repeat_of(run)]
                section.repeated_by = None if counted is run else sections[counted.folder].number


def describe_left_out(sections: Sequence[RunSection]) -> str:
    """Return that runs are left out: others repeat them, or they are copies; empty if none is."""
    count = sum(section.is_left_out for section in sections)
    if not count:
        return ""
    copies = "".join(f"; No. {one.number} is {one.copy}" for one in sections if one.copy)
    return (
        f"{pluralize(count, 'run')} left out of means and curves: of runs with the same config, "
        f"seed and data only the one that began last counts, and no copy of a run{copies}"
    )


def test_metric_names(sections: Sequence[RunSection]) -> list[str]:
    """Return the names of the test metrics that any of the runs has, the main ones first."""
    names = dict.fromkeys(name for section in sections for name in section.record.metrics)
    main = {main_metric(section.record) for section in sections}
    return sorted(
        (name for name in names if name.startswith(TESTED)), key=lambda one: one not in main
    )


def tags_of_group(group: Group, sections: Sections) -> list[Tag]:
    """Return what weakens the result of a config."""
    tags = dict.fromkeys(tag for run in group.runs for tag in sections[run.folder].tags)
    if len(group.counted) == 1 and group.main and group.depends_on_chance:
        tags[ONE_SEED] = None
    return list(tags)


def by_rank(groups: Sequence[Group]) -> list[Group]:
    """Return groups, the best by their main metric first; those without a direction come last."""

    def rank(group: Group) -> tuple[bool, float]:
        main = group.main
        is_ranked = main is not None and main.metric.sign != 0
        return not is_ranked, -main.metric.sign * main.mean if main else 0.0

    return sorted(groups, key=rank)


@dataclass(frozen=True)
class ExperimentOnPage:
    """Holds the configs of one experiment on the page."""

    experiment: str
    groups: list[Group]
    page: Sections

    @property
    def sections(self) -> list[RunSection]:
        """Return the experiment's runs in the order of the page."""
        runs = [self.page[run.folder] for group in self.groups for run in group.runs]
        return sorted(runs, key=lambda run: run.number)

    @property
    def judged(self) -> list[tuple[Group, Spread]]:
        """Return the configs with the main metric that most of them have, the best first.

        Configs on generated data are left out beside others: their numbers cannot be compared.
        """
        real = [group for group in self.groups if group.runs[0].record.source != SAMPLE]
        pairs = [(group, group.main) for group in by_rank(real or self.groups)]
        metrics = [main.metric for _, main in pairs if main]
        chosen = max(metrics, key=metrics.count, default=None)
        return [(group, main) for group, main in pairs if main and main.metric == chosen]

    @property
    def tags(self) -> list[tuple[Tag, list[int]]]:
        """Return what weakens the results, each with the numbers of its runs."""
        numbers: dict[Tag, list[int]] = {}
        for group in self.groups:
            sections = [self.page[run.folder] for run in group.runs]
            for tag in tags_of_group(group, self.page):
                runs = [run.number for run in sections if tag is ONE_SEED or tag in run.tags]
                numbers.setdefault(tag, []).extend(runs)
        return [(tag, sorted(runs)) for tag, runs in numbers.items()]

    @property
    def verdict(self) -> list[Markup]:
        """Return what the runs show, in sentences."""
        judged = self.judged
        if not judged:
            finished = sum(section.state == "finished" for section in self.sections)
            text = f"{finished} of {pluralize(len(self.sections), 'run')} finished"
            return [Markup("{}, without a test metric.").format(text)]
        group, spread = judged[0]
        if len(judged) == 1:
            return [_sentence_on(group, spread), *_sentences_on_published(group, spread)]
        several_data = len({group.data for group, _ in judged}) > 1
        ends = [
            Markup("<strong>{}</strong> ({})").format(
                format_metric(spread.mean),
                " on ".join(
                    filter(
                        None,
                        (
                            format_settings_briefly(group.settings),
                            group.data if several_data or not group.settings else "",
                        ),
                    )
                )
                + (f"; sd {format_metric(spread.sd)}" if spread.sd is not None else ""),
            )
            for group, spread in (judged[0], judged[-1])
        ]
        runs = sum(len(group.counted) for group, _ in judged)
        text = f"{len(judged)} configs, {pluralize(runs, 'run')}: {_words(spread)} from "
        unranked = f" {spread.metric.not_ranked}." if spread.metric.not_ranked else ""
        quiet = _sentences_on_published(group, spread, judge=False)
        return [Markup("{}{} to {}.{}").format(text, *ends, unranked), *quiet]


def _words(spread: Spread) -> str:
    return spread.metric.name.replace("_", " ")


def _sentence_on(group: Group, spread: Spread) -> Markup:
    """Return the result of the only config of an experiment, in a sentence."""
    text, only = "", next(iter(group.counted.values())).record
    if spread.range_of_runs:
        text = f", the mean of {len(spread.values)} runs (standard deviation "
        text += (
            f"{format_metric(spread.sd)}; range of runs {format_interval(spread.range_of_runs)})"
        )
    elif ends := group.row(spread)["interval_of_test_set"]:
        assert isinstance(ends, tuple)
        text = f" in one run (interval of a test set of {only.test_rows:,} rows: "
        text += f"{format_interval(ends)})"
    else:
        text = " in one run"
    unranked = f" {spread.metric.not_ranked}." if spread.metric.not_ranked else ""
    mean = format_metric(spread.mean)
    return Markup("{} <strong>{}</strong>{}.{}").format(_words(spread), mean, text, unranked)


def _sentences_on_published(group: Group, spread: Spread, *, judge: bool = True) -> list[Markup]:
    """Return where each published number lies, or only the number if that is not judged."""
    sentences = []
    for edition, value in group.published(spread.metric.name).items():
        place = group.place(spread, edition) if judge else None
        number = format_metric(value)
        if place == "equal":
            sentence = Markup("Equal to the {}'s {}.").format(edition, number)
        elif place:
            of_what = " the range of runs" if group.depends_on_chance else ""
            text = Markup("The {}'s {} is <strong>{}</strong>{}.")
            sentence = text.format(edition, number, place, of_what)
        else:
            is_judged = judge and not group.runs[0].record.reference_differs
            why = f" ({group.too_few(spread)})" if is_judged and group.too_few(spread) else ""
            sentence = Markup('<span class="quiet">The {}: {}{}.</span>').format(
                edition, number, why
            )
        sentences.append(sentence)
    return sentences


def group_by_experiment(groups: Sequence[Group], sections: Sections) -> list[ExperimentOnPage]:
    """Return the configs of each experiment of a page, in the order of the page."""
    by_name: dict[str, list[Group]] = {}
    for group in groups:
        by_name.setdefault(group.experiment, []).append(group)
    return [ExperimentOnPage(name, found, sections) for name, found in by_name.items()]


@dataclass(frozen=True)
class DataOnPage:
    """Holds what compares the runs on the same data: configs, the best first, and their curves."""

    data: str
    groups: list[Group]
    charts: list[Chart]
    page: Sections

    @cached_property
    def rows(self) -> list[Row]:
        """Return a row for the main metric of each config, of several runs for each test metric."""
        rows: list[Row] = []
        for rank, group in enumerate((group for group in self.groups if group.main), start=1):
            for place, spread in enumerate(group.tested):
                if place and len(group.counted) == 1:
                    continue
                row = group.row(spread)
                numbers = [self.page[run.folder].number for run in group.counted.values()]
                tags = [] if place else tags_of_group(group, self.page)
                rows.append(
                    row
                    | {
                        "config": _config_cell(group, numbers, tags),
                        "picture": row["range_of_runs"] or row["interval_of_test_set"],
                        "label": f"{spread.metric.name} of {group.name}",
                        "values": spread.values,
                        "is_quiet": bool(group.runs[0].record.reference_differs),
                        "is_further": rank > PRINTED or place > 0,
                    }
                    | {edition: _published_cell(row, edition) for edition in self.editions}
                    | {f"{edition}_number": row[edition] for edition in EDITIONS}
                )
        return rows

    @property
    def columns(self) -> list[Column]:
        """Return the columns of the rows that have something to say, and a picture."""
        several = any(len(group.counted) > 1 for group in self.groups)
        mean = replace(MEAN, title="Mean" if several else "Result")
        intervals = (INTERVAL_OF_MEAN, RANGE_OF_RUNS) if several else (INTERVAL_OF_TEST_SET,)
        spread = [SD, COUNT] if several else []
        titled = [replace(column, title=column.heading.capitalize()) for column in intervals]
        if not several and "interval" not in self.marks:
            titled = []
        published = [Column(edition, edition.capitalize()) for edition in self.editions]
        names = [Column("config", "Config"), Column("metric", "Metric")]
        return [*names, mean, *spread, *titled, *published, Column("picture", "Picture")]

    @cached_property
    def editions(self) -> list[str]:
        """Return the editions of the book that have numbers of any of the rows."""
        published = [
            group.published(spread.metric.name)
            for group in self.groups
            for spread in group.tested
            if spread.metric == (group.main and group.main.metric) or len(group.counted) > 1
        ]
        return [edition for edition in EDITIONS if any(edition in values for values in published)]

    @cached_property
    def marks(self) -> set[str]:
        """Return what the pictures show: `range`, `interval` (of one run), editions, `rerun`."""
        marks = {*self.editions}
        for row in self.rows:
            marks |= {"range"} if row["range_of_runs"] else set()
            marks |= {"interval"} if row["interval_of_test_set"] else set()
            marks |= {"rerun"} if row["reruns"] else set()
        return marks

    @cached_property
    def axes(self) -> dict[str, Axis]:
        """Return by test metric the axis of its values, intervals and published numbers."""
        values: dict[str, list[float]] = {}
        for group in self.groups:
            for spread in group.tested:
                row, name = group.row(spread), spread.metric.name
                shown = values.setdefault(name, [])
                ends = row["range_of_runs"] or row["interval_of_test_set"]
                shown += [*spread.values, *(ends if isinstance(ends, tuple) else ())]
                shown += [(1 + sign * LEAST_WIDTH / 2) * spread.mean for sign in (-1, 1)]
                shown += [*group.published(name).values(), *group.reruns(name).values()]
        ends_of_axis = {
            metric: charts.padded_range(shown, 0.02) for metric, shown in values.items()
        }
        return {
            metric: Axis(*ends, STRIP_LEFT, STRIP_RIGHT) for metric, ends in ends_of_axis.items()
        }


def run_links(numbers: Sequence[int]) -> Markup:
    """Return links to the sections of runs."""
    links = Markup(", ").join(
        Markup('<a href="#run-{0}">{0}</a>').format(number) for number in numbers[:LINKED]
    )
    more = f" and {len(numbers) - LINKED} more" if len(numbers) > LINKED else ""
    return Markup("run{} {}{}").format("s" if len(numbers) > 1 else "", links, more)


def tag_marks(tags: Sequence[Tag]) -> Markup:
    """Return tags as they stand beside a result."""
    return Markup("").join(Markup(' <span class="tag">{}</span>').format(tag.name) for tag in tags)


def _config_cell(group: Group, numbers: Sequence[int], tags: Sequence[Tag]) -> Markup:
    text = Markup('{} <span class="quiet">{}</span>{}')
    return text.format(group.name, run_links(numbers), tag_marks(tags))


def _published_cell(row: Row, edition: str) -> Markup:
    number, place = format_metric(row[edition]), row[f"{edition}_is"]
    return (
        Markup("{} <strong>{}</strong>").format(number, place) if place else Markup.escape(number)
    )


def compare_by_data(groups: Sequence[Group], sections: Sections) -> list[DataOnPage]:
    """Compare the configs on the same data, the best first; leave out data with a single run."""
    by_data: dict[str, list[Group]] = {}
    for group in by_rank(groups):
        by_data.setdefault(group.data, []).append(group)
    return [
        DataOnPage(data, found, _charts_of_several_runs(found, sections), sections)
        for data, found in by_data.items()
        if sum(len(group.runs) for group in found) > 1
    ]


def _charts_of_several_runs(groups: Sequence[Group], sections: Sections) -> list[Chart]:
    """Return a chart for each metric that two or more runs recorded by epoch or by penalty.

    groups: the best first, for the first have colours.
    """
    panels = dict.fromkeys(
        (next(iter(sections[run.folder].table)), metric)
        for group in groups
        for run in group.runs
        for metric in charts.metric_names_without_split(sections[run.folder].table)
    )
    drawn = (_chart_of_several_runs(groups, sections, step, metric) for step, metric in panels)
    return [chart for chart in drawn if chart]


def _chart_of_several_runs(
    groups: Sequence[Group], sections: Sections, step: str, metric: str
) -> Chart | None:
    """Return the chart of one metric, with the means of configs; None of fewer than two curves."""
    curves: list[ChartCurve] = []
    drawn: list[RunSection] = []
    for group in groups:
        lines: dict[int, ChartCurve] = {}
        part = ""
        for run in (sections[run.folder] for run in group.runs):
            if not run.is_left_out and (found := _run_line(run, step, metric)):
                part, lines[run.number] = found
                drawn.append(run)
        numbers = [sections[run.folder].number for run in group.counted.values()]
        counted = [number for number in numbers if number in lines]
        if len(counted) >= FEWEST_FOR_MEAN:
            name = f"mean of {len(counted)} runs ({charts.PARTS[part]})"
            name = f"{group.name}, {name}" if len(groups) > 1 else name
            if mean := charts.mean_curve(name, [lines[number] for number in counted]):
                curves.append(mean)
                lines = {number: lines[number] for number in lines if number not in counted}
        curves += lines.values()
    if len(drawn) < 2:
        return None
    coloured = [
        replace(line, look=charts.curve_css_classes(place))
        for place, line in enumerate(curves[:COLOURED])
    ]
    levels = dict.fromkeys(
        replace(level, name=f"{level.name} of {run.record.experiment}")
        for run in drawn
        for level in charts.published_levels(run.record, metric)
    )
    return Chart(f"{metric} by {step}", step, metric, coloured, list(levels))


def _run_line(run: RunSection, step: str, metric: str) -> tuple[str, ChartCurve] | None:
    """Return the part (`valid`, ...) and the curve of a run in a chart of several runs, or None."""
    if len(run.steps) < 2 or next(iter(run.table)) != step:
        return None
    for part in ("valid", "test", "train"):  # the first that has a value is drawn
        if values := run.table.get(f"{part}_{metric}"):
            name, record = f"No. {run.number} {run.title} ({charts.PARTS[part]})", run.record
            if record.stopped_epoch:
                name += f", stopped after epoch {record.stopped_epoch}"
            if record.earlier_epoch:
                name += f", kept epoch {record.earlier_epoch}"
            line = charts.measured_curve(name, run.steps, values, "", str(run.number))
            if line.is_drawable:
                return part, line
    return None
