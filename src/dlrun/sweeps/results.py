"""Hold the results of a sweep: its configs, the best of them, and the second best."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from dlrun.config.yaml_loader import Values, format_settings_briefly
from dlrun.errors import ConfigError
from dlrun.metrics import shorten_metric
from dlrun.reports.page import PageContent
from dlrun.reports.result_rows import MetricComparisonRow
from dlrun.runs.compare import Comparison, compare_groups
from dlrun.runs.find import run_name_without_time
from dlrun.runs.groups import Spread
from dlrun.runs.run import Run
from dlrun.runs.run_tables import INTERVAL_OF_MEAN, MEAN, SD, Column, table_lines
from dlrun.sweeps.key_charts import chart_of_key
from dlrun.sweeps.selection import Ranking, RunsOfConfig, describe_config_result, rank_configs
from dlrun.sweeps.sweep_plan import SweepPlan, read_sweep_plan
from dlrun.sweeps.sweep_runs import Sweep, SweepState
from dlrun.system.console import Screen


def read_sweep_report_content(folder: Path) -> PageContent:
    """Read what a sweep's HTML report shows from the files in the sweep's folder.

    Raises ConfigError if it has no runs, DlrunError if its plan is damaged.
    """
    sweep = Sweep(read_sweep_plan(folder, force=True), folder)
    runs = sweep.find_runs()
    if not runs:
        lists = shlex.join(["dlrun", "runs", "list", "--runs-dir", str(sweep.runs_dir)])
        raise ConfigError(f"{folder}: this sweep has no runs", f"`{lists}` has all")
    return SweepResults(sweep, SweepState(runs)).page_content()


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
        return [
            {
                **group.settings,
                **MetricComparisonRow.of_group(group, spread).as_object(),
                "planned": group.planned,
                "is_best": group is self.best,
            }
            for group in self.ranking.groups
            for spread in group.spreads.values()
        ]

    def __repr__(self) -> str:
        return "\n".join(self.table_lines(Screen()))

    @property
    def compare_command(self) -> str:
        """The command compares each config with the first one."""
        names = [
            run_name_without_time(run.folder) for group in self.ranking.groups for run in group.runs
        ]
        words = ["dlrun", "runs", "compare", *names, "--runs-dir", str(self.sweep.runs_dir)]
        return shlex.join(words)

    @cached_property
    def comparison(self) -> Comparison | None:
        """Compare the best config with the second best by the validation metric.

        None: there is no second best config.
        """
        best = self.best
        second = self.ranking.second
        if best is None or best.validation_spread is None or second is None:
            return None
        return compare_groups(best, second, best.validation_spread.metric.name)

    def describe_comparison(self) -> str | None:
        """Say how the best config compares with the second best, which the text names.

        None: there is no comparison.
        """
        if self.comparison is None or self.ranking.second is None:
            return None
        second = format_settings_briefly(self.ranking.second.settings)
        return f"{second}. " + self.comparison.describe("The best beside it", "the second")

    @property
    def runs(self) -> Sequence[Run]:
        """Return the runs of the sweep, in the order in which they were planned."""
        return [run for _, run in sorted(self.state.runs.items())]

    @property
    def failed(self) -> dict[str, str]:
        """Return why runs have failed, by the settings in which they differ from others."""
        points = self.plan.points
        return {points[number - 1].label: why for number, why in sorted(self.state.failed.items())}

    def page_content(self) -> PageContent:
        plan = self.plan
        command = shlex.join(["dlrun", *plan.command]) if plan.command else plan.experiment.name
        note = f"The sweep: {command}."
        finished = sum(run.is_finished for run in self.runs)
        if finished < plan.expected_runs:
            count = f"{finished} of {plan.expected_runs} points have finished"
            note += f" {count}; {self.sweep.resume_command} runs the rest."
        shown: dict[str, str] = {}
        if self.best and self.best.settings and self.best.validation_spread:
            shown["the best config by validation"] = describe_config_result(self.best)
        if comparison := self.describe_comparison():
            shown["the second config"] = comparison
        # A chart would compare what was computed on different rows.
        keys = plan.keys if self.ranking.are_on_same_rows else []
        charts = [chart_of_key(self.ranking.groups, self.best, key) for key in keys]
        drawn = [chart for chart in charts if chart is not None]
        return PageContent(self.runs, note, self.warnings, shown, drawn, f"Sweep {plan.name}")

    def table_lines(self, screen: Screen) -> list[str]:
        """Make the table of the metrics that choose and judge the configs; the best is last.

        A column of metrics has the name of the metric of the best config that has one.
        """
        groups = self.ranking.groups
        judged = [group.main_spread or group.validation_spread for group in groups]
        validated = [group.validation_spread for group in groups if group.main_spread]
        columns = [
            Column("config"),
            Column("n", is_number=True),
            Column.number("validated", _name_last_metric(validated)),
            replace(MEAN, title=_name_last_metric(judged)),
            SD,
            INTERVAL_OF_MEAN,
            Column.number("book"),
        ]
        return table_lines(columns, [_row(group) for group in groups], screen)


def _name_last_metric(spreads: Sequence[Spread | None]) -> str:
    """Shorten the name of the last metric of some; the text is empty if there is none."""
    names = [spread.metric.name for spread in spreads if spread is not None]
    return shorten_metric(names[-1]) if names else ""


def _row(group: RunsOfConfig) -> Values:
    """Make the row of a config in the table on the screen."""
    validation = group.validation_spread
    judged = group.main_spread or validation
    row = {} if judged is None else MetricComparisonRow.of_group(group, judged).as_object()
    row["config"] = format_settings_briefly(group.settings)
    row["n"] = group.finished_of_planned or str(row.get("count", ""))
    if validation and group.main_spread:
        row["validated"] = validation.mean
    return row
