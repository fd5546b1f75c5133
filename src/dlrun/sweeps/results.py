"""Choose the best config of a sweep, compare it with the next best, and write and show results."""

import shlex
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from rich.text import Text

from dlrun.config.yaml_loader import Values, format_settings_briefly
from dlrun.errors import ConfigError, os_error_remedy
from dlrun.experiments.saved_run import Run
from dlrun.groups import Group, group_runs
from dlrun.metrics import VALID, without_stage
from dlrun.paired_comparison import Comparison, compare_groups
from dlrun.reports import charts
from dlrun.reports.group_rows import group_row
from dlrun.reports.page import PageContent, write_report_page
from dlrun.run_folder.folder import RunFolder
from dlrun.run_folder.recorded_metrics import format_metric, shorten_metric, too_good_by_test_rows
from dlrun.run_tables import INTERVAL_OF_MEAN, MEAN, SD, Column, number, table_csv, table_lines
from dlrun.sweeps.plan_file import SweepPlan, read_sweep_plan
from dlrun.sweeps.sweep_folder import Sweep, SweepState
from dlrun.system.console import Screen, printable

TABLE, PAGE = "table.csv", "report.html"
# Columns of table.csv after those of the keys that vary.
NUMBERS = ("metric", "count", "mean", "sd", "min", "max", "interval_of_mean", "range_of_runs")
INDENT = 7  # columns of a label on the screen
WIDTH = 80 - INDENT
NO_VALIDATION = (
    "no config is chosen: there are no validation rows, and the test rows must not choose"
)


def group_runs_by_config(plan: SweepPlan, runs: Mapping[int, Run]) -> list[Group]:
    """Group a sweep's finished runs by config, the best config last."""
    groups: list[Group] = []
    for points in plan.points_by_config:
        begun = [runs[point.number] for point in points if point.number in runs]
        done = [run for run in begun if run.is_finished and run.record.metrics]
        settings = {key: points[0].settings.get(key) for key in plan.keys}
        groups += [
            replace(group, settings=settings, planned=len(points)) for group in group_runs(done)
        ]
    return sorted(groups, key=_rank)


def _rank(group: Group) -> tuple[bool, bool, float]:
    """Return a key that sorts configs: a complete one with the best validation metric is last."""
    spread = group.validation_spread
    value = float("-inf") if spread is None else spread.metric.sign * spread.mean
    return spread is not None, not group.finished_of_planned, value


def find_best_config(groups: Sequence[Group]) -> Group | None:
    """Return a sweep's best config by a validation metric; None if none can be chosen."""
    best = groups[-1] if groups else None
    if best and (best.validation_spread or (best.main_spread and not best.settings)):
        return best
    return None


def find_runner_up(groups: Sequence[Group]) -> Group | None:
    """Return a sweep's second-best config that ran with the winner's seeds and folds, or None."""
    best = find_best_config(groups)
    if best is None or best.validation_spread is None or not best.settings:
        return None
    metric = best.validation_spread.metric.name
    for group in reversed(groups[:-1]):
        if metric in group.spreads and group.counted.keys() == best.counted.keys():
            return group
    return None


def describe_config_result(group: Group) -> str:
    """Return a config and its mean validation and test metrics as text."""
    spreads = [spread for spread in (group.validation_spread, group.main_spread) if spread]
    text = ", ".join(f"{spread.metric.name} {format_metric(spread.mean)}" for spread in spreads)
    text += f" ({group.finished_of_planned} runs)" if group.finished_of_planned else ""
    if group.settings:
        return f"{format_settings_briefly(group.settings)}: {text}"
    shortage = group.shortage(group.main_spread) if group.main_spread else ""
    return f"{text}; {shortage}" if shortage else text


def warnings_of_selection(groups: Sequence[Group]) -> list[str]:
    """Return why a sweep has no best config, or that the test rows chose it."""
    best = find_best_config(groups)
    if best is None and groups:
        spreads = groups[-1].spreads
        unknown = [spreads[name].metric.not_ranked for name in spreads if name.startswith(VALID)]
        return [next(filter(None, unknown), NO_VALIDATION)]
    if best and best.settings and best.record.validates_on_test:
        return [too_good_by_test_rows("the best config's test metric")]
    return []


def read_sweep_report_content(folder: Path) -> PageContent:
    """Read what a sweep's HTML report shows from the files in the sweep's folder.

    Raises ConfigError if it has no runs, DlrunError if its plan is damaged.
    """
    sweep = Sweep(read_sweep_plan(folder, force=True), folder)
    runs = sweep.find_runs()
    if not runs:
        raise ConfigError(f"{folder}: this sweep has no runs", "`dlrun runs list` has all")
    return SweepResults(sweep, SweepState(runs)).page_content()


class SweepResults:
    """Holds the configs of a sweep with their runs, the best config last; writes and shows them.

    rows: a dict for each config and metric, as in table.csv. best: the best config, with `settings`
    and `runs`; None if none is chosen.
    """

    def __init__(self, sweep: Sweep, state: SweepState) -> None:
        self.sweep = sweep
        self.plan = sweep.plan
        self.state = state
        self.groups = group_runs_by_config(sweep.plan, state.runs)
        self.best = find_best_config(self.groups)
        self.second = find_runner_up(self.groups)
        self.warnings = [*sweep.describe_damaged(), *warnings_of_selection(self.groups)]
        self.rows = [
            {**group.settings, **group_row(group, spread), "is_best": group is self.best}
            for group in self.groups
            for spread in group.spreads.values()
        ]

    def __repr__(self) -> str:
        return "\n".join(self.table_lines(Screen()))

    @cached_property
    def comparison(self) -> Comparison | None:
        """Return the comparison of the best config with the second by the validation metric."""
        if not (self.best and self.best.validation_spread and self.second):
            return None
        return compare_groups(self.best, self.second, self.best.validation_spread.metric.name)

    def describe_comparison(self) -> str:
        """Return the comparison of the best config with the second in words; empty without it."""
        if self.comparison is None or self.second is None:
            return ""
        return self.comparison.describe("the best", format_settings_briefly(self.second.settings))

    @property
    def runs(self) -> list[Run]:
        """Return the runs of the sweep, in the order in which they were planned."""
        return [run for _, run in sorted(self.state.runs.items())]

    @property
    def failed(self) -> dict[str, str]:
        """Return why runs have failed, by the settings in which they differ from others."""
        points = self.plan.points
        return {points[number - 1].label: why for number, why in sorted(self.state.failed.items())}

    def write_files(self, screen: Screen) -> dict[str, str]:
        """Write the table and the report, and return the paths of those that were written.

        An error is shown: the results, which need no disk, follow.
        """
        folder = RunFolder(self.sweep.folder)
        files: dict[str, str] = {}
        try:
            keys = [*self.plan.keys, *NUMBERS, "book", "is_best"]
            folder.write(TABLE, table_csv(keys, self.rows))
            files["table"] = str(folder.path / TABLE)
            if not self.state.runs:
                return files
            _, problems = write_report_page(self.page_content(), folder.path / PAGE)
            files["report"] = str(folder.path / PAGE)
            for problem in problems:
                screen.warn(problem)
        except OSError as error:
            screen.fail(f"{folder.path}: {error.strerror}", os_error_remedy(error))
        return files

    def page_content(self) -> PageContent:
        """Return the content of the sweep's HTML report."""
        plan = self.plan
        command = shlex.join(["dlrun", *plan.command]) if plan.command else plan.experiment
        note = f"The sweep: {command}."
        finished = sum(run.is_finished for run in self.runs)
        if finished < plan.size:
            note += f" {finished} of {plan.size} points have finished; {self.sweep.resume_command} "
            note += f"runs the rest{', unless a config was chosen twice' if plan.search else ''}."
        shown: dict[str, str] = {}
        if self.best and self.best.settings and self.best.validation_spread:
            shown["the best config by validation"] = describe_config_result(self.best)
        if comparison := self.describe_comparison():
            shown["second"] = comparison
        drawn = [chart for key in self.plan.keys if (chart := self.chart_of_key(key))]
        title = f"Sweep {plan.name}"
        return PageContent(self.runs, note, self.warnings, shown, drawn, title=title)

    def chart_of_key(self, key: str) -> charts.Chart | None:
        """Return the chart of the metric by the values of a key; None if these are no numbers."""
        main = next((group.main_spread or group.validation_spread for group in self.groups), None)
        numbers = [type(group.settings[key]) in (int, float) for group in self.groups]
        if main is None or not all(numbers):
            return None
        metric = without_stage(main.metric.name)
        record = self.groups[-1].record
        curves = []
        for part in ("valid", "test"):
            by_value = self._metric_by_value(f"{part}_{metric}", key)
            if len(by_value) > 1:
                name = charts.label_of_data_part(part, record)
                curves.append(charts.curve_of_means(name, [*by_value], [*by_value.values()], part))
        if not curves:
            return None
        levels = charts.published_value_lines(record, metric)
        chosen = None
        if self.best is not None:
            chosen = charts.ReferenceLine("chosen", self.best.settings[key], "mark")
        return charts.Chart(f"{metric} by {key}", key, metric, curves, levels, chosen)

    def _metric_by_value(self, metric: str, key: str) -> dict[float, list[float]]:
        """Return a metric of the configs by the value that they have for a key, sorted."""
        by_value: dict[float, list[float]] = {}
        for group in sorted(self.groups, key=lambda group: group.settings[key]):
            if spread := group.spreads.get(metric):
                by_value.setdefault(group.settings[key], []).extend(spread.values)
        return by_value

    def show(self, files: Mapping[str, str], screen: Screen) -> None:
        """Print the configs, the failed runs, the paths of the files, the best config."""
        screen.show("\n".join(self.table_lines(screen)))
        failed = self.state.failed
        for point, why in sorted(failed.items()):
            label = self.plan.points[point - 1].label
            screen.show(Text(f"failed point {point} ({label}): {printable(why)}"))
        labelled = {"again": self.sweep.resume_command} if failed or "table" not in files else {}
        labelled |= files
        if self.best is not None:
            labelled["best" if self.best.settings else "mean"] = describe_config_result(self.best)
        screen.labelled(*((label, printable(text)) for label, text in labelled.items()))
        if comparison := self.describe_comparison():
            lines = textwrap.wrap(printable(comparison), WIDTH)
            screen.labelled(("second", f"\n{' ' * INDENT}".join(lines)))
        for warning in self.warnings:
            screen.warn(warning)

    def table_lines(self, screen: Screen) -> list[str]:
        """Return the table of the configs with the metrics that choose and judge, the best last."""
        rows = []
        titles = {"validated": "", "mean": ""}
        for group in self.groups:
            row: Values = {"config": format_settings_briefly(group.settings)}
            validation = group.validation_spread
            if shown := group.main_spread or validation:
                row = group_row(group, shown) | row
                titles["mean"] = shorten_metric(shown.metric.name)
            if validation and group.main_spread:
                row["validated"] = validation.mean
                titles["validated"] = shorten_metric(validation.metric.name)
            row["n"] = group.finished_of_planned or str(row.get("count", ""))
            rows.append(row)
        columns = [Column("config"), Column("n", is_number=True)]
        columns += [number("validated", titles["validated"]), replace(MEAN, title=titles["mean"])]
        columns += [SD, INTERVAL_OF_MEAN, number("book")]
        return table_lines(columns, rows, screen)

    def print_json(self, status: str, files: Mapping[str, str], screen: Screen) -> None:
        """Print the state and results of the sweep. Raises OSError if stdout was closed."""
        plan = self.plan
        points = []
        for point in plan.points:
            run = self.state.runs.get(point.number)
            points.append(
                {
                    "point": point.number,
                    "settings": point.settings,
                    "state": run and run.state,
                    "run": run and str(run.folder),
                    "metrics": run.record.metrics if run else {},
                    "error": self.state.failed.get(point.number),
                }
            )
        best = self.best and {
            "settings": self.best.settings,
            "folds": self.best.fold_count or None,
            "runs": [str(run.folder) for run in self.best.counted.values()],
        }
        screen.print_json(
            {
                "sweep": plan.name,
                "status": status,
                "folder": str(self.sweep.folder),
                "points": points,
                "rows": self.rows,
                "best": best,
                "second": self.second and self.second.settings,
                "comparison": self.comparison and self.comparison.as_object(),
                "warnings": self.warnings,
                "files": files,
            }
        )
