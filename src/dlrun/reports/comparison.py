"""Compare the runs of a report: which are comparable, a table and curves for each data set."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from dlrun.config.data_sections import FOLD
from dlrun.config.yaml_loader import format_settings_briefly
from dlrun.reports import svg_charts
from dlrun.reports.page_table import PageRow, PageTable
from dlrun.reports.result_rows import MetricComparisonRow, describe_data_of_group
from dlrun.reports.run_section import RunSection
from dlrun.reports.svg_charts import Chart, ChartCurve, ReferenceLine
from dlrun.reports.warning_tags import FEW_SEEDS, NOT_RANKED, ONE_SEED, WarningTag
from dlrun.runs.groups import Group, Repeat, name_by_varied_settings
from dlrun.runs.run_tables import GROUP_COLUMNS
from dlrun.runs.same_rows import rank_on_same_test_rows

MAX_CURVES = 5  # a chart has so many curves at most, each in a colour; others are not drawn
FEWEST_FOR_MEAN = 3  # so many runs of one config, or more, have a mean curve
Sections = Mapping[Path, RunSection]  # the folder of a run leads to its section


def complete_run_sections(groups: Sequence[Group], sections: Sections) -> None:
    """Add to each run's report section its settings, and the run that represents its group."""
    for group in groups:
        for run in group.runs:
            section = sections[run.folder]
            settings = dict(group.settings)
            fold = run.settings.get(FOLD)
            if fold is not None:
                settings[FOLD] = fold
            if settings:
                section.title += f", {format_settings_briefly(settings)}"
            section.copy = group.copies.get(run.folder, "")
            if run.is_finished and not section.copy:
                section.representative = sections[(group.median_run or run).folder]
                counted = group.counted[Repeat.of(run)]
                section.repeated_by = None if counted is run else sections[counted.folder].number


def warning_tags_of_group(group: Group, sections: Sections) -> list[WarningTag]:
    """The tags of a config's runs come before those of the config, such as too few seeds."""
    tags = dict.fromkeys(tag for run in group.runs for tag in sections[run.folder].warning_tags)
    if group.main_spread and group.shortage(group.main_spread):
        tags[ONE_SEED if len(group.counted) == 1 else FEW_SEEDS] = None
    if group.main_spread and not group.main_spread.metric.sign:
        tags[NOT_RANKED] = None
    return list(tags)


class DataSetComparison(NamedTuple):
    """Holds a report's comparison of the runs on one data set: a row per config, and curves."""

    data: str
    table: PageTable
    charts: list[Chart]


def compare_by_data(groups: Sequence[Group], sections: Sections) -> list[DataSetComparison]:
    """Each data set with several runs has its configs, the best first, and their curves."""
    compared = []
    for ranked in rank_on_same_test_rows(groups):
        if sum(len(group.runs) for group in ranked) > 1:
            groups_on_data = name_by_varied_settings(ranked)
            rows = [row for group in groups_on_data for row in _rows_of_group(group, sections)]
            drawn = _charts_of_metrics(groups_on_data, sections)
            data = describe_data_of_group(groups_on_data[0])
            table = PageTable.with_used_columns(GROUP_COLUMNS, rows)
            compared.append(DataSetComparison(data, table, drawn))
    return compared


def _rows_of_group(group: Group, sections: Sections) -> list[PageRow]:
    """Each test metric of a config has a row; a single run has a row of its main metric alone."""
    spreads = group.test_spreads[:1] if len(group.counted) == 1 else group.test_spreads
    with_published = sections[group.runs[0].folder].with_published
    rows = []
    for spread in spreads:
        result = MetricComparisonRow.of_group(group, spread, with_published=with_published)
        cells = result.as_object() | {"config": group.name}
        rows.append(PageRow(cells, is_quiet=bool(group.record.reference_differs)))
    return rows


def _charts_of_metrics(groups: Sequence[Group], sections: Sections) -> list[Chart]:
    """A metric that two or more runs recorded by epoch or by penalty has a chart.

    The groups come with the best first, because only the first curves have colours.
    """
    steps_and_metrics: dict[tuple[str, str], None] = {}  # in order, each once
    for group in groups:
        for run in group.runs:
            section = sections[run.folder]
            for metric in svg_charts.metric_names_without_stage(section.table):
                steps_and_metrics[section.step_name, metric] = None
    drawn = (_chart_of_metric(groups, sections, *names) for names in steps_and_metrics)
    return [chart for chart in drawn if chart]


def _chart_of_metric(
    groups: Sequence[Group], sections: Sections, step: str, metric: str
) -> Chart | None:
    """None means that fewer than two runs recorded the metric."""
    curves: list[ChartCurve] = []
    published_lines: dict[ReferenceLine, None] = {}  # in order, each once
    for group in groups:
        curves_of_group = _curves_of_group(group, sections, step, metric)
        curves += curves_of_group
        if curves_of_group:
            for line in svg_charts.published_value_lines(group.record, metric):
                name = f"{line.name} of {group.record.experiment}"
                published_lines[replace(line, name=name)] = None
    is_single_run = len(curves) == 1 and not curves[0].low  # a mean has a band
    if not curves or is_single_run:
        return None
    coloured = [
        replace(curve, look=f"run{number} dash{number}")
        for number, curve in enumerate(curves[:MAX_CURVES])
    ]
    return Chart(f"{metric} by {step}", step, metric, coloured, list(published_lines))


def _curves_of_group(group: Group, sections: Sections, step: str, metric: str) -> list[ChartCurve]:
    """Each run has a curve. FEWEST_FOR_MEAN or more counted runs share one mean curve."""
    curves: dict[Path, ChartCurve] = {}
    for run in group.runs:
        section = sections[run.folder]
        curve = None if section.is_left_out else _curve_of_run(section, step, metric)
        if curve is not None:
            curves[run.folder] = curve
    counted = [run.folder for run in group.counted.values() if run.folder in curves]
    if len(counted) >= FEWEST_FOR_MEAN:
        data = svg_charts.label_of_data_part(curves[counted[0]].look, group.record)
        name = f"{group.name}, mean of {len(counted)} runs ({data})"
        mean = svg_charts.mean_curve(name, [curves[folder] for folder in counted])
        if mean is not None:
            others = [curves[folder] for folder in curves if folder not in counted]
            return [mean, *others]
    return list(curves.values())


def _curve_of_run(section: RunSection, step: str, metric: str) -> ChartCurve | None:
    """The curve's `look` is the data part that is drawn, such as `valid`.

    A run may have no curve.
    """
    if len(section.steps) < 2 or section.step_name != step:
        return None
    for part in ("valid", "test", "train"):  # the first that has a value is drawn
        if values := section.table.get(f"{part}_{metric}"):
            name = f"No. {section.number} {section.title}"
            name += f" ({svg_charts.label_of_data_part(part, section.record)})"
            curve = svg_charts.curve_without_gaps(name, section.steps, values, part)
            if curve.x:
                return curve
    return None
