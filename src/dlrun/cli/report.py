"""`dlrun report`: write one HTML page about runs."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from rich.text import Text

from dlrun.cli import options as opt
from dlrun.errors import ConfigError, DlrunError
from dlrun.reports.page import OURS, PageContent, report_rows, write_report_page
from dlrun.runs.find import find_sweep_or_none, runs_below, runs_newest_first
from dlrun.runs.groups import group_runs
from dlrun.runs.options import resolve_runs_dir
from dlrun.runs.output_paths import check_output_path
from dlrun.runs.run import Run
from dlrun.system.console import Screen
from dlrun.system.text import pluralize, printable

NEWEST = 20  # runs after which no further config is added, if the user names no run


def write_report(
    runs: Annotated[
        list[str] | None,
        opt.argument(
            f"{opt.RUN_HELP} Or a sweep, or a folder of runs. Default: the newest finished.", "RUN"
        ),
    ] = None,
    out: Annotated[Path, opt.option("The page, a single HTML file.", "FILE")] = Path("report.html"),
    json: opt.Json = False,
    runs_dir: opt.RunsDir = None,
    force: opt.ReplaceOther = False,
) -> None:
    """Write one HTML page about runs, which works offline: curves, configs, misclassified inputs.

    Examples:
    dlrun report
    dlrun report imdb-dense/latest imdb-lasso/latest --out lab.html
    """
    screen = Screen()
    if runs:
        content = _join_pages([_open_runs_or_sweep(name, runs_dir) for name in runs])
    else:
        content = _newest_finished(resolve_runs_dir(runs_dir))
        if content.note:
            screen.note(content.note)
    check_output_path("--out", out, force=force, ours=OURS)
    size, problems = write_report_page(content, out)
    for problem in (*content.warnings, *problems):
        screen.warn(printable(problem))
    if json:
        rows = [row.as_object() for row in report_rows(content.runs)]
        screen.print_json({"page": str(out), "rows": rows})
        return
    screen.show(Text(f"{out}: {pluralize(len(content.runs), 'run')}, {size / 1e6:.2f} MB"))


def _join_pages(contents: Sequence[PageContent]) -> PageContent:
    """A run that several pages have appears once."""
    if len(contents) == 1:
        return contents[0]
    by_folder = {run.folder.resolve(): run for content in contents for run in content.runs}
    warnings = [text for content in contents for text in content.warnings]
    return PageContent(list(by_folder.values()), warnings=warnings)


def _open_runs_or_sweep(name: str, runs_dir: Path | None) -> PageContent:
    """Open the run, the sweep or the folder of runs with a name.

    Raises DlrunError if there is none.
    """
    path = Path(name).expanduser().resolve()
    folders = runs_below(path) if name else []
    if folders and folders[0] != path:
        return _finished_of(folders, name)
    try:
        return PageContent([Run.open(name, runs_dir)])
    except ConfigError:
        sweep = find_sweep_or_none(name, resolve_runs_dir(runs_dir))
        if sweep is None:
            raise
    # Slow: the modules that begin runs.
    from dlrun.sweeps.results import SweepResults
    from dlrun.sweeps.results_page import make_page_content

    return make_page_content(SweepResults.read(sweep))


def _newest_finished(runs_dir: Path) -> PageContent:
    """Take the newest configs until they have NEWEST runs.

    Raises ConfigError if no run has finished.
    """
    every = _finished_of(runs_newest_first(runs_dir), str(runs_dir))
    shown = list[Run]()
    for group in group_runs(every.runs):
        if len(shown) >= NEWEST:
            break
        shown += group.runs
    note = ""
    if len(shown) < len(every.runs):
        note = f"{len(shown)} of {len(every.runs)} finished runs, those of the newest configs; "
        note += f"`{shlex.join(['dlrun', 'report', str(runs_dir)])}` has all."
    return PageContent(shown, note, every.warnings)


def _finished_of(folders: Sequence[Path], searched: str) -> PageContent:
    """Leave out unfinished and unreadable runs, with a warning.

    Raises ConfigError if no run is left.
    """
    finished = list[Run]()
    unfinished = 0
    left_out = list[str]()
    for folder in folders:
        try:
            run = Run.open(folder)
        except DlrunError as error:
            left_out.append(f"left out: {error.message}")
            continue
        if run.state == "finished":
            finished.append(run)
        else:
            unfinished += 1
    if unfinished:
        left_out.append(f"left out: {pluralize(unfinished, 'unfinished run')}")
    if not finished:
        raise ConfigError(f"{searched}: it has no finished run", "name a run, or give --runs-dir")
    return PageContent(finished, warnings=left_out)
