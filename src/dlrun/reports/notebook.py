"""Show a run or a sweep in a notebook: small tables and curves as HTML, without scripts."""

from collections.abc import Mapping

from dlrun.reports.page import PageContent
from dlrun.reports.page_table import PageTable
from dlrun.reports.run_section import RunSection
from dlrun.reports.templates import join_parts, render_template
from dlrun.runs.run import Run

CELLS = 400  # the curves have at most so many numbers: the output stays in the notebook


def run_as_html(run: Run) -> str:
    """The metrics stand beside the book's, above the curves."""
    return _render(section=RunSection(1, run, CELLS))


def sweep_as_html(content: PageContent, table: PageTable, failed: Mapping[str, str]) -> str:
    """The table of the configs stands above the verdict on the best, and a dot for each run.

    failed: why runs have failed, by their settings.
    """
    return _render(section=None, content=content, table=table, failed=failed)


def _render(**values: object) -> str:
    return render_template(
        "notebook.html", style=join_parts("notebook.css", "charts.css"), **values
    )
