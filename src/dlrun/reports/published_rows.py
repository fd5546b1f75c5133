"""Make the rows that set published numbers beside the runs that reproduce them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dlrun.reports.highlights import LabelCounts, count_photographs_labelled_as_in_book
from dlrun.reports.result_rows import MetricComparisonRow, published_values
from dlrun.reports.run_section import RunSection
from dlrun.runs.groups import Group, Spread, group_runs
from dlrun.runs.run import Run


@dataclass(frozen=True)
class PhotographsRow:
    """Says for how many photographs a run has the book's label: a row beside those of metrics."""

    counts: LabelCounts
    note: str = ""

    @property
    def metric(self) -> str:
        return f"first labels of {self.counts.photographs}"

    @property
    def mean(self) -> int:
        return self.counts.run

    @property
    def published(self) -> Mapping[str, int]:
        return self.counts.published

    def as_object(self) -> dict[str, object]:
        """The object has the keys of the JSON output."""
        photographs = {"photographs": self.counts.photographs}
        return {
            "metric": self.metric, "count": 1, **photographs, **self.published, "mean": self.mean
        }  # fmt: skip


PublishedRow = MetricComparisonRow | PhotographsRow


def published_rows(runs: Sequence[Run], variant: Mapping[str, object]) -> list[PublishedRow]:
    """Make a row for each published metric that all runs have.

    variant: the settings to which the published numbers belong. Runs that classify photographs have
    one row, which counts the photographs whose most probable label is the book's.
    """
    rows: list[PublishedRow] = []
    for group in group_runs(runs):
        named_group = replace(group, settings=dict(variant))
        for spread in _main_spread_first(named_group):
            if published_values(named_group, spread.metric.name, with_published=True):
                rows.append(MetricComparisonRow.of_group(named_group, spread, with_published=True))
    return rows or _rows_of_photographs(runs)


def _main_spread_first(group: Group) -> list[Spread]:
    return sorted(group.spreads.values(), key=lambda spread: spread is not group.main_spread)


def _rows_of_photographs(runs: Sequence[Run]) -> list[PublishedRow]:
    """A row counts the photographs of the first run; other runs have no row."""
    if not runs:
        return []
    section = RunSection(1, runs[0], 1, with_published=True)
    counts = count_photographs_labelled_as_in_book(section.photographs)
    return [] if counts is None else [PhotographsRow(counts)]
