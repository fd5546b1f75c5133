"""Make the first table of a page: a row for each config, with its result as a picture, and tags."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from dlrun.config.yaml_loader import Values, format_settings_briefly
from dlrun.data.sources import GENERATED
from dlrun.groups import FEWEST, Group, Spread
from dlrun.metrics import TESTED
from dlrun.reports import charts
from dlrun.reports.charts import Strip
from dlrun.reports.comparison import Sections, by_rank, tag_marks, tags_of_group
from dlrun.reports.run_data import NO_DATA, RunSection, Tag
from dlrun.rows import Column, used_columns
from dlrun.run_folder.recorded_metrics import EDITIONS, format_interval, format_metric

MOST_ROWS, FEWEST_ROWS = 15, 3  # of a table, if several experiments share it; of an experiment
LEGEND = {
    "mean": "here",
    "run": "a run",
    "interval": "range of runs; of one run the interval of its test set",
    "book": "book",
    "notebook": "the authors' notebook",
    charts.VALIDATED: "validation",
    charts.ON_TEST: "validation = test",
}
COLUMNS = (
    Column("config", "experiment"),
    Column("metric", "test metric"),
    Column("value", "here", is_number=True),
    Column("picture", "range of runs", format=str),
    Column("book", is_number=True),
    Column("place", "it is"),
    Column("count", "seeds", is_number=True),
    Column("curve", "validation", format=str),
    Column("tags"),
)


@dataclass(frozen=True)
class Overview:
    """Holds the first table of a page, and the tags of the page."""

    rows: list[Values]
    tags: list[Tag]

    @property
    def columns(self) -> list[Column]:
        """Return the columns that have a text."""
        return used_columns(COLUMNS, self.rows)

    @property
    def legend(self) -> list[tuple[str, str]]:
        """Return what the marks in the pictures mean, by their look; only of those that occur."""
        strips = [row["picture"] for row in self.rows if row.get("picture")]
        looks = {row["curve"].look for row in self.rows if row.get("curve")}
        looks |= {edition for strip in strips for edition in strip.ticks}
        looks |= {"mean"} if strips else set()
        looks |= {"run"} if any(strip.dots for strip in strips) else set()
        looks |= {"interval"} if any(strip.bar for strip in strips) else set()
        return [(look, text) for look, text in LEGEND.items() if look in looks]


def sections_by_experiment(sections: Sequence[RunSection]) -> dict[str, list[RunSection]]:
    """Return the runs of a page by experiment, in the order of the book; those of others follow."""
    by_name: dict[str, list[RunSection]] = {}
    for section in sections:
        by_name.setdefault(section.record.experiment, []).append(section)
    return dict(sorted(by_name.items(), key=lambda item: _place(item[1])))


def _place(sections: Sequence[RunSection]) -> tuple[float, ...]:
    """Return the place of an experiment in the book, by its runs."""
    return min(_place_in_book(section.record.reference) for section in sections)


def _place_in_book(reference: Values) -> tuple[float, ...]:
    return tuple(reference.get("place") or [math.inf])


def make_overview(
    groups: Sequence[Group], sections: Sections, without_data: Mapping[str, Values]
) -> Overview:
    """Return the first table of a page, in the order of the book.

    without_data: the published numbers of experiments that have no run, by title.
    """
    experiments = sections_by_experiment([*sections.values()])
    limit = len(groups)
    if limit > MOST_ROWS:
        limit = max(FEWEST_ROWS, MOST_ROWS // len(experiments))
    rows: list[tuple[tuple[float, ...], Values]] = []
    for number, (name, runs) in enumerate(experiments.items(), start=1):
        of_experiment = [group for group in groups if group.record.experiment == name]
        ranked = sorted(by_rank(of_experiment), key=lambda group: group.record.source == GENERATED)
        left = len(ranked) - limit
        for group in ranked[:limit]:
            link = Markup('<a href="#experiment-{}">{}</a>').format(number, name)
            if settings := format_settings_briefly(group.settings):
                link += Markup(' <span class="quiet">{}</span>').format(settings)
            if left > 0 and group is ranked[limit - 1]:
                link += Markup(' <span class="quiet">and {} more configs below</span>').format(left)
            row = {"config": link} | _row_of_group(group, sections)
            rows.append((_place(runs), row))
    for title, reference in without_data.items():
        rows.append((_place_in_book(reference), _row_without_data(title, reference)))
    rows.sort(key=lambda row: row[0])
    tags = dict.fromkeys(tag for section in sections.values() for tag in section.tags)
    for group in groups:
        tags |= dict.fromkeys(tags_of_group(group, sections))
    if without_data:
        tags[NO_DATA] = None
    return Overview([row for _, row in rows], [*tags])


def _row_of_group(group: Group, sections: Sections) -> Values:
    """Return what the table says of a config, besides its name."""
    section = sections[(group.median_run or group.runs[0]).folder]
    spread = group.main or group.validated
    count = len(spread.values) if spread else len(group.counted)
    row = {
        "count": f"{count} folds" if group.folds else f"{count}",
        "curve": charts.small_curve(
            section.table, section.record, spread.metric.name if spread else ""
        ),
        "tags": tag_marks(tags_of_group(group, sections)),
        "is_quiet": bool(group.record.reference_differs),
    }
    if spread is not None:
        return row | _result(group, spread)
    if labels := section.first_labels:
        value = f"{labels['mean']} of {labels['photographs']}"
        return row | {"metric": "labels as the book's", "value": value}
    return row


def _result(group: Group, spread: Spread) -> Values:
    """Return the cells on a metric of a config."""
    metric = spread.metric.name
    count = len(spread.values)
    edition, published = next(iter(group.published(metric).items()), ("", None))
    bar = group.interval_of_test_set(spread)
    texts = [f"{group.name}: {metric} {format_metric(spread.mean)}"]
    if bar:
        texts.append(f"interval of the test set {format_interval(bar)}")
    elif count >= FEWEST and (bar := spread.range_of_runs):
        texts.append(f"range of runs {format_interval(bar)}")
    place = group.place(spread, edition)
    if published is not None:
        of_range = " the range of runs" if place and group.depends_on_chance else ""
        texts.append(f"{edition} {published!r} {place or ''}{of_range}".rstrip())
    ticks = {} if published is None else {edition: published}
    dots = spread.values if 1 < count < FEWEST else []
    return {
        "metric": _short_name(metric),
        "value": format_metric(spread.mean),
        "picture": Strip(", ".join(texts), spread.mean, bar, ticks, dots),
        "book": _book_text(edition, published),
        "place": place,
    }


def _short_name(metric: str) -> str:
    return metric.removeprefix(TESTED).replace("_", " ")


def _book_text(edition: str, value: float | None) -> Markup | None:
    """Return a published number, rounded as ours, with its edition if that is not the book."""
    if value is None:
        return None
    note = Markup(' <span class="quiet">{}</span>').format(edition) if edition != "book" else ""
    return Markup("{}{}").format(min(repr(value), format_metric(value), key=len), note)


def _row_without_data(title: str, reference: Values) -> Values:
    """Return the row of an experiment that was not run, with its first published number."""
    numbers = (
        {"metric": _short_name(name), "book": _book_text(edition, value)}
        for edition in EDITIONS
        for name, value in (reference.get(edition) or {}).items()
        if isinstance(value, float)
    )
    name, _, settings = title.partition(" ")
    config = Markup('{} <span class="quiet">{}</span>').format(name, settings)
    row = {"config": config, "tags": tag_marks([NO_DATA]), "is_quiet": True}
    return row | next(numbers, {})
