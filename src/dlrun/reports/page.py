"""Write the HTML report about runs, a sweep or a reproduction, from the files of the runs."""

import base64
import hashlib
import itertools
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

from markupsafe import Markup

from dlrun.config.yaml_loader import format_setting
from dlrun.reports import comparison
from dlrun.reports.highlights import COLUMNS_SHOWN, PHOTOGRAPHS_SHOWN
from dlrun.reports.overview_table import make_overview_table, sections_by_experiment
from dlrun.reports.page_table import PageRow, PageTable
from dlrun.reports.result_rows import MetricComparisonRow
from dlrun.reports.run_section import RunSection
from dlrun.reports.svg_charts import Chart, DotPlot
from dlrun.reports.templates import join_parts, render_template
from dlrun.reports.warning_tags import warning_tags_as_html
from dlrun.runs.descriptions import describe_data
from dlrun.runs.groups import group_runs
from dlrun.runs.ranked_metrics import main_metric
from dlrun.runs.run import Run
from dlrun.runs.run_tables import RUN_COLUMNS, Column, run_row
from dlrun.runs.same_rows import rank_on_same_test_rows
from dlrun.runs.shown_results import remarks_on_metrics
from dlrun.system.files import write_file_atomically
from dlrun.system.text import cut, pluralize

# The curves' tables of all runs, and of one run, have at most so many numbers. 20 runs take less
# than .8 MB.
CELLS = 6_000
CELLS_OF_ONE = 2_000
RUN_COLUMN = {column.name: column for column in RUN_COLUMNS}
# The table of all runs has these columns.
COLUMNS = [
    Column.number("number", "No."),
    *(RUN_COLUMN[name] for name in ("name", "experiment", "state", "tags", "note", "metric")),
    Column.number("value", "result"),
    *(RUN_COLUMN[name] for name in ("interval_of_test_set", "book", "seconds")),
    Column("differs", "not the default", format=Markup),
]
OURS = b'<meta name="generator" content="dlrun report">'  # marks a page that may be replaced


# Whether `dlrun report --watch` keeps a page up to date; after its end there is a last page.
Watch = Literal["none", "goes on", "ended"]


class PageContent(NamedTuple):
    """Holds the runs of an HTML report, and its title, warnings, tables and charts of a sweep.

    title: the number of runs, if it is empty. note: what the runs are. warnings: what the reader
    must know of the runs, with commands in backticks. best: the best config of a sweep and how it
    compares, by label. configs: the table of a sweep of several experiments. dots: the metric of
    each config by run. charts: the metric of a sweep by each key. with_published: whether published
    numbers are shown that do not judge the runs.
    """

    runs: Sequence[Run]
    note: str = ""
    warnings: Sequence[str] = ()
    best: Mapping[str, str] = {}
    configs: PageTable | None = None
    dots: DotPlot | None = None
    charts: Sequence[Chart] = ()
    title: str = ""
    with_published: bool = False


def write_report_page(
    content: PageContent, out: Path, watch: Watch = "none"
) -> tuple[int, list[str]]:
    """Write the HTML report of runs, a sweep or a reproduction; raise OSError if that fails.

    watch: whether the page is written again, and then reloads itself. Returns its size in bytes,
    and a sentence for each damaged file.
    """
    count = len(content.runs)
    # Each of many runs has one cell at least. There are no runs if all of a sweep failed.
    cells = min(CELLS_OF_ONE, max(1, CELLS // max(1, count)))
    sections = [
        RunSection(number, run, cells, with_published=content.with_published)
        for number, run in enumerate(content.runs, start=1)
    ]
    groups = group_runs(content.runs)
    by_folder = {section.run.folder: section for section in sections}
    comparison.complete_run_sections(groups, by_folder)
    for section in sections:
        section.read_predictions()
    rows = [_row_of_run(section) for section in sections]
    page = render_template(
        "page.html",
        content=content,
        title=content.title or pluralize(count, "run"),
        sections=sections,
        overview=make_overview_table(groups, by_folder),
        experiments=sections_by_experiment(sections),
        compared=comparison.compare_by_data(groups, by_folder),
        all_runs=PageTable.with_used_columns(COLUMNS, rows),
        main_metric=main_metric,
        shown=PHOTOGRAPHS_SHOWN,
        important=COLUMNS_SHOWN,
        describe_data=describe_data,
        sha256=_sha256,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        notes=remarks_on_metrics,
        script=join_parts("runs.js", "curves.js"),
        style=join_parts("charts.css", "report.css"),
        watch=watch,
        watch_script=join_parts("watch.js"),
        version_of_page=time.time_ns(),
        version=metadata.version("dlrun"),
    ).encode()
    write_file_atomically(out, page)
    return len(page), [problem for section in sections for problem in section.problems]


def report_rows(runs: Sequence[Run]) -> list[MetricComparisonRow]:
    """Make a row for each config and test metric, as `dlrun report --json` prints the rows.

    Of the configs that test the same rows, the best comes first.
    """
    ranked = itertools.chain(*rank_on_same_test_rows(group_runs(runs)))
    return [
        MetricComparisonRow.of_group(group, spread)
        for group in ranked
        for spread in group.test_spreads
    ]


def _row_of_run(section: RunSection) -> PageRow:
    number = section.number
    metric = main_metric(section.record) or ""
    tags = [tag for tag in section.warning_tags if tag.name != section.state]
    differs = (
        Markup("<span>{}={}</span>").format(key, cut(format_setting(value), 60))
        for key, value in (section.changed_settings or {}).items()
    )
    cells = {
        **run_row(section.run, section.notes, dict(section.changed_settings or {})),
        "number": number,
        "name": Markup('<a href="#run-{}">{}</a>').format(number, section.run.name),
        "state": Markup("{}{}").format(section.state, warning_tags_as_html(tags)),
        "interval_of_test_set": section.accuracy_interval,
        "book": section.published.get("book", {}).get(metric),
        "differs": Markup(" ").join(differs),
    }
    return PageRow(cells, is_quiet=bool(section.not_compared), run_number=number)


def _sha256(text: str) -> str:
    """The digest has the form that a Content-Security-Policy takes."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
