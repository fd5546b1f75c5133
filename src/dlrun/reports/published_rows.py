"""Make the rows that set published numbers beside the runs that reproduce them."""

from collections.abc import Sequence
from dataclasses import replace

from dlrun.config.yaml_loader import Values
from dlrun.reports.highlights import count_labels_as_in_book
from dlrun.reports.result_rows import group_row, published_values
from dlrun.reports.run_section import RunSection
from dlrun.runs.groups import Group, Spread, group_runs
from dlrun.runs.run import Run


def published_rows(runs: Sequence[Run], variant: Values) -> list[Values]:
    """Make a row for each published metric that all runs have.

    variant: the settings to which the published numbers belong. Runs that classify photographs have
    one row, which counts the photographs whose most probable label is the book's.
    """
    rows: list[Values] = []
    for group in group_runs(runs):
        named_group = replace(group, settings=variant)
        for spread in _main_spread_first(named_group):
            if published_values(named_group, spread.metric.name, with_published=True):
                rows.append(group_row(named_group, spread, with_published=True))
    return rows or _rows_of_photographs(runs)


def _main_spread_first(group: Group) -> list[Spread]:
    return sorted(group.spreads.values(), key=lambda spread: spread is not group.main_spread)


def _rows_of_photographs(runs: Sequence[Run]) -> list[Values]:
    """A row counts the photographs of the first run; other runs have no row."""
    if not runs:
        return []
    section = RunSection(1, runs[0], 1, with_published=True)
    counts = count_labels_as_in_book(section.photographs)
    if not counts:
        return []
    return [{"metric": f"first labels of {counts['photographs']}", "count": 1, **counts}]
