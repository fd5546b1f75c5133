"""Read the files of runs, and write an HTML page about them, for `dlrun report`."""

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata, resources
from pathlib import Path
from typing import NamedTuple

import jinja2
from markupsafe import Markup

from dlrun.config.yaml_loader import format_setting
from dlrun.experiments.saved_run import Run
from dlrun.reports import charts, groups
from dlrun.reports.comparison import compare_by_data
from dlrun.reports.run_data import PHOTOGRAPHS_SHOWN, RunSection
from dlrun.run_folder.recorded_metrics import (
    add_accuracy_of_largest_class,
    format_metric,
    main_metric,
    remarks_on_metrics,
)
from dlrun.system.console import cut, pluralize, printable_lines
from dlrun.system.files import write_file_atomically

CELLS, CELLS_OF_ONE = 9_000, 2_000  # numbers in the curves' tables: 20 runs take less than 1 MB
OURS = b'<meta name="generator" content="dlrun report">'  # marks a page that may be replaced


class PageContent(NamedTuple):
    """Holds the runs of a page, and what it says besides them.

    title: empty for the number of runs. note: what the runs are. warnings: what the reader must
    know of them, with commands in backticks. best: of a sweep, the best config by validation and
    what that is worth, by label. figures: PNGs by caption. findings: sentences on experiments.
    with_published: whether published numbers are shown that the runs are not judged by.
    """

    runs: Sequence[Run]
    note: str = ""
    warnings: Sequence[str] = ()
    best: Mapping[str, str] = {}
    figures: Mapping[str, bytes] = {}
    findings: Sequence[str] = ()
    title: str = ""
    with_published: bool = False


def write_report_page(content: PageContent, out: Path) -> tuple[int, list[str]]:
    """Write a page about runs, a sweep or a reproduction. Raises OSError if that is impossible.

    Returns its size in bytes, and a sentence for each damaged file, and for repeated runs.
    """
    count = len(content.runs)
    cells = min(CELLS_OF_ONE, CELLS // max(1, count))  # none, if all runs of a sweep failed
    sections = [
        RunSection(number, run, cells, with_published=content.with_published)
        for number, run in enumerate(content.runs, start=1)
    ]
    configs = groups.group_by_config(sections)
    repeated = groups.describe_repeated(sections)
    page = _render(
        content=content,
        title=content.title or pluralize(count, "run"),
        sections=sections,
        experiments=groups.group_by_experiment(configs),
        compared=compare_by_data(configs),
        metrics=groups.test_metric_names(sections),
        main_metrics=groups.main_metric_names(sections),
        main_metric=main_metric,
        shown=PHOTOGRAPHS_SHOWN,
        repeated=repeated,
    ).encode()
    write_file_atomically(out, page)
    warnings = [problem for section in sections for problem in section.problems]
    return len(page), [*warnings, repeated] if repeated else warnings


def _render(**values: object) -> str:
    """Return the page, in which every value is escaped and its control characters are replaced."""
    folder = resources.files(__package__)
    style = folder.joinpath("report.css").read_text("utf-8")
    scripts = (folder.joinpath(name).read_text("utf-8") for name in ("runs.js", "curves.js"))
    script = "\n".join(scripts)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        base64=lambda content: base64.b64encode(content).decode(),
        brief=lambda value, length=60: cut(format_setting(value), length),
        code=mark_code,
        config=format_setting,
        number=format_metric,
        short=_format_curve_value,
    )
    return environment.get_template("page.html").render(
        **values,
        geometry=charts,
        hashes={"style": _sha256(style), "script": _sha256(script)},
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        notes=remarks_on_metrics,
        script=Markup(script),  # noqa: S704 (our own file)
        style=Markup(style),  # noqa: S704
        version=metadata.version("dlrun"),
        with_largest_class=add_accuracy_of_largest_class,
        zip=zip,
    )


def mark_code(text: str) -> Markup:
    """Return a text as HTML, in which what stands in backticks is code."""
    parts = printable_lines(text).split("`")
    return Markup("").join(  # an odd part was between two backticks
        Markup("<code>{}</code>").format(part) if place % 2 else part
        for place, part in enumerate(parts)
    )


def _format_curve_value(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return "" if math.isnan(value) else format_metric(value)


def _visible(value: object) -> object:
    """Return a value for a template, with control characters (except line breaks) replaced."""
    if value is None:
        return ""
    if isinstance(value, str) and not hasattr(value, "__html__") and not value.isprintable():
        return printable_lines(value)
    return value


def _sha256(text: str) -> str:
    """Return the SHA-256 of a text in the form that a Content-Security-Policy takes."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
