"""Choose the best config of a sweep, compare it with the next best, and write and show results."""

import shlex
import statistics
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from rich.text import Text

from dlrun.config.data_sections import FOLD, FOLDS
from dlrun.config.yaml_loader import format_override, format_settings_briefly
from dlrun.errors import ConfigError, os_error_remedy
from dlrun.experiments.saved_run import Run
from dlrun.groups import Group, group_runs
from dlrun.metrics import VALID, without_stage
from dlrun.paired_comparison import Comparison, compare
from dlrun.reports.charts import Chart, ChartCurve, ReferenceLine, name_part, published_value_lines
from dlrun.reports.page import PageContent, write_report_page
from dlrun.run_folder import recorded_metrics as metrics
from dlrun.run_folder.folder import RunFolder
from dlrun.run_folder.recorded_metrics import format_metric, shorten_metric
from dlrun.run_tables import INTERVAL_OF_MEAN, MEAN, SD, Column, number, table_csv, table_lines
from dlrun.sweeps.plan_file import SweepPlan, read_sweep_plan
from dlrun.sweeps.search_space import SEED, format_seeds
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


def group_points(plan: SweepPlan, runs: Mapping[int, Run]) -> list[Group]:
    """Group a sweep's finished runs by config, the best config last."""
    groups: list[Group] = []
    for points in plan.points_by_config:
        begun = [runs[point.number] for point in points if point.number in runs]
        done = [run for run in begun if run.is_finished and run.record.metrics]
        settings = {key: points[0].settings.get(key) for key in plan.keys}
        groups += [
            replace(group, settings=settings, planned=len(points)) for group in group_runs(done)
        ]

    def rank(group: Group) -> tuple[bool, bool, float]:
        by = group.validation_spread
        value = float("-inf") if by is None else by.metric.sign * by.mean
        return by is not None, not group.finished_of_planned, value

    return sorted(groups, key=rank)


def find_best_config(groups: Sequence[Group]) -> Group | None:
    """Return a sweep's best config by a validation metric; None if none can be chosen."""
    best = groups[-1] if groups else None
    if best and (best.validation_spread or (best.main_spread and not best.settings)):
        return best
    return None


def describe_config_result(group: Group) -> str:
    """Return a config and its mean validation and test metrics as text."""
    spreads = [spread for spread in (group.validation_spread, group.main_spread) if spread]
    text = ", ".join(f"{spread.metric.name} {format_metric(spread.mean)}" for spread in spreads)
    text += f" ({group.finished_of_planned} runs)" if group.finished_of_planned else ""
    if not group.settings and group.main_spread and (few := group.shortage(group.main_spread)):
        text += f"; {few}"
    return f"{format_settings_briefly(group.settings)}: {text}" if group.settings else text


def repeat_command_of_config(group: Group) -> str:
    """Return the shell command that repeats all runs of a config: one run, or a sweep."""
    words = [group.record.experiment]
    settings = group.runs[0].changed_settings()
    if group.fold_count:
        words += ["--folds", str(settings.pop(FOLDS))]
        del settings[FOLD]
    if len(group.seeds) > 1:
        words += ["--seeds", format_seeds(group.seeds)]
        settings.pop(SEED, None)
    several = ["sweep"] if len(words) > 1 else []
    for key, value in settings.items():
        words += ["--set", format_override(key, value)]
    return shlex.join(["dlrun", *several, *words])


def find_runner_up(groups: Sequence[Group]) -> Group | None:
    """Return the best other config with the winner's seeds and folds; None if there is none."""
    best = find_best_config(groups)
    if best is None or best.validation_spread is None or not best.settings:
        return None
    metric = best.validation_spread.metric.name
    comparable = [
        group
        for group in groups[:-1]
        if metric in group.spreads and group.counted.keys() == best.counted.keys()
    ]
    return comparable[-1] if comparable else None


def warnings_of_selection(groups: Sequence[Group]) -> list[str]:
    """Return why a sweep has no best config, or that the test rows chose it."""
    best = find_best_config(groups)
    if best is None and groups:
        spreads = groups[-1].spreads
        unknown = [spreads[name].metric.not_ranked for name in spreads if name.startswith(VALID)]
        return [next(filter(None, unknown), NO_VALIDATION)]
    if best and best.settings and best.record.validates_on_test:
        return [metrics.too_good_by_test_rows("the best config's test metric")]
    return []


def read_page_content(folder: Path) -> PageContent:
    """Read the content of a sweep's HTML report from the sweep's folder.

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
        self.groups = group_points(sweep.plan, state.runs)
        self.best = find_best_config(self.groups)
        self.second = find_runner_up(self.groups)
        self.warnings = [*sweep.describe_damaged(), *warnings_of_selection(self.groups)]
        self.rows = [
            {**group.settings, **group.row(spread), "is_best": group is self.best}
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
        return compare(self.best, self.second, self.best.validation_spread.metric.name)

    def describe_comparison(self) -> str:
        """Return the comparison of the best config with the second in words; empty without it."""
        comparison = self.comparison
        if comparison is None or self.second is None:
            return ""
        return comparison.describe("the best", format_settings_briefly(self.second.settings))

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
        runs = self.state.runs
        command = shlex.join(["dlrun", *plan.command]) if plan.command else plan.experiment
        note = f"The sweep: {command}."
        finished = sum(run.is_finished for run in runs.values())
        if finished < plan.size:
            note += f" {finished} of {plan.size} points have finished; {self.sweep.resume_command} "
            note += f"runs the rest{', unless a config was chosen twice' if plan.search else ''}."
        shown: dict[str, str] = {}
        if self.best and self.best.settings and self.best.validation_spread:
            shown["the best config by validation"] = describe_config_result(self.best)
        if comparison := self.describe_comparison():
            shown["second"] = comparison
        title = f"Sweep {plan.name}"
        return PageContent(self.runs, note, self.warnings, shown, self.charts(), title=title)

    def charts(self) -> list[Chart]:
        """Return a chart for each varied key with numbers: the metric by the key's values."""
        main = next((group.main_spread or group.validation_spread for group in self.groups), None)
        if main is None:
            return []
        metric = without_stage(main.metric.name)
        levels = published_value_lines(self.groups[-1].record, metric)
        charts = []
        for key in self.plan.keys:
            if not all(type(group.settings[key]) in (int, float) for group in self.groups):
                continue
            curves = [self._curve(key, part, metric) for part in ("valid", "test")]
            drawn = [curve for curve in curves if len(curve.x) > 1]
            chosen = ReferenceLine("chosen", self.best.settings[key], "mark") if self.best else None
            if drawn:
                charts.append(Chart(f"{metric} by {key}", key, metric, drawn, levels, chosen))
        return charts

    def _curve(self, key: str, part: str, metric: str) -> ChartCurve:
        """Return the mean of a metric over the runs with each value of a key, and their range."""
        by_value: dict[float, list[float]] = {}
        for group in self.groups:
            if spread := group.spreads.get(f"{part}_{metric}"):
                by_value.setdefault(group.settings[key], []).extend(spread.values)
        columns = [by_value[value] for value in sorted(by_value)]
        return ChartCurve(
            name_part(part, self.groups[-1].record),
            sorted(by_value),
            [statistics.fmean(column) for column in columns],
            part,
            low=[*map(min, columns)],
            high=[*map(max, columns)],
        )

    def show(self, files: Mapping[str, str], screen: Screen) -> None:
        """Print the configs, the failed points, the paths of the files, the best config."""
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
        if self.best is not None:
            which = "the best config alone: " if self.best.settings else ""
            screen.labelled(("repeat", f"{which}{printable(repeat_command_of_config(self.best))}"))
        for warning in self.warnings:
            screen.warn(warning)

    def table_lines(self, screen: Screen) -> list[str]:
        """Return the table of the configs with the metrics that choose and judge, the best last."""
        rows = []
        heads = ["", ""]
        for group in self.groups:
            by = group.validation_spread
            main = group.main_spread
            shown = main or by
            heads = [shorten_metric(spread.metric.name) if spread else "" for spread in (by, shown)]
            row = group.row(shown) if shown else {}
            row["config"] = format_settings_briefly(group.settings)
            row["n"] = group.finished_of_planned or str(row.get("count", ""))
            rows.append(row | {"validated": by.mean if by and main else None})
        columns = [Column("config"), Column("n", is_number=True), number("validated", heads[0])]
        columns += [replace(MEAN, title=heads[1]), SD, INTERVAL_OF_MEAN, number("book")]
        return table_lines(columns, rows, screen)

    def print_json(self, status: str, files: Mapping[str, str], screen: Screen) -> None:
        """Print the state and results of the sweep. Raises OSError if stdout was closed."""
        plan = self.plan
        best = self.best
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
        screen.print_json(
            {
                "sweep": plan.name,
                "experiment": plan.experiment,
                "status": status,
                "folder": str(self.sweep.folder),
                "note": plan.note or None,
                "tags": plan.tags,
                "points": points,
                "rows": self.rows,
                "best": best
                and {
                    "settings": best.settings,
                    "seeds": best.seeds,
                    "folds": best.fold_count or None,
                    "planned": best.planned,
                    "runs": [str(run.folder) for run in best.counted.values()],
                    "command": repeat_command_of_config(best),
                },
                "second": self.second and self.second.settings,
                "comparison": self.comparison and self.comparison.as_object(),
                "warnings": self.warnings,
                "files": files,
            }
        )
