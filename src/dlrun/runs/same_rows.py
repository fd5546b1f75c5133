"""Find groups of runs that test the same rows, and rank them over these rows alone."""

from collections.abc import Iterable, Sequence

from dlrun.data.split import Division
from dlrun.metrics import TESTED
from dlrun.runs.groups import Group


def divisions_on_same_rows(groups: Iterable[Group], metric: str) -> set[Division | None]:
    """A metric of the groups may be compared over these divisions of the rows.

    These are all, if all runs used the same rows; otherwise those that all groups have, if all
    groups used the same rows in them. There are none if the groups may not be compared.
    """
    rows_of_groups = [group.rows_by_division(metric) for group in groups]
    divisions = set[Division | None]().union(*rows_of_groups)
    if len({rows for of_group in rows_of_groups for rows in of_group.values()}) > 1:
        divisions = divisions.intersection(*rows_of_groups)
    for division in divisions:
        rows = {of_group[division] for of_group in rows_of_groups if division in of_group}
        if len(rows) > 1:
            return set()
    return divisions


def rank_on_same_test_rows(groups: Iterable[Group]) -> list[list[Group]]:
    """The groups of a list test the same rows, and the best of them comes first.

    Only the runs on rows that all groups of a list have tested decide which is the best. Groups
    whose metric is not ranked come last.
    """
    divided: list[list[Group]] = []
    for group in groups:
        for members in divided:
            if divisions_on_same_rows([*members, group], TESTED):
                members.append(group)
                break
        else:
            divided.append([group])
    return [_sort_best_first(members) for members in divided]


def _sort_best_first(groups: Sequence[Group]) -> list[Group]:
    divisions = divisions_on_same_rows(groups, TESTED)

    def rank(group: Group) -> tuple[bool, float]:
        if group.main_spread is None:
            return True, 0.0
        metric = group.main_spread.metric
        mean = group.mean_over(divisions, metric.name)
        return not metric.sign or mean is None, -metric.sign * (mean or 0.0)

    return sorted(groups, key=rank)
