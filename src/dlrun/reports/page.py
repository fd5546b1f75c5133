"""`dlrun report`: find runs, read them, render the HTML page and put it in place."""

import base64
import contextlib
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata, resources
from pathlib import Path

import jinja2
from markupsafe import Markup
from rich.text import Text

from dlrun import run_context
from dlrun.errors import ConfigError, DlrunError
from dlrun.experiments.run import Run
from dlrun.reports import charts
from dlrun.reports.comparison import compare_on_data, find_equal_configs, test_metrics
from dlrun.reports.run_section import PHOTOGRAPHS_SHOWN, RunSection
from dlrun.run_folder.find import newest_runs
from dlrun.run_folder.metrics import format_metric, notes, with_baseline
from dlrun.system.console import Screen, pluralize, printable, printable_lines
from dlrun.system.files import check_output_path, open_regular, write_atomically

NEWEST = 20  # runs on the page if none is named
ROOM, ROOM_OF_ONE = 230_000, 200_000  # characters of texts and pictures, of all runs and of one
CELLS, CELLS_OF_ONE = 10_000, 2_000  # of the curves' tables; so 20 runs stay below 1 MB
OURS = b'<meta name="generator" content="dlrun report">'  # a page that may be overwritten


def report(
    runs: Sequence[str], out: Path, runs_dir: Path | None = None, *, force: bool = False
) -> None:
    """Write a page about the named runs, or about the newest finished ones.

    Raises ConfigError if there is no such run, or if `out` is not a report; DlrunError if a named
    run's record is damaged, or if the page cannot be written.
    """
    screen = Screen()
    check_page(out, force=force)
    note = ""
    if runs:
        opened = list(
            {run.folder: run for run in (Run.open(one, runs_dir) for one in runs)}.values()
        )
    else:
        opened, note = _newest_finished(run_context.resolve_runs_dir(runs_dir), screen)
    if note:
        screen.note(note)
    size, problems = write_page(opened, out, note)
    for problem in problems:
        screen.warn(printable(problem))
    screen.show(Text(f"{out}: {pluralize(len(opened), 'run')}, {size / 1e6:.2f} MB"))


def check_page(out: Path, *, force: bool, ours: bytes = OURS) -> None:
    """Raise ConfigError if a page cannot be written; one that holds `ours` may be replaced."""
    with contextlib.suppress(OSError), open_regular(out) as stream:
        force = force or ours in stream.read(2000)
    check_output_path("--out", out, force=force)


def _newest_finished(runs_dir: Path, screen: Screen) -> tuple[list[Run], str]:
    """Return the newest finished runs, and a sentence if there are more."""
    folders, finished = newest_runs(runs_dir), list[Run]()
    for place, folder in enumerate(folders, start=1):
        try:
            run = Run.open(folder)
        except DlrunError as error:
            screen.warn(printable(f"left out: {error.message}"))
            continue
        if run.state == "finished":
            finished.append(run)
        if len(finished) == NEWEST and place < len(folders):
            return (
                finished,
                f"The {NEWEST} newest finished runs; dlrun report RUN ... names others.",
            )
    if not finished:
        raise ConfigError(f"{runs_dir}: no finished run here", "name a run, or --runs-dir")
    return finished, ""


def write_page(runs: Sequence[Run], out: Path, note: str = "") -> tuple[int, list[str]]:
    """Write a page about runs; return its bytes, and a sentence for each damaged file.

    Raises DlrunError if the page cannot be written.
    """
    room = min(ROOM_OF_ONE, ROOM // len(runs))
    cells = min(CELLS_OF_ONE, CELLS // len(runs))
    sections = [RunSection(n, run, room, cells) for n, run in enumerate(runs, start=1)]
    page = render_page(
        "page.html",
        __package__,
        ["runs.js", "curves.js"],
        sections=sections,
        equal=find_equal_configs(sections),
        compared=compare_on_data(sections),
        metrics=test_metrics(sections),
        shown=PHOTOGRAPHS_SHOWN,
        note=note,
    ).encode()
    try:
        write_atomically(out, page)
    except OSError as error:
        raise DlrunError(f"--out {out}: {error.strerror}", "choose another place") from None
    return len(page), [problem for section in sections for problem in section.problems]


def render_page(template: str, package: str, scripts: Sequence[str], **values: object) -> str:
    """Return a page made from a package's template and this package's scripts.

    Every value is escaped, and loses its control characters.
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
        brief=format_brief, config=format_setting, number=format_metric, short=format_number
    )
    return environment.get_template(template).render(
        **values,
        geometry=charts,
        hashes={"style": _sha256(style), "script": _sha256(script)},
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        notes=notes,
        script=Markup(script),  # noqa: S704 (our own file)
        style=Markup(style),  # noqa: S704
        version=metadata.version("dlrun"),
        with_baseline=with_baseline,
        zip=zip,
    )


def format_brief(value: object) -> str:
    """Return a setting or another text, cut for a table's cell."""
    text = format_setting(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def format_setting(value: object) -> str:
    """Return a config's value as its file has it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def format_number(value: float) -> str:
    """Return a number of a curve."""
    if isinstance(value, int):
        return str(value)
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e3 else f"{value:.4g}"


def _visible(value: object) -> object:
    """Replace characters that a reader cannot see, but for line breaks."""
    if value is None:
        return ""
    if isinstance(value, str) and not hasattr(value, "__html__") and not value.isprintable():
        return printable_lines(value)
    return value


def _sha256(text: str) -> str:
    """Return a hash as a Content-Security-Policy names it."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
