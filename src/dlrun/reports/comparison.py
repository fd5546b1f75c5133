"""Compare the runs of a report: which of them count, and a table and curves for each data set."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup

from dlrun.config.data_sections import FOLD
from dlrun.config.yaml_loader import Values, format_settings_briefly
from dlrun.groups import Group, seed_and_fold
from dlrun.reports import charts
from dlrun.reports.charts import Chart, ChartCurve
from dlrun.reports.result_tags import FEW_SEEDS, NOT_RANKED, ONE_SEED, Tag
from dlrun.reports.run_data import RunSection
from dlrun.run_tables import GROUP_COLUMNS, Column, used_columns

COLOURED = 5  # curves of a chart; the others are not drawn
FEWEST_FOR_MEAN = 3  # runs of one config that a chart shows as their mean
Sections = Mapping[Path, RunSection]  # by the folder of their run


def fill_in_sections(groups: Sequence[Group], sections: Sections) -> None:
    """Add to each run's section of a report its settings, and which run stands for its group."""
    for group in groups:
        for run in group.runs:
            section = sections[run.folder]
            settings = dict(group.settings)
            if (fold := run.settings.get(FOLD)) is not None:
                settings[FOLD] = fold
            if settings:
                section.title += f", {format_settings_briefly(settings)}"
            section.copy = group.copies.get(run.folder, "")
            if run.is_finished and not section.copy:
                section.representative = sections[(group.median_run or run).folder]
                counted = group.counted[seed_and_fold(run)]
                section.repeated_by = None if counted is run else sections[counted.folder].number


def sort_best_first(groups: Sequence[Group]) -> list[Group]:
    """Sort groups of runs, the best first by their main metric; those not ranked come last."""

    def rank(group: Group) -> tuple[bool, float]:
        sign = group.main_spread.metric.sign if group.main_spread else 0
        return not sign, -sign * group.main_spread.mean if group.main_spread else 0.0

    return sorted(groups, key=rank)


def tags_of_group(group: Group, sections: Sections) -> list[Tag]:
    """Return the tags that warn of a weak result, such as too few seeds."""
    tags = dict.fromkeys(tag for run in group.runs for tag in sections[run.folder].tags)
    if group.main_spread and group.shortage(group.main_spread):
        tags[ONE_SEED if len(group.counted) == 1 else FEW_SEEDS] = None
    if group.main_spread and not group.main_spread.metric.sign:
        tags[NOT_RANKED] = None
    return list(tags)


class DataOnPage(NamedTuple):
    """Holds a report's comparison of the runs on one data set: a row per config, and curves."""

    data: str
    columns: list[Column]
    rows: list[Values]
    charts: list[Chart]


def tag_marks(tags: Iterable[Tag]) -> Markup:
    """Return the HTML marks of tags, which stand beside a result."""
    mark = Markup(' <span class="tag {}">{}</span>')
    return Markup("").join(mark.format("bad" * tag.is_problem, tag.name) for tag in tags)


def compare_by_data(groups: Sequence[Group], sections: Sections) -> list[DataOnPage]:
    """For each data set with several runs, list its configs, the best first."""
    by_data: dict[str, list[Group]] = {}
    for group in sort_best_first(groups):
        by_data.setdefault(group.data, []).append(group)
    compared = []
    for data, groups_on_data in by_data.items():
        if sum(len(group.runs) for group in groups_on_data) > 1:
            rows = [
                group.row(spread)
                | {"config": group.name, "is_quiet": bool(group.record.reference_differs)}
                for group in groups_on_data
                for spread in group.tested[: 1 if len(group.counted) == 1 else None]
            ]
            drawn = _charts_of_several_runs(groups_on_data, sections)
            compared.append(DataOnPage(data, used_columns(GROUP_COLUMNS, rows), rows, drawn))
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
            name = f"mean of {len(counted)} runs ({charts.name_part(part, group.record)})"
            name = f"{group.name}, {name}" if len(groups) > 1 else name
            if mean := charts.mean_curve(name, [lines[number] for number in counted]):
                curves.append(mean)
                lines = {number: lines[number] for number in lines if number not in counted}
        curves += lines.values()
    if len(drawn) < 2:
        return None
    coloured = [
        replace(curve, look=charts.curve_css_classes(number))
        for number, curve in enumerate(curves[:COLOURED])
    ]
    levels = dict.fromkeys(
        replace(level, name=f"{level.name} of {run.record.experiment}")
        for run in drawn
        for level in charts.published_value_lines(run.record, metric)
    )
    return Chart(f"{metric} by {step}", step, metric, coloured, list(levels))


def _run_line(run: RunSection, step: str, metric: str) -> tuple[str, ChartCurve] | None:
    """Return the part (`valid`, ...) and the curve of a run in a chart of several runs, or None."""
    if len(run.steps) < 2 or next(iter(run.table)) != step:
        return None
    for part in ("valid", "test", "train"):  # the first that has a value is drawn
        if values := run.table.get(f"{part}_{metric}"):
            name = f"No. {run.number} {run.title} ({charts.name_part(part, run.record)})"
            line = charts.measured_curve(name, run.steps, values, "")
            if line.is_drawable:
                return part, line
    return None
