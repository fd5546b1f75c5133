"""Write the page: find the runs, read them, render, put it in place."""

import base64
import contextlib
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from rich.text import Text

from dlrun import run_context
from dlrun.errors import ConfigError, DlrunError
from dlrun.reports import charts, comparison
from dlrun.reports.run_section import RunSection
from dlrun.reports.run_tables import PHOTOGRAPHS_SHOWN
from dlrun.run_folder.find import newest_runs
from dlrun.runs.console_summary import format_metric
from dlrun.runs.run import Run
from dlrun.system.console import Screen, pluralize, printable
from dlrun.system.files import open_regular, write_atomically
from dlrun.system.output_file import check_output_path

NEWEST = 20  # runs on the page where none is named
ROOM = 250_000  # characters of all texts and pictures: with 20 runs the page stays below 1 MB
ROOM_OF_ONE = 200_000
CELLS, CELLS_OF_ONE = 10_000, 2_000  # of all tables of curves, and of one run's
OURS = b'<meta name="generator" content="dlrun report">'  # a page that may be overwritten


def report(
    names: Sequence[str], out: Path, runs_dir: Path | None = None, *, force: bool = False
) -> None:
    """Write a page about runs: those that are named, or the newest finished ones.

    Raises ConfigError where there is no such run, or `out` is something else's; DlrunError where a
    named run's record is damaged, or the page cannot be written.
    """
    screen = Screen()
    check_page(out, force=force)
    if names:
        runs, note = _named(names, runs_dir), ""
    else:
        runs, note = _finished(run_context.runs_dir(runs_dir), screen)
    if note:
        screen.note(note)
    size, problems = write_page(runs, out, note)
    for problem in problems:
        screen.warn(printable(problem))
    screen.show(Text(f"{out}: {pluralize(len(runs), 'run')}, {size / 1e6:.2f} MB"))


def write_page(runs: Sequence[Run], out: Path, note: str = "") -> tuple[int, list[str]]:
    """Write the page about these runs; its bytes, and a sentence for each file that is damaged.

    Raises DlrunError where it cannot be written.
    """
    chapters = [
        RunSection(
            place,
            run,
            room=min(ROOM_OF_ONE, ROOM // len(runs)),
            cells=min(CELLS_OF_ONE, CELLS // len(runs)),
        )
        for place, run in enumerate(runs, start=1)
    ]
    page = render(chapters, note).encode()
    try:
        write_atomically(out, page)
    except OSError as error:
        raise DlrunError(f"--out {out}: {error.strerror}", "choose another place") from None
    return len(page), [problem for one in chapters for problem in one.problems]


def render(chapters: Sequence[RunSection], note: str) -> str:
    """The page about runs."""
    return render_page(
        "page.html",
        __package__,
        ["runs.js", "curves.js"],
        chapters=chapters,
        equal=comparison.equal(chapters),
        compared=comparison.compare(chapters),
        metrics=comparison.test_metrics(chapters),
        shown=PHOTOGRAPHS_SHOWN,
        note=note,
    )


def render_page(template: str, package: str, scripts: Sequence[str], **values: Any) -> str:
    """A page by a package's template and scripts from here.

    Every value that comes into it is text: escaped, without control characters.
    """
    folder = resources.files(__package__)
    style = folder.joinpath("report.css").read_text("utf-8")
    script = "\n".join(folder.joinpath(name).read_text("utf-8") for name in scripts)
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(one, ".") for one in (package, __package__)]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        brief=brief,
        certainty="{:.6g}".format,
        config=as_config,
        moment=moment,
        number=format_metric,
        short=short,
    )
    return environment.get_template(template).render(
        **values,
        geometry=charts,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        version=metadata.version("dlrun"),
        style=Markup(style),  # noqa: S704 (our own file)
        script=Markup(script),  # noqa: S704
        hashes={name: _hash(text) for name, text in (("style", style), ("script", script))},
    )


def brief(value: Any) -> str:
    """A config's value, or another text, in a cell."""
    text = as_config(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def as_config(value: Any) -> str:
    """A config's value as its file has it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def short(value: float) -> str:
    """A number of a curve."""
    if isinstance(value, int):
        return str(value)
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1e3 else f"{value:.4g}"


def moment(stamp: str) -> str:
    """A record's time, to the minute."""
    return f"{stamp[:16].replace('T', ' ')} UTC"


def _visible(value: Any) -> Any:
    """Line breaks stay; no other character that a reader does not see: some turn a text round."""
    if value is None:
        return ""
    if isinstance(value, str) and not hasattr(value, "__html__") and not value.isprintable():
        return "".join(
            c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in value
        )
    return value


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _named(names: Sequence[str], runs_dir: Path | None) -> list[Run]:
    runs = [Run.open(name, runs_dir) for name in names]
    return list({run.folder: run for run in runs}.values())


def _finished(runs_dir: Path, screen: Screen) -> tuple[list[Run], str]:
    """The newest finished runs, and a sentence where there are more."""
    folders, found = newest_runs(runs_dir), []
    for place, folder in enumerate(folders, start=1):
        try:
            run = Run.open(folder)
        except DlrunError as error:
            screen.warn(printable(f"left out: {error.message}"))
            continue
        if run.state == "finished":
            found.append(run)
        if len(found) == NEWEST and place < len(folders):
            return found, f"The {NEWEST} newest finished runs; dlrun report RUN ... names others."
    if not found:
        raise ConfigError(f"{runs_dir}: no finished run here", "name a run, or --runs-dir")
    return found, ""


def check_page(out: Path, *, force: bool, ours: bytes = OURS) -> None:
    """Raises ConfigError where a page cannot be written; one that is `ours` may be replaced."""
    with contextlib.suppress(OSError), open_regular(out) as stream:
        force = force or ours in stream.read(2000)
    check_output_path("--out", out, force=force)
