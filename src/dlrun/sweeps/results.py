"""Hold the results of a sweep: its configs, the best of them, and the second best."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dlrun.config.yaml_loader import Values
from dlrun.errors import ConfigError
from dlrun.reports.result_rows import MetricComparisonRow
from dlrun.runs.compare import Comparison, compare_groups
from dlrun.runs.run import Run
from dlrun.sweeps.results_table import results_table_lines
from dlrun.sweeps.selection import Ranking, RunsOfConfig, rank_configs
from dlrun.sweeps.sweep_plan import SweepPlan, read_sweep_plan
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

    @classmethod
    def read(cls, folder: Path) -> "SweepResults":
        """Read the results so far from the folder of a sweep and from its runs.

        Raises ConfigError if it has no runs, DlrunError if its plan is damaged.
        """
        sweep = Sweep(read_sweep_plan(folder, force=True), folder)
        runs = sweep.find_runs()
        if not runs:
            lists = shlex.join(["dlrun", "runs", "list", "--runs-dir", str(sweep.runs_dir)])
            raise ConfigError(f"{folder}: this sweep has no runs", f"`{lists}` has all")
        return cls(sweep, SweepState(runs))

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
                row: Values = dict(group.settings)
                row |= MetricComparisonRow.of_group(group, spread).as_object()
                row["planned"] = group.planned
                row["seconds"] = group.seconds
                row |= {"difference": None, "interval_of_difference": None}
                if compared is not None and name == compared.metric.name:
                    row["difference"] = compared.difference
                    row["interval_of_difference"] = compared.interval_of_difference
                row["is_best"] = group is self.best
                rows.append(row)
        return rows

    def __repr__(self) -> str:
        return "\n".join(results_table_lines(self.ranking, Screen()))

    @property
    def compare_command(self) -> str:
        return shlex.join(["dlrun", "runs", "compare", self.sweep.name_or_folder])

    @property
    def groups_best_first(self) -> list[RunsOfConfig]:
        """Without a best config, the configs stand in the order of the plan."""
        groups = list(self.ranking.groups)
        if self.best is not None:
            groups.reverse()
        return groups

    @property
    def finished_runs(self) -> list[Run]:
        """The runs stand in the order of their configs, those of the best one first."""
        return [run for group in self.groups_best_first for run in group.runs]

    @cached_property
    def comparison(self) -> Comparison | None:
        """Compare the best config with the second best by the validation metric.

        The result is None if there is no second best config.
        """
        if self.best is None or self.ranking.second is None:
            return None
        return compare_groups(self.best, self.ranking.second, self.best.chosen_by)

    @cached_property
    def test_comparison(self) -> Comparison | None:
        """Compare the same two configs, which validation has named, by the test metric.

        The result is None if there is no second best config, or no test metric.
        """
        if self.best is None or self.ranking.second is None or not self.best.judged_by:
            return None
        return compare_groups(self.best, self.ranking.second, self.best.judged_by)

    def describe_comparison(self) -> str | None:
        """Say how the best config compares with the second best, which the text names.

        The result is None if there is no comparison.
        """
        if self.comparison is None or self.ranking.second is None:
            return None
        return f"{self.ranking.second.label}. " + self.comparison.describe(
            "The best beside it", "the second"
        )

    def describe_test_comparison(self) -> str | None:
        """Say how the same two configs compare on the test rows; None without a comparison."""
        if self.test_comparison is None:
            return None
        return self.test_comparison.describe("The best", "the second")

    @property
    def use_of_metrics(self) -> str:
        """Say which metric may choose a config, and what the other is for.

        The text is empty if nothing was chosen among several configs.
        """
        if self.best is None or not self.best.chosen_by or len(self.ranking.groups) < 2:
            return ""
        text = f"choose by {self.best.chosen_by}"
        if not self.best.judged_by:
            return text
        return f"{text}; {self.best.judged_by} only says what the choice is worth"

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
