"""Find runs, read their files, and write an HTML page about them, for `dlrun report`."""

import base64
import contextlib
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata, resources
from pathlib import Path
from typing import NamedTuple

import jinja2
from markupsafe import Markup
from rich.text import Text

from dlrun import run_context
from dlrun.config.yaml_loader import format_setting
from dlrun.errors import ConfigError, DlrunError, os_error_remedy
from dlrun.experiments.saved_run import Run
from dlrun.reports import charts
from dlrun.reports.baseline import PairedDifference, compare_with_baseline
from dlrun.reports.comparison import (
    add_varied_settings_to_titles,
    choose_representatives,
    compare_by_data,
    describe_repeated,
    group_by_config,
    main_metric_names,
    test_metric_names,
)
from dlrun.reports.downloads import room_for_downloads
from dlrun.reports.parallel_coordinates import ConfigsSection
from dlrun.reports.run_data import PHOTOGRAPHS_SHOWN, RunSection
from dlrun.reports.verdict import judge_experiments
from dlrun.run_folder.find import find_sweep, runs_newest_first
from dlrun.run_folder.recorded_metrics import (
    add_largest_class_baseline,
    format_metric,
    main_metric,
    remarks_on_metrics,
)
from dlrun.system.console import Screen, cut, format_size, pluralize, printable, printable_lines
from dlrun.system.files import check_output_path, open_regular_file, write_file_atomically

MOST = 100  # runs on a page
NEWEST = 20  # runs on the page if the user names no run
ROOM = 200_000  # characters of texts and pictures, in all
CELLS, CELLS_OF_ONE = 9_000, 2_000  # of the curves' tables; then a page of 20 runs is below 1 MB
OURS = b'<meta name="generator" content="dlrun report">'  # marks a page that may be replaced


class BestConfig(NamedTuple):
    """Says which config of a sweep is the best by validation, and what that is worth, by label.

    is_reliable: whether it is reliably better than the second.
    """

    text: str
    worth: Mapping[str, str]
    is_reliable: bool


class PageContent(NamedTuple):
    """Holds the runs of a page; of a sweep also a note about it, its configs and the best one.

    warnings: what undermines the sweep's result, with commands in backticks.
    """

    runs: Sequence[Run]
    note: str = ""
    warnings: Sequence[str] = ()
    configs: ConfigsSection | None = None
    best: BestConfig | None = None


def report_on_runs(
    runs: Sequence[str],
    out: Path,
    runs_dir: Path | None = None,
    *,
    read_sweep: Callable[[Path], PageContent] | None = None,
    baseline: str | None = None,
    notes: Path | None = None,
    force: bool = False,
) -> None:
    """Write an HTML page about the named runs, or about the newest finished runs.

    The name of a sweep stands for its runs; that of a sweep alone gives the sweep's own page.

    read_sweep: reads the sweep in a folder, and raises DlrunError if it has no runs. None: no name
    is that of a sweep.
    baseline: the run with which the others are compared; it becomes the first.
    notes: a Markdown file, which becomes a section.
    """
    screen = Screen()
    _check_number(len(runs))
    user_notes = None
    if notes is not None:
        from dlrun.reports.user_notes import render_user_notes  # slow: markdown_it

        user_notes = render_user_notes(notes)
    if runs:
        found = [_open_run_or_sweep(one, runs_dir, read_sweep) for one in runs]
        content = found[0]
        if len(found) > 1:
            each_once = {run.folder.resolve(): run for one in found for run in one.runs}
            content = PageContent([*each_once.values()])
        _check_number(len(content.runs))
    else:
        newest = _newest_finished(run_context.resolve_runs_dir(runs_dir), screen)
        content = PageContent(newest)
        if len(newest) > NEWEST:
            note = f"The {NEWEST} newest finished runs; dlrun report RUN ... names others."
            screen.note(note)
            content = PageContent(newest[:NEWEST], note)
    opened = content.runs
    if baseline is not None:
        try:
            first = Run.open(baseline, runs_dir)
        except DlrunError as error:
            raise type(error)(f"--baseline {baseline}: {error.message}", error.hint) from None
        opened = [first, *(run for run in opened if run.folder.resolve() != first.folder)]
    inputs = [file for run in opened for file in run.folder.iterdir()]
    check_page_is_writable(out, force=force, inputs=[*inputs, notes] if notes else inputs)
    against = _compare_all(opened, strict=bool(runs)) if baseline is not None else []
    try:
        size, problems = write_report_page(
            content._replace(runs=opened), out, against=against, user_notes=user_notes
        )
    except OSError as error:
        hint = os_error_remedy(error, "choose another place")
        raise DlrunError(f"--out {out}: {error.strerror}", hint) from None
    for problem in problems:
        screen.warn(printable(problem))
    screen.show(Text(f"{out}: {pluralize(len(opened), 'run')}, {size / 1e6:.2f} MB"))


def _check_number(runs: int) -> None:
    """Raise ConfigError if a page would have too many runs."""
    if runs > MOST:
        raise ConfigError(
            f"a page about {runs:,} runs: at most {MOST} fit",
            "`dlrun runs list --where COND --sort KEY` finds those that matter",
        )


def _open_run_or_sweep(
    name: str, runs_dir: Path | None, read_sweep: Callable[[Path], PageContent] | None
) -> PageContent:
    """Open the run of a name, or read the sweep; raise DlrunError if there is none."""
    try:
        return PageContent([Run.open(name, runs_dir)])
    except ConfigError as no_run:
        if read_sweep is None:
            raise
        try:
            sweep = find_sweep(name, run_context.resolve_runs_dir(runs_dir))
        except ConfigError:
            raise no_run from None
    return read_sweep(sweep)


def check_page_is_writable(
    out: Path, *, force: bool, ours: bytes = OURS, inputs: Iterable[Path] = ()
) -> None:
    """Raise ConfigError if a page cannot be written; an older page with `ours` may be replaced.

    It never replaces one of its `inputs`.
    """
    with contextlib.suppress(OSError), open_regular_file(out) as stream:
        force = force or ours in stream.read(2000)
    check_output_path("--out", out, force=force, inputs=inputs)


def _newest_finished(runs_dir: Path, screen: Screen) -> list[Run]:
    """Return the newest finished runs, at most NEWEST + 1; raise ConfigError if there is none."""
    finished: list[Run] = []
    for folder in runs_newest_first(runs_dir):
        try:
            run = Run.open(folder)
        except DlrunError as error:
            screen.warn(printable(f"left out: {error.message}"))
            continue
        if run.state == "finished":
            finished.append(run)
        if len(finished) > NEWEST:
            break
    if not finished:
        raise ConfigError(f"{runs_dir}: it has no finished run", "name a run, or give --runs-dir")
    return finished


def _compare_all(runs: Sequence[Run], *, strict: bool) -> list[PairedDifference | str]:
    """Return the difference of each but the first run to the first, or why there is none.

    Raises ConfigError if none can be compared; with `strict`, if any cannot.
    """
    baseline, *others = runs
    against = compare_with_baseline(others, baseline)
    reasons = {
        run.name: found
        for run, found in zip(others, against, strict=True)
        if isinstance(found, str)
    }
    if not others:
        raise ConfigError("--baseline: it is the only run", "name another to compare with it")
    if len(reasons) == len(others) or (strict and reasons):
        names = ", ".join(f"{name} ({why})" for name, why in reasons.items())
        raise ConfigError(
            f"--baseline {baseline.name}: not to be compared with {names}",
            "name runs with the same data and test rows (of own data: the same data.split_seed)",
        )
    return against


def write_report_page(
    content: PageContent,
    out: Path,
    *,
    against: Sequence[PairedDifference | str] = (),
    user_notes: Markup | None = None,
) -> tuple[int, list[str]]:
    """Write a page about runs, or about a sweep.

    against: the difference of each but the first run to the first, or why there is none.
    user_notes: the user's own words, as HTML.

    Returns its size in bytes, and a sentence for each damaged file, and for repeated runs.

    Raises OSError if the page cannot be written.
    """
    runs = content.runs
    cells = min(CELLS_OF_ONE, CELLS // len(runs))
    sections = [RunSection(n, run, ROOM, cells) for n, run in enumerate(runs, start=1)]
    for one in sections:
        one.download_room = room_for_downloads(len(runs))
    add_varied_settings_to_titles(sections)
    groups = group_by_config(sections)
    repeated = [one for one in sections if one.repeated_by]
    choose_representatives(groups)
    shown = [one for one in sections if one.representative is one]
    for one in shown:
        one.room = ROOM // len(shown)
    page = render_html_page(
        "page.html",
        __package__,
        ["runs.js", "curves.js", "view.js"],
        sections=sections,
        best_config=content.best,
        warnings=content.warnings,
        against=against,
        user_notes=user_notes,
        verdicts=judge_experiments(groups),
        compared=compare_by_data(groups),
        configs=content.configs,
        metrics=test_metric_names(sections),
        main_metrics=main_metric_names(sections),
        main_metric=main_metric,
        shown=PHOTOGRAPHS_SHOWN,
        note=content.note,
        repeated=describe_repeated([f"No. {one.number}" for one in repeated]),
    ).encode()
    write_file_atomically(out, page)
    warnings = [problem for section in sections for problem in section.problems]
    if repeated:
        warnings.append(describe_repeated([one.run.name for one in repeated]))
    return len(page), warnings


def render_html_page(template: str, package: str, scripts: Sequence[str], **values: object) -> str:
    """Return an HTML page, rendered from a package's template with the report's style and scripts.

    Every value is escaped, and its control characters are replaced.
    """
    folder = resources.files(__package__)
    style = folder.joinpath("report.css").read_text("utf-8")
    script = "\n".join(folder.joinpath(name).read_text("utf-8") for name in scripts)
    loaders = [jinja2.PackageLoader(one, ".") for one in (package, __package__)]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(loaders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        brief=shorten_setting,
        code=mark_code,
        config=format_setting,
        number=format_metric,
        short=format_curve_value,
        size=format_size,
    )
    return environment.get_template(template).render(
        **values,
        geometry=charts,
        hashes={"style": _sha256(style), "script": _sha256(script)},
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        notes=remarks_on_metrics,
        script=Markup(script),  # noqa: S704 (our own file)
        style=Markup(style),  # noqa: S704
        version=metadata.version("dlrun"),
        with_baseline=add_largest_class_baseline,
        zip=zip,
    )


def mark_code(text: str) -> Markup:
    """Return a text as HTML, in which what stands in backticks is code."""
    parts = printable_lines(text).split("`")
    return Markup("").join(  # an odd part was between two backticks
        Markup("<code>{}</code>").format(part) if place % 2 else part
        for place, part in enumerate(parts)
    )


def shorten_setting(value: object, length: int = 60) -> str:
    """Return a setting as text, cut to a number of characters."""
    return cut(format_setting(value), length)


def format_curve_value(value: float) -> str:
    """Return a value of a curve as text: a metric, or a small number with four digits.

    That of an empty cell (NaN) is empty.
    """
    if math.isnan(value):
        return ""
    if isinstance(value, int):
        return str(value)
    return format_metric(value) if abs(value) >= 1e-3 else f"{value:.4g}"


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
