"""Report what was reproduced: on an HTML page, on the screen, or as JSON."""

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from rich.text import Text

from dlrun.reports.page import PageContent, write_report_page
from dlrun.runs.published import ABOUT_EDITIONS
from dlrun.runs.run_tables import RANGE_OF_RUNS, Column, table_lines
from dlrun.sweeps.reproduction.outcome import BaselineComparison, Outcome, compare_with_baseline
from dlrun.system.console import Screen
from dlrun.system.text import LINE_WIDTH, pluralize, printable

# On 80 columns: published numbers are rounded as ours, and the page has the standard deviation.
COLUMNS = [
    Column("metric"),
    Column.number("book"),
    Column("book_is", "it is"),
    Column.number("notebook"),
    Column("notebook_is", "it is"),
    Column.number("mean", "here"),
    RANGE_OF_RUNS,
]
LEGEND = f"""\
{ABOUT_EDITIONS} Here: the mean over n seeds. Range of runs: 95 % of single runs here lie in it \
(Student's t). A published number, as it is rounded, is within, above or below it, \
or equal to a fit that depends on no seed; with fewer than 5 seeds nothing is said \
(--seeds 10). Seconds: the median run's; runs go beside each other, unless with \
--jobs 1."""


@dataclass(frozen=True)
class ReproductionReport:
    """Holds the outcomes of all tasks, as far as they are, for the page, the screen and JSON.

    command: continues the reproduction. page: the path of the page. left_out: why broken
    experiments of other packages are left out, by name.
    """

    outcomes: Sequence[Outcome]
    command: str
    page: Path
    left_out: Mapping[str, str] = field(default_factory=dict)

    def with_outcome(self, outcome: Outcome) -> "ReproductionReport":
        title = outcome.task.title
        outcomes = [outcome if old.task.title == title else old for old in self.outcomes]
        return replace(self, outcomes=outcomes)

    @cached_property
    def comparisons(self) -> list[BaselineComparison | None]:
        """Each outcome has a comparison with its baseline, or None."""
        return [compare_with_baseline(outcome, self.outcomes) for outcome in self.outcomes]

    @property
    def has_runs(self) -> bool:
        return any(outcome.runs for outcome in self.outcomes)

    @property
    def has_failed(self) -> bool:
        return any(outcome.failed for outcome in self.outcomes)

    @property
    def sentences_on_baselines(self) -> list[str]:
        return [comparison.describe() for comparison in self.comparisons if comparison is not None]

    @property
    def remarks(self) -> list[str]:
        """The remarks say what is missing, failed, broken or not comparable."""
        remarks = [remark for outcome in self.outcomes for remark in _remarks(outcome)]
        return remarks + [f"Left out: {name}: {why}" for name, why in self.left_out.items()]

    def write_page(self) -> None:
        """Write the page about the runs. Raises OSError if it cannot be written."""
        content = PageContent(
            [run for outcome in self.outcomes for run in outcome.runs.values()],
            note=f"`{self.command}` does it again, or goes on.",
            warnings=self.remarks + self.sentences_on_baselines,
            title="The lab, reproduced",
            with_published=True,
        )
        write_report_page(content, self.page)

    def show(self, screen: Screen, data_dir: Path) -> None:
        """Print the table of the numbers, sentences about them, and the path of the page."""
        all_rows = [row.as_object() for outcome in self.outcomes for row in outcome.rows]
        head, *table = table_lines(COLUMNS, all_rows, screen)
        lines = _with_titles(table, self.outcomes)
        for text in (LEGEND, *self.sentences_on_baselines, *self.remarks):
            lines += textwrap.wrap(
                printable(text), LINE_WIDTH, subsequent_indent="  ", break_long_words=False
            )
        if any(outcome.missing for outcome in self.outcomes):
            lines.append(f"put what is missing into {data_dir}, and run the same command")
        screen.show(Text(head, style="bold"))
        screen.show(Text("\n".join(lines)))
        screen.show_labelled(("page", str(self.page)))

    def as_object(self) -> dict[str, object]:
        pairs = zip(self.outcomes, self.comparisons, strict=True)
        return {
            "status": "failed" if self.has_failed else "finished",
            "command": self.command,
            "page": str(self.page),
            "experiments": [_outcome_as_object(*pair) for pair in pairs],
            "left_out": self.left_out,
        }


def _remarks(outcome: Outcome) -> list[str]:
    """The remarks say why the numbers of a task are not comparable, or missing."""
    title = outcome.task.title
    remarks = []
    if outcome.why_not_comparable:
        remarks.append(f"Not compared: {title}: {outcome.why_not_comparable}")
    if outcome.missing:
        remarks.append(f"Not run: {title}: {outcome.missing}")
    elif outcome.runs_left:
        counts = f"{outcome.runs_left} of {len(outcome.task.seeds)} runs"
        remarks.append(f"Not yet run: {title}: {counts}")
    remarks += outcome.damaged
    remarks += [f"Failed: {title}, seed {seed}: {why}" for seed, why in outcome.failed.items()]
    return remarks


def _with_titles(table: Sequence[str], outcomes: Sequence[Outcome]) -> list[str]:
    """A title stands above the rows of each outcome in the table of all rows."""
    lines: list[str] = []
    next_lines = iter(table)
    for outcome in outcomes:
        if outcome.rows:
            runs = pluralize(len(outcome.runs), "run")
            title = f"{outcome.task.title}, {runs} of {outcome.median_seconds:.1f} s"
            note = outcome.rows[0].note
            lines.append(f"{title}; {note}" if note else title)
            lines += itertools.islice(next_lines, len(outcome.rows))
    return lines


def _outcome_as_object(outcome: Outcome, baseline: BaselineComparison | None) -> dict[str, object]:
    comparison = None if baseline is None else baseline.comparison
    return {
        "experiment": outcome.task.experiment.name,
        "variant": outcome.task.variant,
        "seeds": outcome.task.seeds,
        "not_run": outcome.missing or None,
        "failed": outcome.failed,
        "runs": [str(run.folder) for run in outcome.runs.values()],
        "not_comparable": outcome.why_not_comparable or None,
        "seconds": outcome.median_seconds,
        "rows": [row.as_object() for row in outcome.rows],
        "baseline": None if comparison is None else comparison.as_object(),
    }
