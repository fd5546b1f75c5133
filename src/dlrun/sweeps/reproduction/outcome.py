"""Hold what came out of a task, and compare its runs with those of its baseline."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from dlrun.config.yaml_loader import name_with_settings
from dlrun.reports.published_rows import PublishedRow, published_rows
from dlrun.runs.compare import Comparison, compare_groups, why_not_comparable
from dlrun.runs.groups import Group, group_runs
from dlrun.runs.run import Run
from dlrun.sweeps.reproduction.tasks import ReproductionTask


@dataclass(frozen=True)
class Outcome:
    """Holds what came out of a task so far.

    runs: the finished runs, by seed. failed: the errors of the failed runs, by seed. damaged:
    sentences on damaged runs, whose seeds run again. missing: why its data cannot be had, so that
    nothing was run.
    """

    task: ReproductionTask
    runs: Mapping[int, Run] = field(default_factory=dict)
    failed: Mapping[int, str] = field(default_factory=dict)
    damaged: Sequence[str] = ()
    missing: str = ""

    @property
    def runs_left(self) -> int:
        """These runs have neither finished nor failed."""
        return len(self.task.seeds) - len(self.runs) - len(self.failed)

    @property
    def median_seconds(self) -> float | None:
        seconds = [run.record.seconds.get("total", 0.0) for run in self.runs.values()]
        return statistics.median(seconds) if seconds else None

    @property
    def why_not_comparable(self) -> str:
        """The reason is empty if the published numbers judge the runs."""
        first = next(iter(self.runs.values()), None)
        return "" if first is None else first.record.reference_differs or ""

    @property
    def group(self) -> Group:
        """If the data of the runs have changed, the group has those on the first data."""
        return group_runs(self.runs.values())[0]

    @cached_property
    def rows(self) -> list[PublishedRow]:
        """Return a row for each published metric; none without runs."""
        return published_rows(list(self.runs.values()), self.task.variant)


@dataclass(frozen=True)
class BaselineComparison:
    """Says whether the runs of a task are better than those of its baseline.

    title, baseline: the titles of both. comparison: None if they cannot be compared, for the reason
    `why_not`.
    """

    title: str
    baseline: str
    comparison: Comparison | None = None
    why_not: str = ""

    def describe(self) -> str:
        """The sentence compares the runs, or says why they are not compared."""
        if self.comparison is None:
            return f"{self.title}: not compared with {self.baseline}: {self.why_not}"
        return self.comparison.describe(self.title, self.baseline)


def compare_with_baseline(outcome: Outcome, others: Iterable[Outcome]) -> BaselineComparison | None:
    """Compare the runs of a task with those of its baseline, which is among the others.

    Returns None if the task has no baseline or no runs.
    """
    baseline = outcome.task.baseline
    if baseline is None or not outcome.runs:
        return None
    title = outcome.task.title
    other_title = name_with_settings(baseline.experiment, baseline.set)
    with_runs = {other.task.title: other for other in others if other.runs}
    if other_title not in with_runs:
        return BaselineComparison(title, other_title, why_not="it has no runs here")
    group = outcome.group
    other_group = with_runs[other_title].group
    why_not = why_not_comparable(group, other_group, baseline.metric)
    comparison = compare_groups(group, other_group, baseline.metric)
    return BaselineComparison(title, other_title, comparison, why_not)
