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
from dlrun.reports.result_rows import ResultRow
from dlrun.runs.compare import Comparison, compare_groups
from dlrun.runs.find import run_name_without_time
from dlrun.runs.run import Run
from dlrun.runs.tables import INTERVAL_OF_MEAN, MEAN, SD, Column, table_lines
from dlrun.sweeps import selection
from dlrun.sweeps.key_charts import chart_of_key
from dlrun.sweeps.selection import ConfigOfSweep
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
    def groups(self) -> list[ConfigOfSweep]:
        """Each config is a group of runs; the best config is the last."""
        return selection.group_runs_by_config(self.plan, self.state.runs)

    @cached_property
    def best(self) -> ConfigOfSweep | None:
        return selection.find_best_config(self.groups)

    @cached_property
    def second(self) -> ConfigOfSweep | None:
        return selection.find_second_best(self.groups)

    @cached_property
    def warnings(self) -> list[str]:
        warnings = [*self.sweep.describe_damaged(), *selection.warnings_of_selection(self.groups)]
        if selection.NO_VALIDATION in warnings and len(self.groups) > 1:
            warnings.append(f"`{self.compare_command}` compares them on the test rows")
        return warnings

    @cached_property
    def rows(self) -> list[Values]:
        return [
            {
                **group.settings,
                **ResultRow.of_group(group, spread).as_object(),
                "planned": group.planned,
                "is_best": group is self.best,
            }
            for group in self.groups
            for spread in group.spreads.values()
        ]

    def __repr__(self) -> str:
        return "\n".join(self.table_lines(Screen()))

    @property
    def compare_command(self) -> str:
        """The command compares each config with the first one."""
        names = [run_name_without_time(run.folder) for group in self.groups for run in group.runs]
        words = ["dlrun", "runs", "compare", *names, "--runs-dir", str(self.sweep.runs_dir)]
        return shlex.join(words)

    @cached_property
    def comparison(self) -> Comparison | None:
        """The best config is compared with the second best by the validation metric."""
        if not (self.best and self.best.validation_spread and self.second):
            return None
        return compare_groups(self.best, self.second, self.best.validation_spread.metric.name)

    def describe_comparison(self) -> str:
        """The text names the second best config; it is empty without one."""
        if self.comparison is None or self.second is None:
            return ""
        second = format_settings_briefly(self.second.settings)
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
            shown["the best config by validation"] = selection.describe_config_result(self.best)
        if comparison := self.describe_comparison():
            shown["the second config"] = comparison
        # A chart would compare what was computed on different rows.
        keys = [] if selection.describe_different_rows(self.groups) else plan.keys
        drawn = [chart for key in keys if (chart := chart_of_key(self.groups, self.best, key))]
        return PageContent(self.runs, note, self.warnings, shown, drawn, f"Sweep {plan.name}")

    def table_lines(self, screen: Screen) -> list[str]:
        """The table has the metrics that choose and judge the configs; the best config is last."""
        rows = []
        titles = {"validated": "", "mean": ""}
        for group in self.groups:
            row: Values = {"config": format_settings_briefly(group.settings)}
            validation = group.validation_spread
            if shown := group.main_spread or validation:
                row = ResultRow.of_group(group, shown).as_object() | row
                titles["mean"] = shorten_metric(shown.metric.name)
            if validation and group.main_spread:
                row["validated"] = validation.mean
                titles["validated"] = shorten_metric(validation.metric.name)
            row["n"] = group.finished_of_planned or str(row.get("count", ""))
            rows.append(row)
        columns = [Column("config"), Column("n", is_number=True)]
        validated = Column.number("validated", titles["validated"])
        columns += [validated, replace(MEAN, title=titles["mean"]), SD, INTERVAL_OF_MEAN]
        columns.append(Column.number("book"))
        return table_lines(columns, rows, screen)
