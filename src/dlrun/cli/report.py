"""`dlrun report`: write one HTML page about runs."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from rich.text import Text

from dlrun.cli import options as opt
from dlrun.cli.opened_runs import open_run_or_sweep
from dlrun.errors import ConfigError, DlrunError, UsageError
from dlrun.reports.page import OURS, PageContent, report_rows, write_report_page
from dlrun.reports.watch import watch_report
from dlrun.runs.find import runs_below, runs_newest_first
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
    watch: Annotated[
        bool, opt.flag("Keep the page up to date while runs go on, until Ctrl-C.", "--watch")
    ] = False,
    json: opt.Json = False,
    runs_dir: opt.RunsDir = None,
    force: opt.ReplaceOther = False,
) -> None:
    """Write one HTML page about runs, which works offline: curves, configs, misclassified inputs.

    Examples:
    dlrun report
    dlrun report imdb-dense/latest imdb-lasso/latest --out lab.html
    dlrun report --watch
    """
    if watch and json:
        raise UsageError("--watch: not with --json", "leave one of them out")
    screen = Screen()
    check_output_path("--out", out, force=force, ours=OURS)

    def read() -> PageContent:
        if not runs:
            return _newest(resolve_runs_dir(runs_dir), unfinished=watch)
        return _join_pages([_open_runs_or_sweep(name, runs_dir, unfinished=watch) for name in runs])

    if watch:
        watch_report(read, lambda content: _folders_to_watch(content, runs, runs_dir), out, screen)
    content = read()
    if content.note and not runs:
        screen.note(content.note)
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


def _open_runs_or_sweep(name: str, runs_dir: Path | None, *, unfinished: bool) -> PageContent:
    """Open the run, the sweep or the folder of runs with a name.

    Of a folder the unfinished runs are left out, unless they are wanted. Raises DlrunError if there
    is none.
    """
    path = Path(name).expanduser().resolve()
    folders = runs_below(path) if name else []
    if folders and folders[0] != path:
        return _open_runs(folders, name, unfinished=unfinished)
    opened = open_run_or_sweep(name, runs_dir)
    if isinstance(opened, Run):
        return PageContent([opened])
    from dlrun.sweeps.results_page import make_page_content  # slow: the modules that begin runs

    return make_page_content(opened)


def _newest(runs_dir: Path, *, unfinished: bool) -> PageContent:
    """Take the newest configs until they have NEWEST runs; see `_open_runs`."""
    every = _open_runs(runs_newest_first(runs_dir), str(runs_dir), unfinished=unfinished)
    shown = list[Run]()
    for group in group_runs(every.runs):
        if len(shown) >= NEWEST:
            break
        shown += group.runs
    note = ""
    if len(shown) < len(every.runs):
        kind = "runs" if unfinished else "finished runs"
        note = f"{len(shown)} of {len(every.runs)} {kind}, those of the newest configs; "
        note += f"`{shlex.join(['dlrun', 'report', str(runs_dir)])}` has all."
    return PageContent(shown, note, every.warnings)


def _open_runs(folders: Sequence[Path], searched: str, *, unfinished: bool) -> PageContent:
    """Leave out unreadable runs, with a warning, and runs that wait.

    Unfinished runs are left out too, unless they are wanted: then no run at all is no error, as one
    may begin. Raises ConfigError if no run is left.
    """
    opened = list[Run]()
    unfinished_count = 0
    left_out = list[str]()
    for folder in folders:
        try:
            run = Run.open(folder)
        except DlrunError as error:
            left_out.append(f"left out: {error.message}")
            continue
        if run.is_finished or (unfinished and run.record.status != "waiting"):
            opened.append(run)
        else:
            unfinished_count += 1
    if unfinished:
        return PageContent(opened, warnings=left_out)
    if unfinished_count:
        left_out.append(f"left out: {pluralize(unfinished_count, 'unfinished run')}")
    if not opened:
        raise ConfigError(f"{searched}: it has no finished run", "name a run, or give --runs-dir")
    return PageContent(opened, warnings=left_out)


def _folders_to_watch(
    content: PageContent, names: Sequence[str] | None, runs_dir: Path | None
) -> list[Path]:
    """Find the runs of a page, and the runs beside them, which may be wanted on the page too."""
    runs_dirs = {resolve_runs_dir(runs_dir), *(run.folder.parents[1] for run in content.runs)}
    folders = [run for parent in runs_dirs for run in runs_newest_first(parent, damaged=True)]
    for name in names or ():
        folders += runs_below(Path(name).expanduser())
    return [*folders, *(run.folder for run in content.runs)]
