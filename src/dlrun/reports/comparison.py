"""Say what the runs of a page show: a sentence for each experiment, a table for each data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from markupsafe import Markup

from dlrun.config.data_sections import FOLD
from dlrun.config.yaml_loader import Values, format_settings_briefly
from dlrun.groups import Group, Spread, repeat_of
from dlrun.reports import charts
from dlrun.reports.charts import Axis, Chart, ChartCurve
from dlrun.reports.run_data import ONE_SEED, RunSection, Tag
from dlrun.rows import GROUP_COLUMNS, Column, used_columns
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
            section, settings = sections[run.folder], dict(group.settings)
            if (fold := run.settings.get(FOLD)) is not None:
                settings[FOLD] = fold
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


def by_rank(groups: Sequence[Group]) -> list[Group]:
    """Return groups, the best by their main metric first; those without a direction come last."""

    def rank(group: Group) -> tuple[bool, float]:
        sign = group.main.metric.sign if group.main else 0
        return not sign, -sign * group.main.mean if group.main else 0.0

    return sorted(groups, key=rank)


def _tags_of_group(group: Group, sections: Sections) -> list[Tag]:
    """Return what weakens the result of a config."""
    tags = dict.fromkeys(tag for run in group.runs for tag in sections[run.folder].tags)
    if len(group.counted) == 1 and group.main and group.depends_on_chance:
        tags[ONE_SEED] = None
    return list(tags)


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
        real = [group for group in self.groups if group.record.source != SAMPLE]
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
            for tag in _tags_of_group(group, self.page):
                runs = [run.number for run in sections if tag is ONE_SEED or tag in run.tags]
                numbers.setdefault(tag, []).extend(runs)
        return [(tag, sorted(runs)) for tag, runs in numbers.items()]

    @property
    def verdict(self) -> str:
        """Return what the runs show, in sentences; what stands between ** is strong."""
        judged = self.judged
        if not judged:
            finished = sum(section.state == "finished" for section in self.sections)
            runs = pluralize(len(self.sections), "run")
            metric = next(filter(None, (main_metric(run.record) for run in self.sections)), None)
            lacking = metric and f"{metric} is missing or not finite in at least one of them"
            return f"{finished} of {runs} finished; {lacking or 'without a test metric'}."
        (best, spread), (last, last_spread) = judged[0], judged[-1]
        name = spread.metric.name.replace("_", " ")
        if len(judged) == 1:
            texts = [f"{name} **{format_metric(spread.mean)}**{_describe_spread(best, spread)}."]
            texts += _sentences_on_published(best, spread)
        else:
            with_data = len({group.data for group, _ in judged}) > 1
            ends = f"{_describe_end(best, spread, with_data=with_data)} to "
            ends += _describe_end(last, last_spread, with_data=with_data)
            runs = pluralize(sum(len(group.counted) for group, _ in judged), "run")
            texts = [f"{len(judged)} configs, {runs}: {name} from {ends}."]
        if spread.metric.not_ranked:
            texts.append(f"{spread.metric.not_ranked}.")
        return " ".join(texts)


def _describe_end(group: Group, spread: Spread, *, with_data: bool) -> str:
    """Return the best or the last of several configs in words."""
    parts = [format_settings_briefly(group.settings)]
    if with_data or not parts[0]:
        parts.append(group.data)
    sd = "" if spread.sd is None else f"; sd {format_metric(spread.sd)}"
    return f"**{format_metric(spread.mean)}** ({' on '.join(filter(None, parts))}{sd})"


def _describe_spread(group: Group, spread: Spread) -> str:
    """Return from how many runs a mean is, and what it allows to say, in words."""
    if spread.range_of_runs:
        text = f", the mean of {len(spread.values)} runs (sd {format_metric(spread.sd)}; "
        return f"{text}range of runs {format_interval(spread.range_of_runs)})"
    if ends := group.interval_of_test_set(spread):
        rows = group.record.test_rows
        return f" in one run (interval of a test set of {rows:,} rows: {format_interval(ends)})"
    return " in one run"


def _sentences_on_published(group: Group, spread: Spread) -> list[str]:
    """Return where each published number lies, or only the number if that is not judged."""
    sentences = []
    for edition, value in group.published(spread.metric.name).items():
        place, number = group.place(spread, edition), format_metric(value)
        if place == "equal":
            sentences.append(f"Equal to the {edition}'s {number}.")
        elif place:
            of_what = " the range of runs" if group.depends_on_chance else " it"
            sentences.append(f"The {edition}'s {number} is **{place}**{of_what}.")
        else:
            why = "" if group.record.reference_differs else group.too_few(spread)
            sentences.append(f"The {edition}: {number}{why and f', {why}'}.")
    return sentences


def group_by_experiment(groups: Sequence[Group], sections: Sections) -> list[ExperimentOnPage]:
    """Return the configs of each experiment of a page, in the order of the page."""
    by_name: dict[str, list[Group]] = {}
    for group in groups:
        by_name.setdefault(group.record.experiment, []).append(group)
    return [ExperimentOnPage(name, found, sections) for name, found in by_name.items()]


@dataclass(frozen=True)
class DataOnPage:
    """Holds what compares the runs on the same data: a row for each config, and their curves.

    marks: what the pictures show: the columns of the rows, and `reruns`.
    """

    data: str
    rows: list[Values]
    columns: list[Column]
    marks: set[str]
    charts: list[Chart]

    @property
    def axes(self) -> dict[str, Axis]:
        """Return by test metric the axis of its values, intervals and published numbers."""
        values: dict[str, list[float]] = {}
        for row in self.rows:
            shown = values.setdefault(row["metric"], [])
            shown += [*row["values"], *(row["picture"] or ()), *row["reruns"].values()]
            shown += [(1 + sign * LEAST_WIDTH / 2) * row["mean"] for sign in (-1, 1)]
            shown += [row[edition] for edition in EDITIONS if row[edition] is not None]
        ends = {metric: charts.padded_range(shown, 0.02) for metric, shown in values.items()}
        return {metric: Axis(*both, STRIP_LEFT, STRIP_RIGHT) for metric, both in ends.items()}


def _rows_of_data(groups: Sequence[Group], sections: Sections) -> list[Values]:
    """Return a row for the main metric of each config, of several runs for each test metric."""
    rows: list[Values] = []
    for rank, group in enumerate((group for group in groups if group.main), start=1):
        numbers = [sections[run.folder].number for run in group.counted.values()]
        for place, spread in enumerate(group.tested[: 1 if len(numbers) == 1 else None]):
            row, tags = group.row(spread), [] if place else _tags_of_group(group, sections)
            cell = Markup('{} <span class="quiet">{}</span>{}')
            row |= {
                "config": cell.format(group.name, run_links(numbers), tag_marks(tags)),
                "picture": row["range_of_runs"] or row["interval_of_test_set"],
                "label": f"{spread.metric.name} of {group.name}",
                "values": spread.values,
                "is_quiet": bool(group.record.reference_differs),
                "is_further": rank > PRINTED or place > 0,
            }
            rows.append(row)
    return rows


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


def compare_by_data(groups: Sequence[Group], sections: Sections) -> list[DataOnPage]:
    """Compare the configs on the same data, the best first; leave out data with a single run."""
    by_data: dict[str, list[Group]] = {}
    for group in by_rank(groups):
        by_data.setdefault(group.data, []).append(group)
    compared = []
    for data, found in by_data.items():
        if sum(len(group.runs) for group in found) > 1:
            rows = _rows_of_data(found, sections)
            columns = used_columns(GROUP_COLUMNS, rows)
            marks = {column.name for column in columns}
            marks |= {"reruns"} if any(row["reruns"] for row in rows) else set()
            drawn = _charts_of_several_runs(found, sections)
            columns.append(Column("picture", "picture"))
            compared.append(DataOnPage(data, rows, columns, marks, drawn))
    return compared


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
