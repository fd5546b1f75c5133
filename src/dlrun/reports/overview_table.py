"""Make the table that opens a report: a row per config, with its result, interval and caveats."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from dlrun.config.yaml_loader import format_settings_briefly
from dlrun.data.datasets_and_sources import GENERATED
from dlrun.metrics import TESTED, format_interval, format_metric
from dlrun.reports.comparison import Sections, warning_tags_of_group
from dlrun.reports.highlights import count_photographs_labelled_as_in_book
from dlrun.reports.page_table import PageRow, PageTable
from dlrun.reports.result_rows import interval_of_test_set, judge_published_number, published_values
from dlrun.reports.run_section import RunSection
from dlrun.reports.svg_charts import Strip
from dlrun.reports.warning_tags import WarningTag, warning_tags_as_html
from dlrun.runs.groups import FEWEST, Group, Spread
from dlrun.runs.published import EDITIONS
from dlrun.runs.record import ACCURACY
from dlrun.runs.run_tables import Column
from dlrun.runs.same_rows import rank_on_same_test_rows

RANGE, INTERVAL = "range of runs", "interval of one run's test set"
COLUMNS = (
    Column("config", "experiment"),
    Column("metric", "test metric"),
    Column("value", "here", is_number=True),
    Column("guess", "largest class", is_number=True),
    Column("picture", "range"),
    Column("published", is_number=True),
    Column("position", "the published number is"),
    Column("count", "seeds", is_number=True),
    Column("tags"),
)


@dataclass(frozen=True)
class Overview:
    """Holds a report's first table, with a row for each config, and its warning tags."""

    table: PageTable
    warning_tags: list[WarningTag]

    @property
    def legend(self) -> Mapping[str, str]:
        """The legend explains the marks in the pictures, by their look.

        The editions are explained only if a published number is drawn.
        """
        pictures = [row.picture for row in self.table.rows if row.picture is not None]
        if not pictures:
            return {}
        legend = {"mean": "here"}
        if any(picture.dots for picture in pictures):
            legend["run"] = "a run"
        bars = {RANGE if picture.dots else INTERVAL for picture in pictures if picture.bar}
        if bars:
            legend["interval"] = ", or ".join(sorted(bars, reverse=True))
        if any(picture.ticks for picture in pictures):
            legend |= {edition: f"{edition}, {text}" for edition, text in EDITIONS.items()}
        return legend


def sections_by_experiment(sections: Sequence[RunSection]) -> dict[str, list[RunSection]]:
    """Group a report's runs by experiment, in the order of the book ISLP; others follow."""
    by_name: dict[str, list[RunSection]] = {}
    for section in sections:
        by_name.setdefault(section.record.experiment, []).append(section)
    return dict(sorted(by_name.items(), key=lambda item: _place_in_book(item[1])))


def _place_in_book(sections: Sequence[RunSection]) -> tuple[float, ...]:
    return min(tuple(section.record.reference.get("place") or [math.inf]) for section in sections)


def make_overview_table(groups: Sequence[Group], sections: Sections) -> Overview:
    """Each config has a row, in the order of the book ISLP."""
    experiments = sections_by_experiment(list(sections.values()))
    pictures = _draw_on_shared_scales(groups, sections)
    rows: list[PageRow] = []
    for number, name in enumerate(experiments, start=1):
        of_experiment = [group for group in groups if group.record.experiment == name]
        ranked = itertools.chain(*rank_on_same_test_rows(of_experiment))
        for group in sorted(ranked, key=lambda group: group.record.source == GENERATED):
            link = Markup('<a href="#experiment-{}">{}</a>').format(number, name)
            if settings := format_settings_briefly(group.settings):
                link += Markup(' <span class="quiet">{}</span>').format(settings)
            rows.append(_row_of_group(link, group, sections, pictures.get(id(group))))
    tags = dict.fromkeys(tag for section in sections.values() for tag in section.warning_tags)
    for group in groups:
        tags |= dict.fromkeys(warning_tags_of_group(group, sections))
    return Overview(PageTable.with_used_columns(COLUMNS, rows), list(tags))


def _draw_on_shared_scales(groups: Sequence[Group], sections: Sections) -> dict[int, Strip]:
    """The pictures of one metric on the same test rows share a scale; returned by group's id."""
    pictures: dict[int, Strip] = {}
    for members in rank_on_same_test_rows(groups):
        strips_by_metric: dict[str, dict[int, Strip]] = {}
        for group in members:
            if spread := _shown_spread(group):
                strips = strips_by_metric.setdefault(spread.metric.name, {})
                strips[id(group)] = _picture_of_metric(group, spread, sections)
        for strips in strips_by_metric.values():
            scale = [value for strip in strips.values() for value in strip.values]
            pictures |= {key: replace(strip, scale=scale) for key, strip in strips.items()}
    return pictures


def _shown_spread(group: Group) -> Spread | None:
    return group.main_spread or group.validation_spread


def _first_published(group: Group, spread: Spread, sections: Sections) -> tuple[str, float | None]:
    """Return the edition and the number that is shown beside a metric."""
    section = sections[(group.median_run or group.runs[0]).folder]
    name = spread.metric.name
    editions = published_values(group, name, with_published=section.with_published)
    return next(iter(editions.items()), ("", None))


def _row_of_group(link: Markup, group: Group, sections: Sections, picture: Strip | None) -> PageRow:
    """link: the config's name, which leads to the runs of its experiment."""
    section = sections[(group.median_run or group.runs[0]).folder]
    is_quiet = bool(group.record.reference_differs)
    spread = _shown_spread(group)
    count = len(spread.values) if spread else len(group.counted)
    cells: dict[str, object] = {
        "config": link,
        "count": f"{count} folds" if group.fold_count else f"{count}",
        "tags": warning_tags_as_html(warning_tags_of_group(group, sections)),
    }
    if spread is None or picture is None:
        if labels := count_photographs_labelled_as_in_book(section.photographs):
            cells["metric"] = "labels as the book's"
            cells["value"] = f"{labels.run} of {labels.photographs}"
        return PageRow(cells, is_quiet)
    metric = spread.metric.name
    edition, published = _first_published(group, spread, sections)
    position = judge_published_number(group, spread, edition)
    if metric == ACCURACY and group.record.classes:
        cells["guess"] = format_metric(group.record.classes.share)
    cells["metric"] = metric.removeprefix(TESTED).replace("_", " ")
    cells["value"] = format_metric(spread.mean)
    cells["picture"] = picture.label
    cells["position"] = position
    if published is not None:
        rounded = min(repr(published), format_metric(published), key=len)
        cells["published"] = Markup('{} <span class="quiet">{}</span>').format(rounded, edition)
    return PageRow(cells, is_quiet, picture)


def _picture_of_metric(group: Group, spread: Spread, sections: Sections) -> Strip:
    """The picture shows a metric's mean, its runs, their interval and the published number.

    The label says them in words.
    """
    edition, published = _first_published(group, spread, sections)
    position = judge_published_number(group, spread, edition)
    count = len(spread.values)
    texts = [f"{group.name}: {spread.metric.name} {format_metric(spread.mean)}"]
    bar = interval_of_test_set(group, spread)
    if bar:
        texts.append(f"interval of the test set {format_interval(bar)}")
    elif count >= FEWEST and spread.range_of_runs:
        bar = spread.range_of_runs
        texts.append(f"range of runs {format_interval(bar)}")
    ticks: dict[str, float] = {}
    if published is not None:
        ticks[edition] = published
        of_range = " the range of runs" if position and group.depends_on_chance else ""
        texts.append(f"{edition} {published!r} {position or ''}{of_range}".rstrip())
    dots = spread.values if count > 1 else []
    return Strip(", ".join(texts), spread.mean, bar, ticks, dots)
