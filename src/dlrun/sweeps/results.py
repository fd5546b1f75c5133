"""Hold the results of a sweep: its configs, the best of them, and the second best."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from dlrun.config.yaml_loader import Values
from dlrun.reports.result_rows import MetricComparisonRow
from dlrun.runs.compare import Comparison, compare_groups
from dlrun.runs.find import run_name_without_time
from dlrun.runs.run import Run
from dlrun.sweeps.results_table import difference_fields, results_table_lines
from dlrun.sweeps.selection import Ranking, RunsOfConfig, rank_configs
from dlrun.sweeps.sweep_plan import SweepPlan
from dlrun.sweeps.sweep_runs import Sweep, SweepState
from dlrun.system.console import Screen


@dataclass(frozen=True, eq=False, repr=False)
class SweepResults:
    """Holds the results of a sweep: its configs with their runs, and the best of them.

    rows: a dict for each config and metric, as in table.csv. best: the best config, with `settings`
    and `runs`; None if none is chosen.
    """

    sweep: Sweep
    state: SweepState

    @property
    def plan(self) -> SweepPlan:
        return self.sweep.plan

    @cached_property
    def ranking(self) -> Ranking:
        return rank_configs(self.plan, self.state.runs)

    @property
    def best(self) -> RunsOfConfig | None:
        return self.ranking.best

    @cached_property
    def warnings(self) -> list[str]:
        warnings = self.sweep.describe_damaged()
        if self.ranking.warning:
            warnings.append(self.ranking.warning)
        if self.ranking.lacks_validation and len(self.ranking.groups) > 1:
            warnings.append(f"`{self.compare_command}` compares them on the test rows")
        return warnings

    @cached_property
    def rows(self) -> list[Values]:
        rows: list[Values] = []
        for group in self.ranking.groups:
            compared = self.ranking.compare_with_best(group)
            for name, spread in group.spreads.items():
                is_compared = compared is not None and name == compared.metric.name
                row: Values = dict(group.settings)
                row |= MetricComparisonRow.of_group(group, spread).as_object()
                row["planned"] = group.planned
                row["seconds"] = group.seconds
                row |= difference_fields(compared if is_compared else None)
                row["is_best"] = group is self.best
                rows.append(row)
        return rows

    def __repr__(self) -> str:
        return "\n".join(results_table_lines(self.ranking, Screen()))

    @property
    def compare_command(self) -> str:
        """The command compares each config with the best one; without a best, with the first."""
        groups = list(self.ranking.groups)
        if self.best is not None:
            groups.reverse()
        names = [run_name_without_time(run.folder) for group in groups for run in group.runs]
        words = ["dlrun", "runs", "compare", *names, "--runs-dir", str(self.sweep.runs_dir)]
        return shlex.join(words)

    @cached_property
    def comparison(self) -> Comparison | None:
        """Compare the best config with the second best by the validation metric.

        The result is None if there is no second best config.
        """
        best = self.best
        second = self.ranking.second
        if best is None or best.validation_spread is None or second is None:
            return None
        return compare_groups(best, second, best.validation_spread.metric.name)

    def describe_comparison(self) -> str | None:
        """Say how the best config compares with the second best, which the text names.

        The result is None if there is no comparison.
        """
        if self.comparison is None or self.ranking.second is None:
            return None
        return f"{self.ranking.second.label}. " + self.comparison.describe(
            "The best beside it", "the second"
        )

    @property
    def runs(self) -> Sequence[Run]:
        """Return the runs of the sweep, in the order in which they were planned."""
        return [run for _, run in sorted(self.state.runs.items())]

    @property
    def failed(self) -> dict[str, str]:
        """Return why runs have failed, by the settings in which they differ from others."""
        plan = self.plan
        return {
            plan.label(plan.points[number - 1]): why
            for number, why in sorted(self.state.failed.items())
        }
