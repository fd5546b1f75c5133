"""The page: the table, the machine, and for each experiment the book's figures with ours."""

import base64
import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dlrun.errors import DlrunError
from dlrun.reports import images
from dlrun.reports.charts import Chart, NumberedRun, overlay_charts
from dlrun.reports.page import render_page
from dlrun.reproduction.experiment_runs import ExperimentRuns
from dlrun.reproduction.verdicts import Labels, Row, reservations, rows
from dlrun.system.files import open_regular

TEMPLATE = "reproduction.html"
OURS = b'<meta name="generator" content="dlrun reproduce">'  # a page that may be overwritten
FEW = 5  # seeds: with fewer nearly everything lies within


def experiments_on(path: Path) -> list[str]:
    """The experiments that an earlier page is about; none where there is no such page."""
    with contextlib.suppress(OSError), open_regular(path) as stream:
        head = stream.read(2000)
        if OURS in head and (found := re.search(rb'name="keywords" content="([a-z0-9 -]*)"', head)):
            return found.group(1).decode().split()
    return []


@dataclass(frozen=True)
class Section:
    """What the page tells of an experiment that was run."""

    part: ExperimentRuns
    mark: int | None  # number of its reservation, from 1

    @cached_property
    def rows(self) -> list[Row]:
        """Its rows of the table."""
        return rows(self.part)

    @property
    def labels(self) -> Labels | None:
        """Its photographs."""
        return next((row for row in self.rows if isinstance(row, Labels)), None)

    @property
    def figures(self) -> list[tuple[str, str]]:
        """The first run's figures as data URIs by their names; not a sheet of photographs."""
        if self.labels:
            return []
        first = self.part.runs[0]
        found = []
        for path in first.figures:
            try:
                content = base64.b64encode(first.read(path.name)).decode()
                found.append((path.name, images.png(content)))
            except DlrunError:  # it was removed, or changed
                continue
        return found

    @property
    def problems(self) -> list[str]:
        """A sentence for each of its files that is damaged."""
        return [problem for one in self.part.chapters for problem in one.problems]

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
            for one in self.part.chapters
            if one.table and not self.labels
        ]
        return overlay_charts(runs)


def page(parts: Sequence[ExperimentRuns], machine: Mapping[str, str], command: str) -> str:
    """The page's text."""
    reserved = reservations(parts)
    sections = [Section(part, reserved.get(part.reserved)) for part in parts if part.runs]
    return render_page(
        TEMPLATE,
        __package__,
        ["curves.js"],
        sections=sections,
        reserved=reserved,
        parts=parts,
        few=any(len(one.part.runs) < FEW for one in sections if not one.labels),
        machine=machine,
        command=command,
    )
