"""The page and the Markdown table of a reproduction."""

import base64
import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path

from dlrun.errors import DlrunError
from dlrun.reports.charts import Chart, NumberedRun, overlay_charts
from dlrun.reports.page import render_page
from dlrun.reports.run_section import png_uri
from dlrun.reproduction.experiment_runs import ExperimentRuns
from dlrun.reproduction.verdicts import Labels, Row, mark, reservations, rows
from dlrun.system.console import printable
from dlrun.system.files import open_regular

PAGE_MARK = b'<meta name="generator" content="dlrun reproduce">'  # such a page may be overwritten
TABLE_MARK = "<!-- dlrun reproduce"  # such a table too
FEW = 5  # seeds: with fewer nearly everything lies within
HEAD = {
    "what": "experiment, metric",
    "book": "book",
    "verdict on book": "here is",
    "notebook": "notebook",
    "verdict on notebook": "here is",
    "here": "here",
    "sd": "sd",
    "n": "n",
    "interval": "95 % of runs",
    "seconds": "seconds a run",
    "command": "command",
}
LEGEND = (
    "Here: the mean over n seeds. 95 % of runs: where one more run here would lie (Student's t; "
    "wide where n is small). Here is within, where the published number, as it is rounded, lies "
    "there too; else the runs here lie above it, or below. First labels: photographs whose most "
    "probable label is the book's. Seconds: the median run's; the first of a process loads its "
    "libraries too."
)


def experiments_on(path: Path) -> list[str]:
    """Return the experiments on an earlier page; none if there is no such page."""
    with contextlib.suppress(OSError), open_regular(path) as stream:
        head = stream.read(2000)
        if PAGE_MARK in head and (
            found := re.search(rb'name="keywords" content="([a-z0-9 -]*)"', head)
        ):
            return found.group(1).decode().split()
    return []


@dataclass(frozen=True)
class Section:
    """An experiment's section of the page; `mark` is the number of its reservation, from 1."""

    part: ExperimentRuns
    mark: int | None

    @cached_property
    def rows(self) -> list[Row]:
        """Its rows of the table."""
        return rows(self.part)

    @property
    def labels(self) -> Labels | None:
        """Its photographs, if their labels are published."""
        return next((row for row in self.rows if isinstance(row, Labels)), None)

    @property
    def figures(self) -> list[tuple[str, str]]:
        """The first run's figures by name, as data URIs; not a sheet of photographs."""
        if self.labels:
            return []
        first = self.part.runs[0]
        found = []
        for path in first.figures:
            try:
                content = base64.b64encode(first.read(path.name)).decode()
                found.append((path.name, png_uri(content)))
            except DlrunError:  # it was removed, or changed
                continue
        return found

    @property
    def problems(self) -> list[str]:
        """A sentence for each of its files that is damaged."""
        return [problem for one in self.part.sections for problem in one.problems]

    @property
    def charts(self) -> list[Chart]:
        """The curves of all seeds over each other, with the published numbers."""
        # Why these may not be quite comparable is said beside them.
        runs = [
            NumberedRun(
                one.number,
                f"seed {one.record.seed}",
                one.record.model_copy(update={"reference_differs": None}),
                one.table,
            )
            for one in self.part.sections
            if one.table and not self.labels
        ]
        return overlay_charts(runs)


def page(parts: Sequence[ExperimentRuns], machine: Mapping[str, str], command: str) -> str:
    """Return the page."""
    reserved = reservations(parts)
    sections = [Section(part, reserved.get(part.reserved)) for part in parts if part.runs]
    return render_page(
        "reproduction.html",
        __package__,
        ["curves.js"],
        sections=sections,
        reserved=reserved,
        parts=parts,
        few=any(len(one.part.runs) < FEW for one in sections if not one.labels),
        machine=machine,
        command=command,
    )


def markdown(parts: Sequence[ExperimentRuns], machine: Mapping[str, str], made: str) -> str:
    """Return the table, its legend, what is missing, and the machine; `made` is the command.

    It names no folder of this machine, so that it can be put into a README.
    """
    on = ", ".join(f"{name} {value}" for name, value in machine.items())
    reserved = reservations(parts)
    comment = _plain(made).replace("-->", "")  # which would end it
    lines = [f"<!-- {comment} -->", "", _line(HEAD.values()), _line("---" for _ in HEAD)]
    for part in parts:
        lines += [_line(_cells(row, mark(part, reserved))) for row in rows(part)]
    notes = [f"[{place}] {why}." for why, place in reserved.items()]
    notes += [f"Not run: {part.name}: {part.missing}." for part in parts if part.missing]
    notes += [f"Not yet run: {part.name}: {part.unfinished}." for part in parts if part.unfinished]
    notes += [
        f"Failed: {part.name}, seed {seed}: {why}."
        for part in parts
        for seed, why in part.failed.items()
    ]
    notes.append(f"Machine: {on}.")
    return "\n".join([*lines, "", LEGEND, "", *(f"- {_text(note)}" for note in notes), ""])


def _cells(row: Row, behind: str) -> list[str]:
    cells = row.cells | {
        "what": f"{row.part.name}, {row.name}{behind}",
        "seconds": f"{row.part.seconds:.1f}",
    }
    found = {key: _text(text) for key, text in cells.items()}
    return [found.get(key, _code(row.part.command())) for key in HEAD]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(text: str) -> str:
    """Return a text for a cell: one line without HTML and control characters."""
    return escape(_plain(text), quote=False).replace("|", r"\|")


def _code(command: str) -> str:
    """Return a command between backticks, where nothing is HTML; with a backtick in it as HTML."""
    if "`" in command:
        return f"<code>{_text(command)}</code>"
    return "`" + _plain(command).replace("|", r"\|") + "`"


def _plain(text: str) -> str:
    return printable(" ".join(text.split()))
