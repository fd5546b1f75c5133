"""Write and show the results of a sweep: its table, figure, page, screen and JSON."""

import contextlib
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from rich.table import Table
from rich.text import Text

from dlrun.config.data_sections import FOLD
from dlrun.config.yaml_loader import format_settings_briefly
from dlrun.errors import ConfigError, first_line, os_error_remedy
from dlrun.metrics import TESTED, without_stage
from dlrun.reports.page import PageContent, write_report_page
from dlrun.run_folder import recorded_metrics as metrics
from dlrun.run_folder.folder import RunFolder, to_csv
from dlrun.run_folder.recorded_metrics import format_metric, shorten_metric
from dlrun.sweeps.configs import (
    ConfigResults,
    Selection,
    find_best_config,
    group_runs_by_config,
    judge_selection,
    warnings_of_selection,
)
from dlrun.sweeps.plan import Sweep, SweepState, is_run_complete, read_sweep_plan
from dlrun.sweeps.search_space import SEED
from dlrun.system.console import Screen, printable

TABLE, FIGURE, PAGE = "table.csv", "metric.png", "report.html"
INDENT = 7  # columns of a label on the screen
WIDTH = 80 - INDENT
ROUGH = (
    "In a cross-validation n counts the folds, and the interval of their mean is a rough one: the "
    "folds share training rows"
)


def read_page_content(folder: Path) -> PageContent:
    """Read what a page shows of the sweep in a folder.

    Raises ConfigError if it has no runs, DlrunError if its plan is damaged.
    """
    sweep = Sweep(read_sweep_plan(folder, force=True), folder)
    runs = sweep.find_runs()
    if not runs:
        raise ConfigError(f"{folder}: this sweep has no runs", "`dlrun runs list` has all")
    return SweepSummary(sweep, SweepState(runs)).page_content()


class SweepSummary:
    """Holds the configs of a sweep with their results, the best one last; writes and shows them."""

    def __init__(self, sweep: Sweep, state: SweepState) -> None:
        self.sweep, self.plan, self.state = sweep, sweep.plan, state
        self.results = group_runs_by_config(sweep.plan, state.runs)
        self.best = find_best_config(self.results)
        self.warnings = [*sweep.describe_damaged(), *warnings_of_selection(self.results)]
        self.has_folds = any(result.folds for result in self.results)

    @cached_property
    def selection(self) -> Selection | None:
        """Return what the choice of the best config is worth; None if no key varies."""
        return judge_selection(self.results)

    def write_files(self, screen: Screen) -> dict[str, str]:
        """Write the table, figure and report, and return the paths of those that were written.

        An error is shown: the results, which need no disk, follow.
        """
        folder = RunFolder(self.sweep.folder)
        files: dict[str, str] = {}
        try:
            folder.write(TABLE, to_csv(self._table()))
            files["table"] = str(folder.path / TABLE)
            if not self.state.runs:
                return files
            if (figure := self._draw(screen)) is not None:
                folder.write(FIGURE, figure)
                files["figure"] = str(folder.path / FIGURE)
            _, problems = write_report_page(self.page_content(), folder.path / PAGE)
            files["report"] = str(folder.path / PAGE)
            for problem in problems:
                screen.warn(problem)
        except OSError as error:
            screen.fail(f"{folder.path}: {error.strerror}", os_error_remedy(error))
        return files

    def page_content(self) -> PageContent:
        """Return what a page shows of the sweep."""
        plan, runs = self.plan, self.state.runs
        note = f"The sweep {plan.name}: {shlex.join(['dlrun', *plan.command[1:]])}."
        finished = sum(map(is_run_complete, runs.values()))
        if finished < plan.size:
            note += f" {finished} of {plan.size} points have finished; {self.sweep.resume_command} "
            note += f"runs the rest{', unless a config was chosen twice' if plan.search else ''}."
        note += f" {ROUGH}." if self.has_folds else ""
        shown: dict[str, str] = {}
        if self.best and self.selection:
            shown = {"the best config by validation": self.best.describe()}
            shown |= self.selection.describe()
        ordered = [run for _, run in sorted(runs.items())]
        figures: dict[str, bytes] = {}
        with contextlib.suppress(OSError):  # no run has metrics, or it could not be drawn
            figures["The configs"] = (self.sweep.folder / FIGURE).read_bytes()
        return PageContent(ordered, note, self.warnings, shown, figures)

    def _table(self) -> list[list[object]]:
        """Return the rows of table.csv, one per config and metric, with the mean's interval."""
        names = ["metric", "n", "mean", "sd", "min", "max", "low", "high", "book", "chosen"]
        rows: list[list[object]] = [[*self.plan.keys, *names]]
        for result in self.results:
            values = result.settings.values()
            cells = [one if isinstance(one, str | int | float) else str(one) for one in values]
            for metric, spread in result.spreads.items():
                low, high = spread.interval or (None, None)
                numbers = result.numbers(metric) | {"metric": metric, "low": low, "high": high}
                numbers["chosen"] = int(result is self.best)
                rows.append([*cells, *(numbers[name] for name in names)])
        return rows

    def _draw(self, screen: Screen) -> bytes | None:
        """Return the figure as PNG; None if no finished run has metrics, or it failed."""
        from dlrun.plots import sweep  # slow: matplotlib

        main = next((one.tested or one.validated for one in self.results), None)
        if main is None:
            return None
        plan, best = self.plan, self.best
        metric = without_stage(main.metric.name)
        keys = plan.keys or [FOLD if FOLD in plan.points[0].settings else SEED]
        dots = []
        for number, run in sorted(self.state.runs.items()):
            found = {part: run.record.metrics.get(f"{part}_{metric}") for part in ("valid", "test")}
            known = {part: float(value) for part, value in found.items() if value is not None}
            if known and is_run_complete(run):
                settings = dict.fromkeys(keys) | plan.points[number - 1].settings
                dots.append(sweep.PlottedRun(settings, known))
        try:
            figure = sweep.draw_sweep_figure(
                dots,
                keys,
                metric,
                chosen=best.settings if best else {},
                book=best.published_values(TESTED + metric).get("book") if best else None,
                title=f"{plan.experiment}, sweep {plan.name}, {len(dots)} runs",
            )
            return figure.to_png()
        except Exception as error:  # a font, a backend: no reason to lose the result
            why = f"{type(error).__name__}: {first_line(error)}"
            screen.warn(f"the figure could not be drawn: {why}")
            return None

    def show(self, files: Mapping[str, str], screen: Screen) -> None:
        """Print the configs, the failed points, the paths of the files, the best config."""
        screen.show(format_sweep_configs(self.results))
        if self.has_folds:
            screen.note(ROUGH)
        failed = self.state.failed
        for number, why in sorted(failed.items()):
            label = self.plan.points[number - 1].label
            screen.show(Text(f"failed point {number} ({label}): {printable(why)}"))
        labelled = {"again": self.sweep.resume_command} if failed or "table" not in files else {}
        labelled |= files
        if self.best is not None:
            labelled["best" if self.best.settings else "mean"] = self.best.describe()
        screen.labelled(*((label, printable(text)) for label, text in labelled.items()))
        for label, text in self.selection.describe().items() if self.selection else ():
            lines = textwrap.wrap(printable(text), WIDTH)
            screen.labelled((label, f"\n{' ' * INDENT}".join(lines)))
        if self.best is not None:
            screen.labelled(("repeat", printable(self.best.command(self.plan.experiment))))
        for warning in self.warnings:
            screen.warn(warning)

    def print_json(self, status: str, screen: Screen) -> None:
        """Print the state and results of the sweep. Raises OSError if stdout was closed."""
        plan, best = self.plan, self.best
        points = []
        for point in plan.points:
            run, number = self.state.runs.get(point.number), point.number
            about = {"point": number, "settings": point.settings, "state": run and run.state}
            about |= {"run": run and str(run.folder), "metrics": run.record.metrics if run else {}}
            points.append(about | {"error": self.state.failed.get(number)})
        about = {
            "sweep": plan.name,
            "experiment": plan.experiment,
            "folder": str(self.sweep.folder),
            "note": plan.note or None,
            "tags": plan.tags,
            "status": status,
            "points": points,
            "configs": [result.as_object() for result in self.results],
            "best": best and best.as_object() | {"command": best.command(plan.experiment)},
            "selection": self.selection and self.selection.as_object(),
            "warnings": self.warnings,
        }
        screen.print_json(about)


def format_sweep_configs(results: Sequence[ConfigResults]) -> Table:
    """Return a table of a sweep's configs with their metrics, the best last; drop empty columns."""
    rows: list[dict[str, str]] = []
    for result in results:
        row = {
            "config": printable(format_settings_briefly(result.settings)),
            "n": result.missing or str(result.folds or len(result.runs)),
        }
        if validated := result.validated:
            row[shorten_metric(validated.metric.name)] = format_metric(validated.mean)
        if tested := result.tested:
            interval = tested.interval
            row[shorten_metric(tested.metric.name)] = format_metric(tested.mean)
            row["test sd"] = format_metric(tested.deviation)
            row["mean's 95 %"] = metrics.format_interval(interval) if interval else ""
            row["book"] = format_metric(result.published_values(tested.metric.name).get("book"))
        rows.append({head: text for head, text in row.items() if text})
    heads = max(rows, key=len) if rows else {}
    table = Table(box=None, pad_edge=False)
    for head in heads:
        is_config = head == "config"
        table.add_column(head, justify="left" if is_config else "right", no_wrap=not is_config)
    for row in rows:
        table.add_row(*(Text(row.get(head, "")) for head in heads))
    return table
