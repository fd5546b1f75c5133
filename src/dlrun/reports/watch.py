"""Keep the HTML report up to date while runs go on, for `dlrun report --watch`."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

from dlrun.errors import DlrunError, Stopped
from dlrun.reports.page import PageContent, write_report_page
from dlrun.runs.folder import METRICS
from dlrun.system.console import Screen
from dlrun.system.files import fingerprint_files
from dlrun.system.text import pluralize, printable

TICK = 2.0  # seconds between two looks at the runs
# Runs train on the same machine: writing the page takes at most a fifth of the time.
REST = 4


def watch_report(
    read: Callable[[], PageContent],
    find_folders: Callable[[PageContent], Iterable[Path]],
    out: Path,
    screen: Screen,
) -> NoReturn:
    """Write the report whenever a run has changed, until a signal ends this.

    read: reads the runs of the page anew. find_folders: finds the folders of the runs whose changes
    may change the page. The page reloads itself, until the last one. Raises
    DlrunError if the runs cannot be read at first; later that is a warning.
    """
    content = read()
    seen = ""
    told = set[str]()
    is_first = True
    running = [run for run in content.runs if run.state == "running"]
    try:
        while True:
            begun = time.monotonic()
            files = _fingerprint(find_folders(content))  # before they are read: none is missed
            if files != seen or any(run.state == "killed" for run in running):
                seen = files
                try:
                    content = read()
                except DlrunError as error:
                    problems = [f"{out} is not up to date: {error.message}"]
                else:
                    size, problems = write_report_page(content, out, "goes on")
                    if is_first:
                        runs = pluralize(len(content.runs), "run")
                        screen.show(f"{out}: {runs}, {size / 1e6:.2f} MB")
                        screen.note("kept up to date, and reloaded by the browser; Ctrl-C ends it")
                    were_running = bool(running) or is_first
                    running = [run for run in content.runs if run.state == "running"]
                    if were_running and not running:
                        screen.note("no run goes on; a new one will appear")
                    is_first = False
                for problem in (*content.warnings, *problems):
                    if problem not in told:
                        screen.warn(printable(problem))
                        told.add(problem)
            time.sleep(max(TICK, REST * (time.monotonic() - begun)))
    except Stopped:
        write_report_page(content, out, "ended")
        raise


def _fingerprint(folders: Iterable[Path]) -> str:
    """All that a run writes changes its folder's time, except the lines of its metrics."""
    files = [path for folder in sorted(set(folders)) for path in (folder, folder / METRICS)]
    return fingerprint_files(files)
